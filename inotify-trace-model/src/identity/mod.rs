//! Containers, pods and runtimes, derived from the paths of their cgroups.
//!
//! Paths are those of `/proc/PID/cgroup` or the `cgroup_mkdir` tracepoint. They don't contain
//! [`Names`], which come from the runtimes and are never guessed.
//!
//! Every user who may create a cgroup chooses its name, rootless users and containers with a
//! delegated subtree included. So the result attributes; it does not authenticate.

mod cgroup_path;
mod names;
mod program;
mod shim;
#[cfg(test)]
mod tests;

pub use cgroup_path::{Location, Role};
pub use names::Names;
pub use program::Program;
pub use shim::Shim;

use std::{borrow::Cow, fmt};

use serde::Serialize;

use crate::text::printable;

/// The program that manages a container.
///
/// This is not the OCI runtime below it, since runc, crun and kata leave the same paths. runc and
/// crun are named if they were run by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Runtime {
    /// containerd: through its Kubernetes interface, nerdctl or ctr.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
    /// LXC, and the programs that build on it: LXD, Incus, Proxmox.
    Lxc,
    /// systemd-nspawn, and other machines registered with systemd-machined under its naming.
    SystemdNspawn,
    /// One step of an image build, by BuildKit alone or inside Docker Engine.
    Buildkit,
    /// Cloud Foundry's Garden.
    Garden,
    /// runc, run by hand.
    Runc,
    /// crun, run by hand.
    Crun,
}

impl Runtime {
    const ALL: [Self; 10] = [
        Self::Containerd,
        Self::CriO,
        Self::Docker,
        Self::Podman,
        Self::Lxc,
        Self::SystemdNspawn,
        Self::Buildkit,
        Self::Garden,
        Self::Runc,
        Self::Crun,
    ];

    /// The runtime of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.as_str() == name)
    }

    /// Its usual name; serialised alike.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::SystemdNspawn => "systemd-nspawn",
            Self::Buildkit => "buildkit",
            Self::Garden => "garden",
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A pod's quality-of-service class, which kubelet makes part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Qos {
    /// Requests equal limits; such pods lie directly below `kubepods`.
    Guaranteed,
    /// Some requests or limits are set.
    Burstable,
    /// Neither requests nor limits.
    BestEffort,
}

impl Qos {
    /// The class of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Guaranteed, Self::Burstable, Self::BestEffort];
        all.into_iter().find(|qos| qos.as_str() == name)
    }

    /// Lower-case name, as in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The identity of a pod, spelt as its owner spells it.
///
/// Usually the API object's uid with dashes. A static pod has a 32-digit hash without dashes
/// instead (the API shows it as annotation `kubernetes.io/config.hash`, and its mirror pod has a
/// uid of its own); a Podman pod has 64 digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PodUid(String);

impl PodUid {
    /// The uid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PodUid {
    fn from(uid: String) -> Self {
        Self(uid)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A container, identified by the path of its cgroup, or else by its runtime's state.
///
/// Equal values mean the same container, so it serves as a key for grouping.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Container {
    /// Its runtime; `None` if the path has an id only (kubelet's cgroupfs driver, Amazon ECS,
    /// a cgroup parent of the user's choice).
    pub runtime: Option<Runtime>,
    /// The id exactly as in the path. For LXC and systemd-nspawn this is the container's name, the
    /// latter with systemd's escapes.
    pub id: String,
    /// The pod it belongs to.
    pub pod: Option<PodUid>,
    /// The class of that pod.
    pub qos: Option<Qos>,
    /// The container of this machine that it runs in, as one of kind's pods runs in a node; without
    /// those between the two.
    pub outer: Option<Box<Container>>,
}

impl Container {
    /// The innermost container the cgroup lies in, at whatever depth below the container's own.
    ///
    /// A monitor (conmon, `lxc monitor`, the nspawn supervisor) is not in the container it watches
    /// over; [`Location::of`] names it together with that container.
    pub fn from_cgroup_path(path: &str) -> Option<Self> {
        Location::of_payload(path).map(|location| location.container)
    }

    /// Whether its id is 64 hexadecimal digits, as the ids of all Kubernetes runtimes are.
    #[must_use]
    pub fn has_long_id(&self) -> bool {
        cgroup_path::is_hex(&self.id, 64)
    }

    /// The id in its usual short form: 12 characters of a 64-digit id, any other id whole and
    /// without systemd's escapes.
    pub fn short_id(&self) -> Cow<'_, str> {
        short_hex(&self.id).map_or_else(|| unescape_unit(&self.id), Cow::Borrowed)
    }
}

/// Compact form for a table column, such as `containerd:4fa3b2c1d0e9`.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.short_id();
        match (self.runtime, &self.pod) {
            (Some(runtime), _) => f.pad(&format!("{runtime}:{id}")),
            (None, Some(_)) => f.pad(&format!("k8s:{id}")),
            (None, None) => f.pad(&id),
        }
    }
}

/// The text of a cgroup in a column of containers.
///
/// A container shows as its compact form (its monitor is marked as such), a pod's own cgroup as
/// `pod:UID`, and everything else as the end of the path from the last systemd unit on, which is
/// how people refer to services: `containerd.service`, `user@1000.service/init.scope`.
pub fn display_name(cgroup_path: &str) -> String {
    if let Some(location) = Location::of(cgroup_path) {
        return match location.role {
            Role::Payload => location.container.to_string(),
            Role::Monitor => format!("{} (monitor)", location.container),
        };
    }
    if let Some(pod) = cgroup_path::pod_of_path(cgroup_path) {
        return format!("pod:{}", short_hex(pod.as_str()).unwrap_or(pod.as_str()));
    }
    if cgroup_path.is_empty() {
        return "unknown".to_owned();
    }
    // The kernel forbids only a newline in a cgroup's name: a user who may create one could
    // otherwise send escape sequences to a reader's terminal.
    printable(cgroup_path::from_last_unit(cgroup_path)).into_owned()
}

/// The systemd unit of a cgroup: the last in its path; None if it is in none.
#[must_use]
pub fn unit(cgroup_path: &str) -> Option<&str> {
    let from_there = cgroup_path::from_last_unit(cgroup_path);
    // Without a unit it is the whole path, which begins with a slash.
    from_there.split('/').next().filter(|unit| !unit.is_empty())
}

/// The first 12 digits of a 64-digit id, as every runtime's own listing prints them.
fn short_hex(id: &str) -> Option<&str> {
    if cgroup_path::is_hex(id, 64) { id.get(..12) } else { None }
}

/// Undoes `\x2d` and the like, by which systemd puts a machine's name into a unit's name.
fn unescape_unit(name: &str) -> Cow<'_, str> {
    if !name.contains("\\x") {
        return Cow::Borrowed(name);
    }
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        let code = escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push_str(before);
        // An escape of anything unprintable stays as it is: safe to print and visibly odd.
        match code.filter(u8::is_ascii_graphic) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &escape[4..];
            }
            None => {
                plain.push_str("\\x");
                rest = &escape[2..];
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}
