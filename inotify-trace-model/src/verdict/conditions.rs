//! The conditions by which a known bug is recognized. A fact that is not known meets no condition:
//! less evidence never leads to a more specific name.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    event::{CgroupId, Target},
    tracker::{Instance, Origin, Process, Tracker, Watch},
};

/// The events of inotify(7) that a watch can wait for, without `IN_` and in the order of their bits.
const EVENTS: [&str; 12] = [
    "access",
    "modify",
    "attrib",
    "close_write",
    "close_nowrite",
    "open",
    "moved_from",
    "moved_to",
    "create",
    "delete",
    "delete_self",
    "move_self",
];

/// `IN_ALL_EVENTS` of inotify(7).
const ALL_EVENTS: u32 = 0xfff;

/// What the holder must be. All conditions given must be met; of a list, one entry.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OfProcess {
    /// Its command name, as the kernel cuts it (15 bytes).
    pub(super) comm: Vec<String>,
    /// The name of its program's file; a `*` at the end stands for a version.
    pub(super) exe: Vec<String>,
    /// One of its arguments, or the last part of one that is a path.
    pub(super) argument: Vec<String>,
    /// The image of its container, without registry and tag.
    pub(super) image: Vec<String>,
    /// A part of its cgroup's path, such as a unit of systemd.
    pub(super) unit: Vec<String>,
    /// It is one of containerd's shims, runs as root and outside of any container: anything else can
    /// have a shim's name and arguments.
    pub(super) shim: bool,
}

/// What an instance must be. All conditions given must be met; of a list, one entry, unless it says
/// otherwise.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OfInstance {
    /// The command name of the thread that created it.
    pub(super) thread: Vec<String>,
    /// The number of its watches.
    pub(super) watches: Option<usize>,
    /// The names of all cgroup files that it watches or has watched, and no others.
    pub(super) files: Vec<String>,
    /// The path that one of its watches is on, or the end of that path.
    pub(super) target: Vec<String>,
    /// All events that each of its watches waits for, and no others. Not checked once the kernel has
    /// removed the watches with their files.
    pub(super) mask: Vec<String>,
    /// The kernel had removed all its watches before it was found.
    pub(super) emptied: bool,
}

impl OfProcess {
    /// Whether a process meets them.
    pub(super) fn are_met_by(&self, process: &Process, tracker: &Tracker) -> bool {
        let program = process.program.as_ref();
        let exe = || program.and_then(|it| it.exe.as_deref());
        let arguments = || program.map(|it| &it.arguments[..]).unwrap_or_default();
        let cgroup = tracker.cgroups().get(process.task.cgroup);
        let image = || {
            let container = cgroup?.container.as_ref()?;
            tracker.cgroups().names(container)?.image.as_deref()
        };
        let mut units = cgroup.into_iter().flat_map(|it| it.path.split('/'));
        one_of(&self.comm, |it| process.task.comm.as_bytes() == it.as_bytes())
            && one_of(&self.exe, |it| exe().is_some_and(|exe| is_version_of(exe, it)))
            && one_of(&self.argument, |it| arguments().iter().any(|known| **known == **it))
            && one_of(&self.image, |it| image().is_some_and(|image| is_image(image, it)))
            && (self.unit.is_empty() || units.any(|part| self.unit.iter().any(|it| it == part)))
            && (!self.shim || is_shim(process, tracker))
    }
}

impl OfInstance {
    /// Whether an instance meets them.
    pub(super) fn is_met_by(&self, instance: &Instance) -> bool {
        let watches = instance.watches();
        let thread = match &instance.origin {
            Origin::Created(task) => Some(task.thread_name()),
            Origin::Found | Origin::CreatedUnseen => None,
        };
        let files: BTreeSet<&str> = self.files.iter().map(String::as_str).collect();
        let has_mask = |watch: &Watch| watch.mask & ALL_EVENTS == self.mask();
        // Those of a cgroup's files go with it on some kernels.
        let may_be_gone = !self.files.is_empty() && instance.emptied.is_some();
        one_of(&self.thread, |it| thread.is_some_and(|comm| comm.as_bytes() == it.as_bytes()))
            && self.watches.is_none_or(|number| watches.len() == number)
            && (!self.emptied || is_emptied(instance))
            && (files.is_empty() || instance.files.iter().map(|it| &**it).eq(files))
            && one_of(&self.target, |it| watches.values().any(|watch| is_at(&watch.target, it)))
            && (self.mask.is_empty()
                || (watches.values().all(has_mask) && (may_be_gone || !watches.is_empty())))
    }

    fn mask(&self) -> u32 {
        let bit = |name: &String| EVENTS.iter().position(|it| it == name).map_or(0, |at| 1 << at);
        self.mask.iter().map(bit).sum()
    }
}

/// Whether the kernel has removed all watches of this instance before it was found.
fn is_emptied(instance: &Instance) -> bool {
    instance.watches().is_empty() && instance.served.is_empty() && instance.queued.is_some()
}

fn one_of(list: &[String], is: impl FnMut(&String) -> bool) -> bool {
    list.is_empty() || list.iter().any(is)
}

/// Whether a process is a shim of containerd, root's and outside of any container.
fn is_shim(process: &Process, tracker: &Tracker) -> bool {
    let is_outside =
        |id: CgroupId| tracker.cgroups().get(id).is_some_and(|cgroup| cgroup.container.is_none());
    process.shim.is_some() && process.task.uid == 0 && is_outside(process.task.cgroup)
}

/// Whether a program's file has this name, with a version in place of a `*` at its end.
fn is_version_of(exe: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(name) => exe
            .strip_prefix(name)
            .is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_digit() || it == b'.')),
        None => exe == name,
    }
}

/// Whether an image has this name, whatever its registry, tag and digest.
fn is_image(image: &str, name: &str) -> bool {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let last = image.rfind('/').map_or(0, |at| at + 1);
    let image = image[last..].find(':').map_or(image, |at| &image[..last + at]);
    image.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// Whether a target's path is this one or, if that does not begin with a slash, ends with it.
fn is_at(target: &Target, path: &str) -> bool {
    let Some(known) = target.path.as_deref() else { return false };
    let known = if known.len() > 1 { known.trim_end_matches('/') } else { known };
    let is_end = |rest: &str| rest.is_empty() || rest.ends_with('/');
    known == path || (!path.starts_with('/') && known.strip_suffix(path).is_some_and(is_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_version_only() {
        for (exe, name, is) in [
            ("python3", "python*", true),
            ("python3.11", "python*", true),
            ("python", "python*", true),
            ("pythonw", "python*", false),
            ("python3-config", "python*", false),
            ("java", "java", true),
            ("javac", "java", false),
        ] {
            assert_eq!(is_version_of(exe, name), is, "{exe} {name}");
        }
    }

    #[test]
    fn an_image_has_a_name_whatever_its_registry_and_tag() {
        for image in [
            "a/b",
            "ghcr.io/a/b",
            "localhost:5000/a/b:stable",
            "ghcr.io/a/b@sha256:00",
            "a/b:1@sha256:0",
        ] {
            assert!(is_image(image, "a/b"), "{image}");
        }
        for image in ["aa/b", "a/bb", "a/b/c", "b", ""] {
            assert!(!is_image(image, "a/b"), "{image}");
        }
    }

    #[test]
    fn a_target_is_a_whole_path_or_the_end_of_one() {
        let at = |known: &str, path| {
            is_at(&Target { path: Some(known.into()), ..Target::default() }, path)
        };
        assert!(at("/etc", "/etc") && at("/etc/", "/etc") && at("/", "/"));
        assert!(!at("/srv/etc", "/etc") && !at("/etc/x", "/etc") && !at("etc", "/etc"));
        assert!(at("/srv/app/assets/views", "assets/views") && at("assets/views", "assets/views"));
        assert!(!at("/srv/myassets/views", "assets/views"));
        assert!(!is_at(&Target::default(), "/etc"));
    }

    #[test]
    fn a_mask_has_the_bits_of_its_events() {
        let of = |names: &[&str]| {
            let mask = names.iter().map(|&name| name.to_owned()).collect();
            OfInstance { mask, ..OfInstance::default() }.mask()
        };
        assert_eq!(of(&["modify"]), 0x2);
        assert_eq!(of(&["modify", "moved_to", "create"]), 0x182);
        assert_eq!(of(&EVENTS), ALL_EVENTS);
    }

    #[test]
    fn the_names_of_events_are_known() {
        for pattern in super::super::patterns() {
            let mut names = pattern.instances.iter().flat_map(|it| &it.mask);
            assert!(names.all(|name| EVENTS.contains(&&**name)), "{}", pattern.name);
        }
    }
}
