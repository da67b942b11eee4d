//! What the state takes of memory, and what is forgotten when it takes too much: processes choose how
//! many instances, watches and cgroups there are, and how long their paths.
//!
//! Entries are counted, each for what it takes with its share of maps and of what feeds keep beside it;
//! texts for their length. docs/security.md has the shares.

use std::collections::BTreeMap;

use super::{Cgroup, Instance, Part, Process, Tracker, User};
use crate::{
    event::{Event, EventKind, InstanceId, Loss, Target},
    identity::{Container, Names},
};

/// The most bytes that the state may take, unless another number is given.
pub const CEILING: usize = 128 << 20;

/// Bytes of an entry.
pub(super) const INSTANCE: usize = 1024;
pub(super) const WATCH: usize = 192;
pub(super) const DESCRIPTOR: usize = 160;
pub(super) const PROCESS: usize = 768;
pub(super) const CGROUP: usize = 512;
pub(super) const NAMES: usize = 768;
pub(super) const ACCOUNT: usize = 320;
pub(super) const LIFETIMES: usize = 320;
pub(super) const LEAVER: usize = 128;

/// The most that cgroups and their names may take of the ceiling: one part in this many. The rest is
/// for instances, with their watches and holders.
const CGROUPS: usize = 4;

/// Above this part of the ceiling, entries are forgotten until the other part: not for each event.
const FULL: (usize, usize) = (7, 8);
const RELIEVED: (usize, usize) = (3, 4);

fn part(of: usize, (some, all): (usize, usize)) -> usize {
    of / all * some
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Instances, with their watches and holders.
    pub instances: u64,
    /// Cgroups, with their names.
    pub cgroups: u64,
}

/// How the state has grown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    /// At most the bytes that it takes.
    at_most: usize,
    /// All bytes that were ever added, and how many that were when instances and when cgroups were
    /// last forgotten.
    added: usize,
    forgotten_at: [usize; 2],
}

impl Growth {
    pub(super) fn add(&mut self, bytes: usize) {
        self.at_most = self.at_most.saturating_add(bytes);
        self.added = self.added.saturating_add(bytes);
    }

    /// Whether enough was added since the last time to forget again: that takes as long as the state is
    /// large, and a recording may ask for it again and again.
    fn is_enough(&mut self, what: Loss) -> bool {
        let last = &mut self.forgotten_at[usize::from(what == Loss::Cgroups)];
        let is_enough = self.added - *last >= self.at_most / 16;
        if is_enough {
            *last = self.added;
        }
        is_enough
    }
}

pub(super) fn of_target(target: &Target) -> usize {
    let texts = [&target.path, &target.resolved, &target.file];
    texts.into_iter().flatten().map(|text| text.len()).sum()
}

pub(super) fn of_names(names: &Names) -> usize {
    let texts = [&names.name, &names.pod_name, &names.namespace, &names.image];
    NAMES + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

pub(super) fn of_container(container: Option<&Container>) -> usize {
    let of_one = |it: &Container| size_of::<Container>() + it.id.len();
    container.map_or(0, |it| of_one(it) + it.outer.as_deref().map_or(0, of_one))
}

pub(super) fn of_cgroup(cgroup: &Cgroup) -> usize {
    CGROUP + cgroup.path.len() + of_container(cgroup.container.as_ref())
}

pub(super) fn of_instance(instance: &Instance) -> usize {
    let watches = instance.watches.values().map(|watch| WATCH + of_target(&watch.target));
    let files = instance.files.iter().map(|file| file.len() + DESCRIPTOR);
    let others = instance.descriptors.len() * DESCRIPTOR + instance.leavers.len() * LEAVER;
    INSTANCE + others + watches.chain(files).sum::<usize>()
}

/// The most that a part of the state adds.
pub(super) fn of_part(part: &Part) -> usize {
    match part {
        Part::Cgroup { path, container, .. } => {
            CGROUP + 2 * path.len() + of_container(container.as_deref())
        }
        Part::Names { names, container, .. } => {
            of_names(names) + of_container(container.as_deref())
        }
        Part::Account { account, .. } => ACCOUNT * (1 + account.payers.len()),
        Part::Process(process) => PROCESS + process.descriptors.len() * DESCRIPTOR,
        Part::Instance(instance) => of_instance(instance) + ACCOUNT,
        Part::Watches { watches, .. } => {
            watches.iter().map(|(_, watch)| WATCH + of_target(&watch.target)).sum()
        }
        Part::Ended { .. } => LIFETIMES,
        Part::Forgotten(_) => 0,
    }
}

impl Tracker {
    /// The bytes that the state takes.
    #[must_use]
    pub fn worth(&self) -> usize {
        let instances = self.instances.values().map(of_instance).sum::<usize>();
        let text = |it: &Process| {
            let shim = it.shim.as_ref().map_or(0, |it| it.id.len() + it.namespace.len());
            let program = it.program.as_ref().map_or(0, |it| it.arguments.len() * DESCRIPTOR);
            PROCESS + shim + program + it.descriptors.len() * DESCRIPTOR
        };
        let processes = self.processes.values().map(text).sum::<usize>();
        let ended = self.ended.len() * LIFETIMES;
        instances + processes + ended + self.users.worth() + self.cgroups.worth()
    }

    /// What was forgotten until now.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        Forgotten { cgroups: self.cgroups.forgotten, instances: self.forgotten_instances }
    }

    /// The most that an event adds.
    pub(super) fn count_growth(&mut self, event: &Event) {
        let holder = PROCESS + DESCRIPTOR * 2;
        let bytes = match &event.kind {
            EventKind::InstanceFound { .. } | EventKind::InstanceCreated { .. } => {
                INSTANCE + ACCOUNT + holder
            }
            EventKind::WatchFound { target, .. } | EventKind::WatchAdded { target, .. } => {
                WATCH + DESCRIPTOR + 2 * of_target(target) + ACCOUNT + holder
            }
            EventKind::ProcessForked { .. } => {
                let parent = event.task.and_then(|task| self.process(task.pid));
                let descriptors = parent.map_or(0, |parent| parent.descriptors.len());
                PROCESS + descriptors * DESCRIPTOR * 2
            }
            EventKind::CgroupFound { path, .. }
            | EventKind::CgroupCreated { path, .. }
            | EventKind::CgroupRenamed { path, .. } => CGROUP + 2 * path.len(),
            EventKind::ContainerNamed { names, container, .. } => {
                // It may be that of many cgroups.
                of_names(names) + of_container(container.as_deref()) * self.cgroups.len().max(1)
            }
            EventKind::Charged { charges } => {
                charges.len() * (ACCOUNT + charges.len() * size_of::<User>())
            }
            EventKind::ShimIdentified { id, namespace, .. } => id.len() + namespace.len(),
            EventKind::ProgramIdentified { arguments, .. } => arguments.len() * DESCRIPTOR,
            EventKind::Lost { .. } => 0,
            _ => ACCOUNT + LIFETIMES + holder,
        };
        self.growth.add(bytes);
    }

    /// What should be forgotten so that the state takes no more than `ceiling`, as losses to apply.
    pub fn surplus(&mut self, ceiling: usize) -> Vec<EventKind> {
        // At most: what has ended since was not subtracted.
        if self.growth.at_most <= ceiling {
            return Vec::new();
        }
        let worth = self.worth();
        // It is looked at again after the rest of the ceiling was added, even if nothing helps.
        self.growth.at_most = worth.min(part(ceiling, FULL));
        if worth <= part(ceiling, FULL) {
            return Vec::new();
        }
        let mut over = worth.saturating_sub(part(ceiling, RELIEVED));
        let (share, of_cgroups) = (ceiling / CGROUPS, self.cgroups.worth());
        let mut losses = Vec::new();
        if of_cgroups > part(share, FULL) {
            let (count, freed) = self.cgroups.surplus(of_cgroups - part(share, RELIEVED));
            over = over.saturating_sub(freed);
            losses.push(EventKind::Lost { count, what: Loss::Cgroups });
        }
        let mut count = 0;
        for id in self.forgettable() {
            if over == 0 {
                break;
            }
            let freed = |it: &Instance| of_instance(it) + it.descriptors.len() * DESCRIPTOR;
            over = over.saturating_sub(self.instances.get(&id).map_or(0, freed));
            count += 1;
        }
        if over > 0 {
            let strays = self.processes.values().filter(|process| self.is_stray(process));
            count += strays.map(|process| process.descriptors.len() as u64).sum::<u64>();
        }
        if count > 0 {
            losses.push(EventKind::Lost { count, what: Loss::Instances });
        }
        losses
    }

    /// Whether a process holds instances, and none that is known: their part of a state may be missing.
    fn is_stray(&self, process: &Process) -> bool {
        let mut held = process.descriptors.values();
        held.len() > 0 && !held.any(|id| self.instances.contains_key(id))
    }

    /// All instances, those that are forgotten first at the beginning: the oldest of the user and cgroup
    /// whose instances take most, so that nobody makes others' be forgotten.
    fn forgettable(&self) -> Vec<InstanceId> {
        let mut by_owner: BTreeMap<_, (usize, Vec<InstanceId>)> = BTreeMap::new();
        for instance in self.instances.values() {
            let owner = (instance.charged, instance.creator_cgroup);
            let (worth, ids) = by_owner.entry(owner).or_default();
            *worth += of_instance(instance);
            ids.push(instance.id);
        }
        let mut all: Vec<_> = by_owner.into_values().collect();
        all.sort_by_key(|(worth, _)| std::cmp::Reverse(*worth));
        for (_, ids) in &mut all {
            ids.sort_unstable();
        }
        all.into_iter().flat_map(|(_, ids)| ids).collect()
    }

    /// Forgets this many instances or cgroups.
    pub(super) fn forget_some(&mut self, what: Loss, count: u64) {
        if self.growth.is_enough(what) {
            match what {
                Loss::Cgroups => self.cgroups.forget(count),
                _ => self.forget_instances(count),
            }
            self.growth.at_most = self.worth();
        }
    }

    /// The instances still exist: nobody has let go of them.
    fn forget_instances(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for id in self.forgettable().into_iter().take(count) {
            let Some(instance) = self.instances.remove(&id) else { continue };
            self.users.let_go(instance.charged, None);
            for descriptor in instance.descriptors {
                if let Some(process) = self.processes.get_mut(&descriptor.pid) {
                    process.descriptors.remove(&(descriptor.table, descriptor.fd));
                    if process.descriptors.is_empty() {
                        // It has not ended, so that its lifetime is not known.
                        self.processes.remove(&descriptor.pid);
                    }
                }
            }
        }
        let strays = self.processes.values().filter(|process| self.is_stray(process));
        let strays: Vec<_> = strays.map(|process| process.task.pid).collect();
        strays.iter().for_each(|pid| _ = self.processes.remove(pid));
        self.forgotten_instances = self.forgotten_instances.saturating_add(count as u64);
    }
}
