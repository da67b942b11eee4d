//! Who uses how much: the tracker's instances, grouped. Pure, so that it holds for a recording as
//! for a machine.

mod culprits;
#[cfg(test)]
mod tests;
mod time_left;
mod totals;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

pub use culprits::{Culprit, Culprits};
pub use time_left::time_left;
pub use totals::{Level, Standing, standings};

use crate::{
    event::{CgroupId, InstanceId, Task},
    identity::Container,
    tracker::{Instance, Process, Tracker, User},
};

/// What instances are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Each instance by itself
    Instance,
    /// Processes; one that several share counts for each of them
    #[default]
    Process,
    /// Containers that they serve alone, or else containers, or cgroups where there is none, of the
    /// processes that hold them
    Container,
    /// Users that are charged
    User,
}

impl By {
    /// As users type it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Process => "process",
            Self::Container => "container",
            Self::User => "user",
        }
    }
}

/// What a group has in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// One instance.
    Instance(InstanceId),
    /// A process, by process id.
    Process(u32),
    /// A container.
    Container(Container),
    /// A cgroup that is no container's.
    Cgroup(CgroupId),
    /// A charged user; None if it is not known who is.
    User(Option<User>),
    /// Held by no process that was seen: in flight in a socket, or hidden.
    Nobody,
}

/// Instances that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is.
    pub key: Key,
    /// The instances.
    pub instances: BTreeSet<InstanceId>,
    /// How many watches they have together.
    pub watches: u64,
    /// How many unread events they have together, where that is known.
    pub queued: u64,
    /// How many descriptors of this group's processes lead to them.
    pub descriptors: u64,
    /// How many of them others hold as well.
    pub shared: u64,
    /// Processes of this group that hold them.
    pub processes: BTreeSet<u32>,
    /// Who is charged for them.
    pub users: BTreeSet<Option<User>>,
    /// The cgroups these processes run in.
    pub cgroups: BTreeSet<CgroupId>,
    /// The cgroups that they watch.
    pub serves: BTreeSet<CgroupId>,
    /// Of a container, how many of them are held outside it.
    pub outside: u64,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            instances: BTreeSet::new(),
            watches: 0,
            queued: 0,
            descriptors: 0,
            shared: 0,
            processes: BTreeSet::new(),
            users: BTreeSet::new(),
            cgroups: BTreeSet::new(),
            serves: BTreeSet::new(),
            outside: 0,
        }
    }

    /// Adds an instance, once however often it is added.
    fn add(&mut self, instance: &Instance) {
        if !self.instances.insert(instance.id) {
            return;
        }
        self.watches += instance.watches().len() as u64;
        self.queued += u64::from(instance.queued.unwrap_or_default());
        self.users.insert(instance.charged);
        let watched = instance.watches().values().filter_map(|watch| watch.target.cgroup.known());
        self.serves.extend(watched);
    }

    /// Adds one descriptor of a process.
    fn add_holder(&mut self, task: Option<Task>, pid: u32) {
        self.descriptors += 1;
        self.processes.insert(pid);
        self.cgroups.extend(task.and_then(|task| task.cgroup.known()));
    }
}

/// The instances that `tracker` knows, grouped; the group with most first.
#[must_use]
pub fn groups(tracker: &Tracker, by: By) -> Vec<Group> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for instance in tracker.instances() {
        let mut keys = BTreeSet::new();
        let served = (by == By::Container).then(|| served(tracker, instance)).flatten();
        let mut is_outside = false;
        for &(pid, _) in instance.descriptors() {
            let holder = tracker.process(pid);
            let mut key = key(tracker, by, instance, holder, pid);
            if let Some(served) = served.filter(|&it| !is_of(&key, it)) {
                key = Key::Container(served.clone());
                is_outside = true;
            }
            let group = groups.entry(key.clone()).or_insert_with(|| Group::new(key.clone()));
            group.add_holder(holder.map(|process| process.task), pid);
            keys.insert(key);
        }
        if keys.is_empty() {
            keys.insert(match by {
                By::Instance => Key::Instance(instance.id),
                By::User => Key::User(instance.charged),
                By::Process | By::Container => Key::Nobody,
            });
        }
        let is_shared = keys.len() > 1;
        for key in keys {
            let group = groups.entry(key.clone()).or_insert_with(|| Group::new(key));
            group.add(instance);
            group.shared += u64::from(is_shared);
            group.outside += u64::from(is_outside);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| (Reverse(group.instances.len()), Reverse(group.watches)));
    groups
}

fn key(tracker: &Tracker, by: By, instance: &Instance, holder: Option<&Process>, pid: u32) -> Key {
    match by {
        By::Instance => Key::Instance(instance.id),
        By::Process => Key::Process(pid),
        By::User => Key::User(instance.charged),
        By::Container => match holder.and_then(|process| process.task.cgroup.known()) {
            Some(id) => match tracker.cgroups().get(id).and_then(|it| it.container.clone()) {
                Some(container) => Key::Container(container),
                None => Key::Cgroup(id),
            },
            None => Key::Nobody,
        },
    }
}

fn is_of(key: &Key, container: &Container) -> bool {
    matches!(key, Key::Container(own) if own == container)
}

/// The container whose cgroups are all that an instance watches: whoever holds it, it is there for
/// that container. That is what shims and conmon do, which run beside the containers.
fn served<'a>(tracker: &'a Tracker, instance: &Instance) -> Option<&'a Container> {
    let mut served = instance.watches().values().map(|watch| {
        let cgroup = tracker.cgroups().get(watch.target.cgroup.known()?)?;
        cgroup.container.as_ref()
    });
    let first = served.next()??;
    served.all(|other| other == Some(first)).then_some(first)
}

/// All of them together, each instance once.
#[must_use]
pub fn total(tracker: &Tracker) -> Group {
    let mut total = Group::new(Key::Nobody);
    for instance in tracker.instances() {
        total.add(instance);
        for &(pid, _) in instance.descriptors() {
            total.add_holder(tracker.process(pid).map(|process| process.task), pid);
        }
    }
    total
}
