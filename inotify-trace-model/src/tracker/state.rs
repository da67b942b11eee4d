//! The state as a list of parts, from which the same state can be made again: how a recording
//! begins in the middle of a run.

use std::collections::hash_map::Entry;

use super::{Account, Instance, Process, Tracker, User, Watch};
use crate::{
    event::{BootTime, CgroupId, InstanceId},
    identity::{Container, Names},
};

/// One part of a tracker's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A cgroup that is remembered. Removed ones come in the order of their removal.
    Cgroup {
        /// The cgroup.
        id: CgroupId,
        /// Its path from the root of the hierarchy.
        path: Box<str>,
        /// The container it belongs to, where the path does not tell.
        container: Option<Box<Container>>,
        /// When it was removed; None while it exists.
        removed: Option<BootTime>,
    },
    /// What a container is called. Comes after its cgroup.
    Names {
        /// The container's own cgroup.
        cgroup: CgroupId,
        /// Which container that is, where the cgroup exists and its path does not tell.
        container: Option<Box<Container>>,
        /// What it is called.
        names: Box<Names>,
    },
    /// Who pays, and how much.
    Account {
        /// The user.
        user: User,
        /// What is charged.
        account: Account,
    },
    /// A process that holds instances, with some of its descriptors: as many as 1024.
    Process(Process),
    /// An open instance, without its watches, and with some of its descriptors: as many as 1024.
    Instance(Box<Instance>),
    /// Some of an instance's watches: as many as 1024. Come after it.
    Watches {
        /// The instance.
        instance: InstanceId,
        /// By watch descriptor.
        watches: Vec<(i32, Watch)>,
    },
}

/// Watches or descriptors in a part at most: an instance may have a million.
const SOME: usize = 1024;

impl Tracker {
    /// The parts of what is known now, in an order in which they can be put together again. What
    /// was counted is no part of it.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = self.cgroups.parts();
        parts.extend(self.users.iter().map(|(user, account)| {
            let account = account.clone();
            Part::Account { user, account }
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
        parts
    }

    /// Forgets the state, and keeps what was counted: parts are about to come.
    pub fn forget(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        *self = Self { counts, ..Self::new() };
    }

    /// Takes in a part of what was known at another time, or in another process.
    pub fn restore(&mut self, part: Part) {
        match part {
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
                self.processes.insert(process.task.pid, process);
            }
            Part::Instance(instance) => match self.instances.entry(instance.id) {
                Entry::Occupied(known) => known.into_mut().descriptors.extend(instance.descriptors),
                Entry::Vacant(place) => drop(place.insert(*instance)),
            },
            Part::Watches { instance, watches } => {
                if let Some(instance) = self.instances.get_mut(&instance) {
                    instance.watches.extend(watches);
                }
            }
        }
    }
}

/// What is in `all`, in pieces that fit into a part each; an empty one if there is nothing.
fn pieces<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    if all.is_empty() { vec![Vec::new()] } else { all.chunks(SOME).map(<[T]>::to_vec).collect() }
}
