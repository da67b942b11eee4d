//! The tracker's instances, grouped by holder, container or user. Pure: it works on a recording as
//! on a live system.

mod culprits;
mod shares;
#[cfg(test)]
mod tests;
mod time_left;
mod totals;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

pub use culprits::{Culprit, Culprits, Held};
pub use shares::{Chief, Place, Share, chief, shares};
pub use time_left::time_left;
pub use totals::{Standing, standings};

pub use crate::event::Level;

use crate::{
    event::{CgroupId, InstanceId, Task},
    identity::Container,
    tracker::{Descriptor, Instance, Process, Tracker, User},
    verdict::looks_leaked,
};

/// The key by which instances are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Each instance by itself
    Instance,
    /// Processes; a shared instance counts for each process that holds it
    #[default]
    Process,
    /// Containers: the one whose cgroup an instance watches, if it watches no other; if that is gone
    /// and a shim holds the instance, the one that the shim was started for; else the container, or
    /// the cgroup, of each holder
    Container,
    /// Charged users
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
    /// A charged user; None if unknown.
    User(Option<User>),
    /// Held by no known process: in flight in a socket, or hidden.
    Nobody,
}

/// Instances with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The key.
    pub key: Key,
    /// The instances.
    pub instances: BTreeSet<InstanceId>,
    /// The sum of their watches.
    pub watches: u64,
    /// The sum of their unread events, as far as known.
    pub queued: u64,
    /// The number of instances whose queue has overflowed.
    pub overflowed: u64,
    /// The number of descriptors with which the group's processes hold them.
    pub descriptors: u64,
    /// The number of instances that processes of other groups hold as well.
    pub shared: u64,
    /// Processes of this group that hold them.
    pub processes: BTreeSet<u32>,
    /// The users who are charged for them.
    pub users: BTreeSet<Option<User>>,
    /// The cgroups these processes run in.
    pub cgroups: BTreeSet<CgroupId>,
    /// The cgroups that they watch.
    pub serves: BTreeSet<CgroupId>,
    /// The number of a container's instances that are held outside of it.
    pub outside: u64,
    /// The number of instances that look leaked: nobody needs them.
    pub leaked: u64,
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
            overflowed: 0,
            descriptors: 0,
            shared: 0,
            processes: BTreeSet::new(),
            users: BTreeSet::new(),
            cgroups: BTreeSet::new(),
            serves: BTreeSet::new(),
            outside: 0,
            leaked: 0,
        }
    }

    /// One instance by itself.
    #[must_use]
    pub fn of_instance(instance: &Instance, tracker: &Tracker) -> Self {
        let mut group = Self::new(Key::Instance(instance.id));
        group.add(instance);
        for &Descriptor { pid, .. } in instance.descriptors() {
            group.add_holder(tracker.process(pid).map(|process| process.task), pid);
        }
        group
    }

    /// Adds an instance; a second time has no effect.
    fn add(&mut self, instance: &Instance) {
        if !self.instances.insert(instance.id) {
            return;
        }
        self.watches += instance.watches().len() as u64;
        self.queued += u64::from(instance.unread());
        self.overflowed += u64::from(instance.overflow.is_some());
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

/// The tracker's instances in groups, the largest group first.
#[must_use]
pub fn groups(tracker: &Tracker, by: By) -> Vec<Group> {
    groups_of(tracker, by, |_, _| true)
}

/// The same of those instances, and those of their holders, that `is_picked` picks by process id; None
/// is asked if no process is seen to hold an instance.
#[must_use]
pub fn groups_of(
    tracker: &Tracker,
    by: By,
    is_picked: impl Fn(&Instance, Option<u32>) -> bool,
) -> Vec<Group> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    let mut shims: HashMap<u32, Option<&Container>> = HashMap::new();
    for instance in tracker.instances() {
        let mut keys = BTreeSet::new();
        let is_leaked = looks_leaked(tracker, instance);
        let mut of_shim = || {
            let pid = instance.descriptors().first().filter(|_| is_leaked)?.pid;
            let container = || {
                let shim = tracker.process(pid)?.shim.as_ref()?;
                tracker.cgroups().container(&shim.id)
            };
            *shims.entry(pid).or_insert_with(container)
        };
        let served = (by == By::Container).then(|| of_shim().or_else(|| served(tracker, instance)));
        let served = served.flatten();
        let mut is_outside = false;
        // Of holders that are not picked, too.
        let mut all = BTreeSet::new();
        for &Descriptor { pid, .. } in instance.descriptors() {
            let holder = tracker.process(pid);
            let mut key = key(tracker, by, instance, holder, pid);
            if let Some(served) = served.filter(|&it| !is_of(&key, it)) {
                key = Key::Container(served.clone());
                is_outside = true;
            }
            all.insert(key.clone());
            if !is_picked(instance, Some(pid)) {
                continue;
            }
            let group = groups.entry(key.clone()).or_insert_with(|| Group::new(key.clone()));
            group.add_holder(holder.map(|process| process.task), pid);
            keys.insert(key);
        }
        if all.is_empty() && is_picked(instance, None) {
            keys.insert(match by {
                By::Instance => Key::Instance(instance.id),
                By::User => Key::User(instance.charged),
                By::Process | By::Container => Key::Nobody,
            });
        }
        let is_shared = all.len() > 1;
        for key in keys {
            let group = groups.entry(key.clone()).or_insert_with(|| Group::new(key));
            group.add(instance);
            group.shared += u64::from(is_shared);
            group.outside += u64::from(is_outside);
            group.leaked += u64::from(is_leaked);
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

/// The container whose cgroups are all that an instance watches: the instance serves that
/// container, even if another process holds it, such as a shim or conmon, which run outside of the
/// container.
fn served<'a>(tracker: &'a Tracker, instance: &Instance) -> Option<&'a Container> {
    let mut served = instance.watches().values().map(|watch| {
        let cgroup = tracker.cgroups().get(watch.target.cgroup.known()?)?;
        cgroup.container.as_ref()
    });
    let first = served.next()??;
    served.all(|other| other == Some(first)).then_some(first)
}

/// The sum of all groups, each instance once.
#[must_use]
pub fn total(tracker: &Tracker) -> Group {
    total_of(tracker, |_, _| true)
}

/// The sum of [`groups_of`], each instance once.
#[must_use]
pub fn total_of(tracker: &Tracker, is_picked: impl Fn(&Instance, Option<u32>) -> bool) -> Group {
    let mut total = Group::new(Key::Nobody);
    for instance in tracker.instances() {
        if instance.descriptors().is_empty() && is_picked(instance, None) {
            total.add(instance);
        }
        for &Descriptor { pid, .. } in instance.descriptors() {
            if is_picked(instance, Some(pid)) {
                total.add(instance);
                total.add_holder(tracker.process(pid).map(|process| process.task), pid);
            }
        }
    }
    total
}
