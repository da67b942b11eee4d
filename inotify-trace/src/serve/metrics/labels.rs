//! Who holds instances, as labels: names that last, and never an id, a path or a process.

use inotify_trace_model::{
    event::CgroupId,
    identity::{Container, unit},
    text::printable,
    tracker::Tracker,
    usage::Key,
};

use super::registry::OTHER;

/// The most bytes of a label's value.
const LONGEST: usize = 128;

/// The unit of those that are in none.
const NO_UNIT: &str = "~none";

/// A holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The namespace of its pod.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its container.
    pub container: String,
    /// Its systemd unit, if it is in no container.
    pub unit: String,
}

impl Holder {
    /// All that have no series of their own.
    pub fn other() -> Self {
        Self { unit: OTHER.to_owned(), ..Self::default() }
    }

    /// The holder of a group; None if it has no name that lasts.
    pub fn of_group(key: &Key, tracker: &Tracker) -> Option<Self> {
        match key {
            Key::Container(container) => Self::of_container(container, tracker),
            Key::Cgroup(cgroup) => Self::of_cgroup(*cgroup, tracker),
            Key::Instance(_) | Key::Process(_) | Key::User(_) | Key::Nobody => None,
        }
    }

    /// The holder that a cgroup belongs to.
    pub fn of_cgroup(cgroup: CgroupId, tracker: &Tracker) -> Option<Self> {
        let cgroup = tracker.cgroups().get(cgroup)?;
        match &cgroup.container {
            Some(container) => Self::of_container(container, tracker),
            None => Some(Self { unit: lasting_unit(&cgroup.path), ..Self::default() }),
        }
    }

    fn of_container(container: &Container, tracker: &Tracker) -> Option<Self> {
        let names = tracker.cgroups().names(container)?;
        let own = names.name.as_deref().filter(|name| *name != container.id);
        let part = |name: Option<&str>| bounded(name.unwrap_or_default());
        let holder = Self {
            namespace: part(names.namespace.as_deref()),
            pod: part(names.pod_name.as_deref()),
            container: if names.is_sandbox { "~sandbox".to_owned() } else { part(own) },
            unit: String::new(),
        };
        (!holder.pod.is_empty() || own.is_some()).then_some(holder)
    }

    /// The values of its labels.
    pub fn values(&self) -> Vec<String> {
        [&self.namespace, &self.pod, &self.container, &self.unit].map(Clone::clone).to_vec()
    }
}

/// The unit of a cgroup's path. What is made anew for each session or command is one.
fn lasting_unit(path: &str) -> String {
    match unit(path) {
        None => NO_UNIT.to_owned(),
        Some(unit) if unit.starts_with("session-") && unit.ends_with(".scope") => {
            "user-sessions".to_owned()
        }
        Some(unit) if unit.starts_with("run-") && !unit.ends_with(".mount") => {
            "transient-units".to_owned()
        }
        Some(unit) => bounded(unit),
    }
}

/// A name that others chose: printable, not too long, and none of our own.
pub fn bounded(name: &str) -> String {
    let text = printable(name);
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text[..end].strip_prefix('~') {
        Some(rest) => format!("_{rest}"),
        None => text[..end].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_anew_each_time_is_one_unit() {
        for (path, expected) in [
            ("/system.slice/sshd.service", "sshd.service"),
            ("/user.slice/user-0.slice/session-4711.scope", "user-sessions"),
            ("/system.slice/run-u12.service", "transient-units"),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service"),
            ("/", NO_UNIT),
            ("/of/nobody", NO_UNIT),
            ("/a/~other.service", "_other.service"),
        ] {
            assert_eq!(lasting_unit(path), expected, "{path}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = bounded(&"ü".repeat(100));
        assert_eq!(name.len(), LONGEST);
        assert_eq!(bounded(&format!("x{}", "ü".repeat(100))).len(), LONGEST - 1);
    }
}
