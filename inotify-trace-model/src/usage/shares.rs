//! The holders of a used-up quota in groups: equal processes of one container or service together, and
//! containerd's shims, of which each works for another pod.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::Culprits;
use crate::{
    event::{CgroupId, Comm, InstanceId},
    identity::{Container, Shim},
    tracker::{Process, Tracker},
};

/// A process that holds more than this part of what is used is shown by itself, if it holds more than
/// [`FEW`].
const LARGE_PART: u32 = 16;

/// A process that holds no more than this is one of many.
const FEW: u32 = 2;

/// Processes with one command name, and what they hold of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The command name; None if no process is known.
    pub comm: Option<Comm>,
    /// The place of the processes.
    pub place: Place,
    /// The processes, those with most first.
    pub pids: Vec<u32>,
    /// The number that they hold, each once.
    pub count: u32,
    /// The number of these that processes of other shares hold as well.
    pub shared: u32,
}

/// Where the processes of a share run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In one container.
    Container(Container),
    /// In one cgroup that is no container's, such as a service's; the id is 0 if it is unknown.
    Cgroup(CgroupId),
    /// In this many containers or services.
    Several(usize),
    /// They are shims of this many pods, and run outside of them.
    Pods(usize),
    /// They are shims of this many containers, and run outside of them.
    Containers(usize),
    /// They may be shims, by their name.
    Shims,
}

/// The share that is to blame: by itself it holds more than half of what is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chief {
    /// The processes of a container.
    Container(Container, u32),
    /// The share at this index.
    Share(usize),
}

/// What a process holds of a quota.
struct Holding<'a> {
    pid: u32,
    process: Option<&'a Process>,
    instances: BTreeMap<InstanceId, u32>,
}

impl Holding<'_> {
    fn count(&self) -> u32 {
        self.instances.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn place(&self, tracker: &Tracker) -> Place {
        if self.process.is_some_and(|process| Shim::may_be(&process.task)) {
            return Place::Shims;
        }
        let cgroup = self.process.map(|process| process.task.cgroup).unwrap_or_default();
        let container = tracker.cgroups().get(cgroup).and_then(|it| it.container.clone());
        container.map_or(Place::Cgroup(cgroup), Place::Container)
    }
}

/// Processes with the same command name in the same place.
struct Group<'a> {
    place: Place,
    comm: Option<Comm>,
    holdings: Vec<Holding<'a>>,
}

/// The shares of a used-up quota, the largest first. If there are more than `most`, small ones with the
/// same command name are put together.
#[must_use]
pub fn shares(culprits: &Culprits, tracker: &Tracker, most: usize) -> Vec<Share> {
    let mut by_process: BTreeMap<u32, BTreeMap<InstanceId, u32>> = BTreeMap::new();
    let mut holders: BTreeMap<InstanceId, BTreeSet<u32>> = BTreeMap::new();
    for held in &culprits.held {
        by_process.entry(held.pid).or_default().insert(held.instance, held.count);
        holders.entry(held.instance).or_default().insert(held.pid);
    }
    let is_large = |count: u32| count > FEW.max(culprits.used / LARGE_PART);
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for (pid, instances) in by_process {
        let process = tracker.process(pid);
        let comm = process.map(|it| it.task.comm);
        let holding = Holding { pid, process, instances };
        let place = holding.place(tracker);
        // Processes that hold the same are one share, even if that is much: one forked the other.
        let alone = is_large(holding.count());
        let alone = alone.then(|| holding.instances.keys().copied().collect::<Vec<_>>());
        let group = groups.entry((place.clone(), comm, alone));
        group.or_insert_with(|| Group { place, comm, holdings: Vec::new() }).holdings.push(holding);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    if groups.len() > most {
        groups = together(groups, is_large);
    }
    let mut shares: Vec<_> = groups.into_iter().map(|group| share(group, &holders)).collect();
    shares.sort_by_key(|share| (Reverse(share.count), share.pids.first().copied()));
    shares
}

/// Puts groups of small holders with the same command name, in different places, together.
fn together(groups: Vec<Group<'_>>, is_large: impl Fn(u32) -> bool) -> Vec<Group<'_>> {
    let mut done = Vec::new();
    let mut by_name: BTreeMap<Option<Comm>, Vec<Group<'_>>> = BTreeMap::new();
    for group in groups {
        let can_join = matches!(group.place, Place::Container(_) | Place::Cgroup(_))
            && group.holdings.iter().all(|holding| !is_large(holding.count()));
        if can_join {
            by_name.entry(group.comm).or_default().push(group);
        } else {
            done.push(group);
        }
    }
    for (comm, mut groups) in by_name {
        if groups.len() == 1 {
            done.append(&mut groups);
        } else {
            let place = Place::Several(groups.len());
            let holdings = groups.into_iter().flat_map(|group| group.holdings).collect();
            done.push(Group { place, comm, holdings });
        }
    }
    done
}

fn share(group: Group<'_>, holders: &BTreeMap<InstanceId, BTreeSet<u32>>) -> Share {
    let Group { place, comm, mut holdings } = group;
    holdings.sort_by_key(|holding| (Reverse(holding.count()), holding.pid));
    let pids: Vec<_> = holdings.iter().map(|holding| holding.pid).collect();
    let own: BTreeSet<_> = pids.iter().copied().collect();
    let instances: BTreeMap<_, _> =
        holdings.iter().flat_map(|it| &it.instances).map(|(&id, &count)| (id, count)).collect();
    let (mut count, mut shared) = (0_u32, 0_u32);
    for (id, of_instance) in instances {
        count = count.saturating_add(of_instance);
        if holders.get(&id).is_some_and(|all| !all.is_subset(&own)) {
            shared = shared.saturating_add(of_instance);
        }
    }
    let place = match place {
        Place::Shims => place_of_shims(&holdings),
        other => other,
    };
    Share { comm, place, pids, count, shared }
}

/// The pods or containers of shims, if their arguments are known.
fn place_of_shims(holdings: &[Holding<'_>]) -> Place {
    /// containerd's namespace of Kubernetes, in which each shim runs the containers of one pod.
    const KUBERNETES: &str = "k8s.io";
    let shims: Option<Vec<_>> =
        holdings.iter().map(|holding| holding.process?.shim.as_ref()).collect();
    let Some(shims) = shims else { return Place::Shims };
    let ids: BTreeSet<_> = shims.iter().map(|shim| &shim.id).collect();
    if shims.iter().all(|shim| &*shim.namespace == KUBERNETES) {
        Place::Pods(ids.len())
    } else {
        Place::Containers(ids.len())
    }
}

/// Who holds more than half of what is used, if it is one process, or one container or service.
#[must_use]
pub fn chief(culprits: &Culprits, shares: &[Share], tracker: &Tracker) -> Option<Chief> {
    let is_most = |count: u32| count > culprits.used / 2;
    let mut by_container: BTreeMap<Container, BTreeMap<InstanceId, u32>> = BTreeMap::new();
    for held in &culprits.held {
        let cgroup = tracker.process(held.pid).map(|it| it.task.cgroup).unwrap_or_default();
        if let Some(container) = tracker.cgroups().get(cgroup).and_then(|it| it.container.clone()) {
            by_container.entry(container).or_default().insert(held.instance, held.count);
        }
    }
    for (container, instances) in by_container {
        let count = instances.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
        if is_most(count) {
            return Some(Chief::Container(container, count));
        }
    }
    let at = shares.iter().position(|share| is_most(share.count))?;
    let share = &shares[at];
    let is_one = match share.place {
        Place::Container(_) => true,
        Place::Cgroup(cgroup) => share.pids.len() == 1 || cgroup.known().is_some(),
        Place::Several(_) | Place::Pods(_) | Place::Containers(_) | Place::Shims => {
            share.pids.len() == 1
        }
    };
    is_one.then_some(Chief::Share(at))
}
