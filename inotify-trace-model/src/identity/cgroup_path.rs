//! Reading cgroup paths.
//!
//! The path is read from the root down, one component at a time, and the last container met wins:
//! in a Kubernetes node that is itself a Docker container, a process belongs to the pod's
//! container, whose outer container is the node. Components below a container that match no known form (`init.scope`, `foo.service`)
//! belong to that container. Ids are accepted only in the exact shape their runtime gives them, so
//! that `docker.service` or `crio-wipe.service` never becomes a container.

use super::{Container, PodUid, Qos, Runtime};

/// The role of a cgroup for the container in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It holds the container's processes.
    Payload,
    /// It holds a process of the host that looks after the container. These matter here: conmon,
    /// for one, itself watches the container's `memory.events` by inotify.
    Monitor,
}

/// Where in the hierarchy of containers a cgroup lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'p> {
    /// The container in question.
    pub container: Container,
    /// Whether the cgroup is in the container or looks after it.
    pub role: Role,
    /// The leading part of the path that is the container's (or monitor's) own cgroup. Removal of
    /// this cgroup, and not of one below it, ends the container.
    pub cgroup: &'p str,
}

impl<'p> Location<'p> {
    /// The innermost container or monitor the path names.
    pub fn of(path: &'p str) -> Option<Self> {
        let scan = scan(path);
        scan.innermost.map(|found| found.locate(path, scan.outermost))
    }

    /// The innermost container that the cgroup lies in. For a monitor's cgroup that is the
    /// container that the monitor itself runs in, if any.
    pub fn of_payload(path: &'p str) -> Option<Self> {
        let scan = scan(path);
        scan.payload.map(|found| found.locate(path, scan.outermost))
    }
}

/// The pod a path ends in without reaching a container.
pub(super) fn pod_of_path(path: &str) -> Option<PodUid> {
    scan(path).pod.map(|pod| pod.uid())
}

/// The path from its last systemd unit on; whole if it has none.
pub(super) fn from_last_unit(path: &str) -> &str {
    let mut start = 0;
    for (name, end) in components(path) {
        // Every user's manager and every container with systemd has an init.scope: the unit above
        // it identifies it.
        if is_unit(name) && (name != "init.scope" || start == 0) {
            start = end - name.len();
        }
    }
    &path[start..]
}

/// Whether `text` is exactly `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Names of systemd scopes, and of cgroupfs directories where a runtime uses the same, that carry a
/// 64-digit id.
const PREFIXES: &[(&str, Runtime, Role)] = &[
    ("cri-containerd-", Runtime::Containerd, Role::Payload),
    ("nerdctl-", Runtime::Containerd, Role::Payload),
    ("crio-", Runtime::CriO, Role::Payload),
    ("crio-conmon-", Runtime::CriO, Role::Monitor),
    ("docker-", Runtime::Docker, Role::Payload),
    ("libpod-", Runtime::Podman, Role::Payload),
    // `--cgroups=split`, which is how Quadlet puts a container into its service's own cgroup.
    ("libpod-payload-", Runtime::Podman, Role::Payload),
    ("libpod-conmon-", Runtime::Podman, Role::Monitor),
];

/// A container's id recognised in one component.
#[derive(Clone, Copy)]
struct Id<'p> {
    runtime: Option<Runtime>,
    role: Role,
    text: &'p str,
}

impl<'p> Id<'p> {
    fn payload(runtime: impl Into<Option<Runtime>>, text: &'p str) -> Option<Self> {
        Some(Self { runtime: runtime.into(), role: Role::Payload, text })
    }
}

/// A pod recognised in one component.
#[derive(Clone, Copy)]
struct Pod<'p> {
    text: &'p str,
    /// In a slice's name a dash would mean one level more, so kubelet writes underscores.
    underscored: bool,
    qos: Option<Qos>,
}

impl Pod<'_> {
    fn uid(&self) -> PodUid {
        PodUid(if self.underscored { self.text.replace('_', "-") } else { self.text.to_owned() })
    }
}

#[derive(Clone, Copy)]
struct Found<'p> {
    id: Id<'p>,
    pod: Option<Pod<'p>>,
    end: usize,
}

impl<'p> Found<'p> {
    fn locate(self, path: &'p str, outermost: Option<Self>) -> Location<'p> {
        let outer = outermost.filter(|outer| outer.end < self.end);
        let outer = outer.map(|outer| Box::new(outer.container(None)));
        Location { container: self.container(outer), role: self.id.role, cgroup: &path[..self.end] }
    }

    fn container(self, outer: Option<Box<Container>>) -> Container {
        Container {
            runtime: self.id.runtime,
            id: self.id.text.to_owned(),
            pod: self.pod.map(|pod| pod.uid()),
            qos: self.pod.and_then(|pod| pod.qos),
            outer,
        }
    }
}

#[derive(Default)]
struct Scan<'p> {
    innermost: Option<Found<'p>>,
    payload: Option<Found<'p>>,
    /// The first container of the path, which is one of this machine.
    outermost: Option<Found<'p>>,
    /// The pod met since the last container.
    pod: Option<Pod<'p>>,
}

/// The components above the current one.
#[derive(Default)]
struct Above<'p> {
    parent: &'p str,
    grandparent: &'p str,
    /// Components since the root, or since the last container, whose root looks like one to the
    /// runtimes inside.
    depth: usize,
}

fn scan(path: &str) -> Scan<'_> {
    let mut scan = Scan::default();
    let mut above = Above::default();
    let mut kata_overhead = false;
    let mut names = components(path).peekable();
    while let Some((name, mut end)) = names.next() {
        // Within a cgroup namespace, `..` leads out of it.
        if name == ".." {
            continue;
        }
        // Kata keeps its shim and VMM out of the pod's limits, in a copy of the pod's path below
        // this name.
        kata_overhead |= name == "kata_overhead";
        if let Some(pod) = pod_in(name, &above) {
            scan.pod = Some(pod);
        }
        let id = if is_podman_pod(name, &above) { None } else { id_in(name, &above) };
        above = Above { parent: name, grandparent: above.parent, depth: above.depth + 1 };
        let Some(mut id) = id else { continue };

        if kata_overhead {
            id.role = Role::Monitor;
        }
        // With cgroup v2 nspawn splits its unit in two: itself in one half, the container in the
        // other.
        if id.runtime == Some(Runtime::SystemdNspawn)
            && let Some((_, supervisor)) = names.next_if(|(next, _)| *next == "supervisor")
        {
            id.role = Role::Monitor;
            end = supervisor;
        }
        let found = Found { id, pod: scan.pod.take(), end };
        scan.innermost = Some(found);
        if id.role == Role::Payload {
            scan.payload = Some(found);
            scan.outermost.get_or_insert(found);
        }
        above.depth = 0;
    }
    scan
}

/// The path's components, each with the offset of its end.
fn components(path: &str) -> impl Iterator<Item = (&str, usize)> {
    // The kernel marks a cgroup that was removed while a process of it still exists.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut next = 0;
    path.split('/').filter_map(move |name| {
        let end = next + name.len();
        next = end + 1;
        (!name.is_empty()).then_some((name, end))
    })
}

fn id_in<'p>(name: &'p str, above: &Above<'p>) -> Option<Id<'p>> {
    // `SLICE:PREFIX:ID` is meant to be translated by runc's systemd driver; with the cgroupfs
    // driver by mistake it becomes one directory of that very name.
    if let Some((slice, scope)) = name.split_once(':')
        && slice.ends_with(".slice")
    {
        let (prefix, id) = scope.split_once(':')?;
        return prefixed(id, |known| known.strip_suffix('-') == Some(prefix));
    }
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    unit.rsplit_once('-')
        .and_then(|(before, id)| {
            let prefix = &unit[..=before.len()];
            prefixed(id, |known| known == prefix)
        })
        .or_else(|| machine(name, above))
        .or_else(|| lxc(name, above))
        .or_else(|| below_known_parent(name, above))
}

fn prefixed(id: &str, is_prefix: impl Fn(&str) -> bool) -> Option<Id<'_>> {
    let &(_, runtime, role) = PREFIXES.iter().find(|(known, ..)| is_prefix(known))?;
    if is_hex(id, 64) {
        return Some(Id { runtime: Some(runtime), role, text: id });
    }
    // With the systemd driver Docker Engine gives its builder the prefix of its containers; only
    // the shape of the id differs.
    (runtime == Runtime::Docker && is_buildkit_id(id))
        .then(|| Id::payload(Runtime::Buildkit, id))
        .flatten()
}

/// Units of systemd-nspawn and systemd-machined.
fn machine<'p>(name: &'p str, above: &Above<'p>) -> Option<Id<'p>> {
    let name = if let Some(unit) = name.strip_suffix(".service") {
        // NixOS's declarative containers are nspawn under a template of its own.
        unit.strip_prefix("systemd-nspawn@")
            .or_else(|| unit.strip_prefix("container@").filter(|_| above.parent == "machine.slice"))
    } else {
        name.strip_suffix(".scope")?.strip_prefix("machine-")
    }
    .filter(|name| is_name(name))?;
    // libvirt registers its guests with machined too: virtual machines are no containers, those of
    // its LXC driver are.
    if name.starts_with("qemu\\x2d") {
        return None;
    }
    let runtime = (!name.starts_with("lxc\\x2d")).then_some(Runtime::SystemdNspawn);
    Id::payload(runtime, name)
}

fn lxc<'p>(name: &'p str, above: &Above<'p>) -> Option<Id<'p>> {
    let (role, text) = if let Some(text) = name.strip_prefix("lxc.payload.") {
        (Role::Payload, text)
    } else if let Some(text) = name.strip_prefix("lxc.monitor.") {
        (Role::Monitor, text)
    } else {
        match above.parent {
            "lxc" | "lxc.payload" => (Role::Payload, name),
            "lxc.monitor" => (Role::Monitor, name),
            _ => return None,
        }
    };
    (is_name(text) && !is_unit(text)).then_some(Id { runtime: Some(Runtime::Lxc), role, text })
}

/// Drivers that put a bare id below a directory of theirs.
fn below_known_parent<'p>(name: &'p str, above: &Above<'p>) -> Option<Id<'p>> {
    // containerd's cgroupfs path is /NAMESPACE/ID. Users may choose the ids freely, so only the
    // default namespace of ctr and nerdctl counts, and only at the top.
    let in_default = above.parent == "default" && above.depth == 1;
    if is_hex(name, 64) {
        let runtime = match above.parent {
            "docker" => Some(Runtime::Docker),
            "k8s.io" => Some(Runtime::Containerd),
            _ if in_default => Some(Runtime::Containerd),
            _ => None,
        };
        return Id::payload(runtime, name);
    }
    if above.parent == "buildkit" && is_buildkit_id(name) {
        return Id::payload(Runtime::Buildkit, name);
    }
    let in_garden = above.parent == "garden"
        || (above.grandparent == "garden" && matches!(above.parent, "good" | "bad"));
    if in_garden && is_garden_handle(name) {
        return Id::payload(Runtime::Garden, name);
    }
    if in_default && is_name(name) && !is_unit(name) {
        return Id::payload(Runtime::Containerd, name);
    }
    // All of a Kata sandbox is one virtual machine to the host, whichever runtime started it.
    if let Some(id) = name.strip_prefix("kata_").filter(|id| is_hex(id, 64)) {
        return Id::payload(None, id);
    }
    // ECS on Fargate numbers a task's containers: TASK/TASK-NUMBER.
    let number = name.strip_prefix(above.parent).and_then(|rest| rest.strip_prefix('-'));
    if is_hex(above.parent, 32)
        && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    {
        return Id::payload(None, name);
    }
    None
}

fn pod_in<'p>(name: &'p str, above: &Above<'p>) -> Option<Pod<'p>> {
    // Also the first part of SLICE:PREFIX:ID.
    let slice = name.split(':').next()?.strip_suffix(".slice");
    if let Some(slice) = slice {
        if let Some(id) = after_marker(slice, "libpod_pod_").filter(|id| is_hex(id, 64)) {
            return Some(Pod { text: id, underscored: false, qos: None });
        }
        // kubelet's --cgroup-root adds names before this one (kind: `kubelet-kubepods-...`).
        let rest = after_marker(slice, "kubepods-")?;
        let (qos, rest) = if let Some(rest) = rest.strip_prefix("burstable-") {
            (Qos::Burstable, rest)
        } else if let Some(rest) = rest.strip_prefix("besteffort-") {
            (Qos::BestEffort, rest)
        } else {
            (Qos::Guaranteed, rest)
        };
        let text = rest.strip_prefix("pod").filter(|uid| is_pod_uid(uid))?;
        return Some(Pod { text, underscored: true, qos: Some(qos) });
    }
    if is_podman_pod(name, above) {
        return Some(Pod { text: name, underscored: false, qos: None });
    }
    let text = name.strip_prefix("pod").filter(|uid| is_pod_uid(uid))?;
    let qos = match above.parent {
        "kubepods" => Some(Qos::Guaranteed),
        "burstable" => Some(Qos::Burstable),
        "besteffort" => Some(Qos::BestEffort),
        // The directories above are hidden by a cgroup namespace (`/../../podUID/...`): then the
        // uid's shape must vouch for itself.
        _ if is_uuid(text) || is_hex(text, 32) => None,
        _ => return None,
    };
    Some(Pod { text, underscored: false, qos })
}

/// Podman's cgroupfs driver names a pod's directory by the bare id.
fn is_podman_pod(name: &str, above: &Above<'_>) -> bool {
    above.parent == "libpod_parent" && is_hex(name, 64)
}

/// What follows `marker`, which must start a dash-separated part of a slice's name.
fn after_marker<'p>(slice: &'p str, marker: &str) -> Option<&'p str> {
    let (before, after) = slice.split_once(marker)?;
    (before.is_empty() || before.ends_with('-')).then_some(after)
}

/// The uid of a static pod is whatever its manifest says, hence no stricter.
fn is_pod_uid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_uuid(text: &str) -> bool {
    has_hex_groups(text, &[8, 4, 4, 4, 12])
}

/// A UUID whose last group is cut to four digits, unless it was given from outside.
fn is_garden_handle(text: &str) -> bool {
    has_hex_groups(text, &[8, 4, 4, 4, 4]) || is_uuid(text)
}

fn has_hex_groups(text: &str, sizes: &[usize]) -> bool {
    let mut groups = text.split('-');
    sizes.iter().all(|&size| groups.next().is_some_and(|group| is_hex(group, size)))
        && groups.next().is_none()
}

/// BuildKit's ids are 25 digits to base 36.
fn is_buildkit_id(text: &str) -> bool {
    text.len() == 25 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// Names people give to containers, with room for systemd's escapes. Nothing that could garble a
/// terminal or a log line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@+\\".contains(&b))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".slice", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}
