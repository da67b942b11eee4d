//! Equal processes that pile up in one place: ever more of a command in a service or container, each
//! with an instance or a few, and hardly any that ends.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Evidence, alike, growth,
    growth::Growth,
    steady::{GLANCE, increase},
};
use crate::{
    event::{BootTime, CgroupId, Comm},
    tracker::{Process, Tracker},
};

/// Fewer processes than this are no pile: a service that is scaled up starts some, too.
const FEWEST: usize = 12;

/// A process with more instances than this is judged by itself.
const FEW: usize = 4;

/// Equal processes in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pile {
    /// Where they run.
    pub cgroup: CgroupId,
    /// Their command.
    pub comm: Comm,
    /// How many there are.
    pub processes: usize,
    /// The latest of them, by process id.
    pub latest: u32,
}

/// A pile that grows.
pub(super) struct Growing {
    pub(super) pile: Pile,
    /// The oldest process of it.
    pub(super) oldest: u32,
    pub(super) evidence: Vec<Evidence>,
    pub(super) growth: Option<Growth>,
    /// Whether it has grown for long enough for a verdict.
    pub(super) is_decided: bool,
}

/// The piles that grow; `span` is the time that it takes to tell. What a process of them watches, the
/// others do too: shims, say, each watch the cgroup of a pod of their own.
pub(super) fn growing(tracker: &Tracker, now: BootTime, span: Duration) -> Vec<Growing> {
    let mut groups: BTreeMap<(CgroupId, Comm), Vec<&Process>> = BTreeMap::new();
    for process in tracker.processes() {
        let has_few = process.began.is_some() && process.descriptors.len() <= FEW;
        // Without a cgroup, processes of different services would look like those of one.
        if let Some(cgroup) = process.task.cgroup.known().filter(|_| has_few) {
            groups.entry((cgroup, process.task.comm)).or_default().push(process);
        }
    }
    groups.retain(|_, processes| processes.len() >= FEWEST);
    groups.into_iter().filter_map(|(key, all)| of(tracker, key, all, (now, span))).collect()
}

fn of(
    tracker: &Tracker,
    (cgroup, comm): (CgroupId, Comm),
    mut processes: Vec<&Process>,
    (now, span): (BootTime, Duration),
) -> Option<Growing> {
    processes.sort_by_key(|it| (it.began, it.task.pid));
    let made: Vec<_> = processes.iter().map(|it| growth::made_by(tracker, it)).collect();
    let instances: Vec<_> = made.iter().flatten().map(|it| it.1).collect();
    let mut are_alike = alike::are_alike(tracker, &instances).into_iter();
    let mut begun = Vec::new();
    for (process, made) in processes.iter().zip(&made) {
        let each: Vec<_> = are_alike.by_ref().take(made.len()).collect();
        let Some(began) = process.began.filter(|_| !made.is_empty()) else { continue };
        if each.into_iter().all(|is_alike| is_alike) {
            begun.push((began, (*process, made)));
        }
    }
    let ended = tracker.ended(cgroup, comm)?;
    let more = |span| increase(&begun, &ended, now, span).filter(|it| it.len() >= FEWEST);
    let decided = more(span);
    let is_decided = decided.is_some();
    let more = decided.or_else(|| more(GLANCE))?;
    let (first, last) = (more.first()?.1, more.last()?.1);
    let evidence = more.iter().flat_map(|it| growth::evidence(it.1.1)).collect();
    let growth = growth::of_times(tracker, first.1.first().map(|it| it.1), more);
    let pile = Pile { cgroup, comm, processes: more.len(), latest: last.0.task.pid };
    Some(Growing { pile, oldest: first.0.task.pid, evidence, growth, is_decided })
}
