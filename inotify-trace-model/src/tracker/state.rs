//! The state as a list of parts, from which the same state can be restored: how a recording begins
//! in the middle of a run.

use std::collections::hash_map::Entry;

use super::{
    Account, COMMANDS, Forgotten, Instance, Lifetimes, Process, Tracker, User, Watch, worth,
};
use crate::{
    event::{BootTime, CgroupId, Comm, InstanceId},
    identity::{Container, Names},
};

/// One part of a tracker's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A cgroup that exists, or is kept after its removal. Removed ones come in the order of
    /// removal.
    Cgroup {
        /// The cgroup.
        id: CgroupId,
        /// Its path from the root of the hierarchy.
        path: Box<str>,
        /// The container it belongs to, if it cannot be derived from the path.
        container: Option<Box<Container>>,
        /// When it was removed; None while it exists.
        removed: Option<BootTime>,
    },
    /// The names of a container. Comes after its cgroup.
    Names {
        /// The container's own cgroup.
        cgroup: CgroupId,
        /// The container, if the cgroup exists and the container cannot be derived from its path.
        container: Option<Box<Container>>,
        /// Its names.
        names: Box<Names>,
    },
    /// The charges of a user.
    Account {
        /// The user.
        user: User,
        /// The charges.
        account: Account,
    },
    /// A process that holds instances, with at most 1024 of its descriptors; or a shim that held some.
    Process(Process),
    /// An open instance, without its watches, and with at most 1024 of its descriptors.
    Instance(Box<Instance>),
    /// At most 1024 of an instance's watches. Come after the instance.
    Watches {
        /// The instance.
        instance: InstanceId,
        /// By watch descriptor.
        watches: Vec<(i32, Watch)>,
    },
    /// How long the processes of a command in a cgroup have held instances, of those that do no
    /// longer.
    Ended {
        /// The cgroup.
        cgroup: CgroupId,
        /// The command.
        comm: Comm,
        /// How long.
        lifetimes: Lifetimes,
    },
    /// What was forgotten, if anything was. Comes last.
    Forgotten(Forgotten),
}

/// The most watches or descriptors in a part: an instance may have a million.
const SOME: usize = 1024;

impl Tracker {
    /// The state as parts, in the order in which [`restore`](Self::restore) takes them. The totals
    /// are not included.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = self.cgroups.parts();
        parts.extend(self.users.iter().map(|(user, account)| {
            let account = account.clone();
            Part::Account { user, account }
        }));
        parts.extend(self.ended.iter().map(|(&(cgroup, comm), lifetimes)| {
            let lifetimes = lifetimes.clone();
            Part::Ended { cgroup, comm, lifetimes }
        }));
        let mut processes: Vec<_> = self.processes.values().cloned().collect();
        processes.sort_by_key(|process| process.task.pid);
        for mut process in processes {
            let all: Vec<_> = std::mem::take(&mut process.descriptors).into_iter().collect();
            parts.extend(pieces(&all).into_iter().map(|some| {
                let descriptors = some.into_iter().collect();
                Part::Process(Process { descriptors, ..process.clone() })
            }));
        }
        let mut instances: Vec<_> = self.instances.values().cloned().collect();
        instances.sort_by_key(|instance| instance.id);
        for mut instance in instances {
            let (id, watches) = (instance.id, std::mem::take(&mut instance.watches));
            let descriptors = std::mem::take(&mut instance.descriptors);
            parts.extend(pieces(&descriptors).into_iter().map(|descriptors| {
                Part::Instance(Box::new(Instance { descriptors, ..instance.clone() }))
            }));
            let watches: Vec<_> = watches.into_iter().collect();
            parts.extend(
                watches
                    .chunks(SOME)
                    .map(|some| Part::Watches { instance: id, watches: some.to_vec() }),
            );
        }
        let forgotten = Some(self.forgotten()).filter(|it| *it != Forgotten::default());
        parts.extend(forgotten.map(Part::Forgotten));
        parts
    }

    /// Discards the state, and keeps the totals: parts follow.
    pub fn forget(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        *self = Self { counts, ..Self::new() };
    }

    /// Adds a part of the state of another tracker.
    pub fn restore(&mut self, part: Part) {
        self.growth.add(worth::of_part(&part));
        match part {
            Part::Forgotten(Forgotten { instances, cgroups }) => {
                (self.forgotten_instances, self.cgroups.forgotten) = (instances, cgroups);
            }
            Part::Cgroup { id, path, container, removed } => {
                self.cgroups.restore(id, &path, container.as_deref());
                if let Some(time) = removed {
                    self.cgroups.remove(id, time);
                }
            }
            Part::Names { cgroup, container, names } => {
                self.cgroups.name_container(cgroup, container.as_deref(), &names);
            }
            Part::Account { user, account } => self.users.restore(user, account),
            Part::Process(mut process) => {
                let known = self.processes.remove(&process.task.pid);
                process.descriptors.extend(known.into_iter().flat_map(|it| it.descriptors));
                let pid = process.task.pid;
                let is_idle = process.descriptors.is_empty();
                self.processes.insert(pid, process);
                if is_idle {
                    self.rest(pid, BootTime(0));
                }
            }
            Part::Instance(instance) => match self.instances.entry(instance.id) {
                Entry::Occupied(known) => known.into_mut().descriptors.extend(instance.descriptors),
                Entry::Vacant(place) => {
                    self.users.hold(instance.charged);
                    place.insert(*instance);
                }
            },
            Part::Watches { instance, watches } => {
                if let Some(instance) = self.instances.get_mut(&instance) {
                    instance.watches.extend(watches);
                }
            }
            Part::Ended { cgroup, comm, lifetimes } => {
                if self.ended.len() < COMMANDS {
                    self.ended.insert((cgroup, comm), lifetimes);
                }
            }
        }
    }
}

/// Splits `all` into pieces that fit into a part; there is at least one, which may be empty.
fn pieces<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    if all.is_empty() { vec![Vec::new()] } else { all.chunks(SOME).map(<[T]>::to_vec).collect() }
}
