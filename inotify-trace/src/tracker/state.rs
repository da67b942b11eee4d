//! The state as a list of parts, from which the same state can be made again: how a recording
//! begins in the middle of a run.

use super::{Account, Instance, Process, Tracker, User, Watch};
use crate::{
    container::{Container, Names},
    event::{BootTime, CgroupId, InstanceId},
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
    /// A process that holds instances.
    Process(Process),
    /// An open instance, without its watches.
    Instance(Box<Instance>),
    /// Some of an instance's watches: as many as 1024. Come after it.
    Watches {
        /// The instance.
        instance: InstanceId,
        /// By watch descriptor.
        watches: Vec<(i32, Watch)>,
    },
}

/// Watches in a part at most: an instance may have a million.
const WATCHES: usize = 1024;

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
        parts.extend(processes.into_iter().map(Part::Process));
        let mut instances: Vec<_> = self.instances.values().cloned().collect();
        instances.sort_by_key(|instance| instance.id);
        for mut instance in instances {
            let (id, watches) = (instance.id, std::mem::take(&mut instance.watches));
            parts.push(Part::Instance(Box::new(instance)));
            let watches: Vec<_> = watches.into_iter().collect();
            parts.extend(
                watches
                    .chunks(WATCHES)
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
            Part::Process(process) => drop(self.processes.insert(process.task.pid, process)),
            Part::Instance(instance) => drop(self.instances.insert(instance.id, *instance)),
            Part::Watches { instance, watches } => {
                if let Some(instance) = self.instances.get_mut(&instance) {
                    instance.watches.extend(watches);
                }
            }
        }
    }
}
