//! The instances that each restart of a container costs, if its shim keeps those of ended
//! containers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Grace, Pattern, growth};
use crate::{
    event::{BootTime, CgroupId},
    identity::PodUid,
    tracker::{Cgroup, Forgotten, Process, Tracker},
};

/// The cost of restarts until now, and the number of restarts left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restarts {
    /// The number of containers known to have ended.
    pub ended: usize,
    /// The number of instances that each of them has left behind. For a bug that does not leave one
    /// every time: as far as it was seen.
    pub per_restart: f64,
    /// Whether `per_restart` is taken from the known bug, and not observed.
    pub is_inferred: bool,
    /// The charged user's limit of instances, if known.
    pub limit: Option<u32>,
    /// The number of restarts left until that limit.
    pub left: Option<u32>,
}

/// The cost of restarts for a verdict on instances whose targets are gone; None if the number of
/// their containers is unknown.
pub(super) fn of(
    tracker: &Tracker,
    process: &Process,
    pattern: Option<&Pattern>,
    evidence: &[Evidence],
    (now, grace): (BootTime, &Grace),
) -> Option<Restarts> {
    let says_nothing = evidence.iter().any(|it| it.cgroups.is_empty());
    let costs = pattern.and_then(|it| it.per_restart).map(f64::from);
    // Containers that left nothing and ended before the trace are unknown: what was found shows a
    // rate only if each restart costs the same.
    let seen: Vec<_> =
        evidence.iter().filter(|it| costs.is_some() || !it.was_found).cloned().collect();
    let known = || {
        process.shim.as_ref()?;
        if tracker.forgotten() != Forgotten::default() {
            return None;
        }
        // Containers that ended within the grace period may have leaked instances that are no
        // evidence yet.
        let is_over = |cgroup: &Cgroup| {
            cgroup.removed.is_some_and(|removed| now.since(removed) >= grace.target)
        };
        let ended = ended(tracker, process, &seen, is_over);
        (!seen.is_empty()).then(|| (ended, seen.len() as f64 / ended as f64))
    };
    let by_pattern = || {
        let costs = costs?;
        Some(((evidence.len() as f64 / costs).round() as usize, costs))
    };
    let (ended, per_restart) = if says_nothing { by_pattern() } else { known() }?;
    let quota = growth::quota(tracker, process);
    let left = quota.map(|it| f64::from(it.left()) / per_restart);
    Some(Restarts {
        ended,
        per_restart,
        is_inferred: says_nothing,
        limit: quota.map(|it| it.limit),
        // At most the limit, which is a u32.
        left: left.map(|left| left as u32),
    })
}

/// A container that has ended: by its id, or by its cgroup if that was removed before the container
/// was known.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Ended<'a> {
    Container(&'a str),
    Cgroup(CgroupId),
}

/// The number of containers of the shim's pod that have ended: those with leaked instances, and
/// those that were seen ending without any.
fn ended(
    tracker: &Tracker,
    process: &Process,
    evidence: &[Evidence],
    is_over: impl Fn(&Cgroup) -> bool,
) -> usize {
    let cgroups = tracker.cgroups();
    let mut ended: BTreeSet<Ended<'_>> = BTreeSet::new();
    for &id in evidence.iter().flat_map(|it| &it.cgroups) {
        let container = cgroups.get(id).and_then(|cgroup| cgroup.container.as_ref());
        ended.insert(container.map_or(Ended::Cgroup(id), |it| Ended::Container(&it.id)));
    }
    if let Some(pod) = pod(tracker, process) {
        // A running container may remove cgroups below its own.
        let mut all_over: BTreeMap<&str, bool> = BTreeMap::new();
        for cgroup in cgroups.iter() {
            let container = cgroup.container.as_ref().filter(|it| it.pod.as_ref() == Some(pod));
            let Some(container) = container else { continue };
            *all_over.entry(&container.id).or_insert(true) &= is_over(cgroup);
        }
        ended
            .extend(all_over.iter().filter(|(_, over)| **over).map(|(id, _)| Ended::Container(id)));
    }
    ended.len()
}

/// The pod that a shim serves.
fn pod<'a>(tracker: &'a Tracker, process: &Process) -> Option<&'a PodUid> {
    let shim = process.shim.as_ref()?;
    let containers = tracker.cgroups().iter().filter_map(|cgroup| cgroup.container.as_ref());
    let mut its = containers.filter(|it| it.outer.is_none() && it.id == *shim.id);
    its.find_map(|it| it.pod.as_ref())
}
