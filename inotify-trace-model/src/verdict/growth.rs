//! Holders whose number of instances grows.

use std::time::Duration;

use super::{Confidence, Evidence};
use crate::{
    event::{BootTime, Quota},
    resource::Resource,
    tracker::{Origin, Process, Tracker},
    usage::time_left,
};

/// Fewer than this are no trend.
const FEWEST: usize = 8;

/// They must have been created over at least this time: a starting daemon creates many at once.
const SPAN: Duration = Duration::from_secs(120);

/// And in at least this many of ten equal parts of that time: not in a burst or two.
const PARTS: usize = 5;

/// The rate at which a leak grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Instances a minute.
    pub per_minute: f64,
    /// The number of instances left below the limit; None if unknown.
    pub left: Option<u32>,
}

impl Growth {
    /// The time until the limit is reached at this rate.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        time_left(self.left?, self.per_minute)
    }
}

/// The instances that a process has created and still holds, if their number grows and the process
/// closes hardly any.
pub(super) fn of_process(
    tracker: &Tracker,
    process: &Process,
    now: BootTime,
) -> Option<Vec<Evidence>> {
    let mut evidence: Vec<_> = process
        .descriptors
        .values()
        .filter_map(|&id| tracker.instance(id))
        .filter(|it| matches!(it.origin, Origin::Created(task) if task.pid == process.task.pid))
        .map(|it| Evidence::new(it, it.since, Vec::new(), Confidence::Likely))
        .collect();
    evidence.sort_by_key(|it| (it.since, it.instance));
    evidence.dedup_by_key(|it| it.instance);
    let (first, last) = (evidence.first()?.since, evidence.last()?.since);
    let span = last.since(first);
    // Four of five that it ever created still exist.
    let keeps = 5 * evidence.len() as u64 >= 4 * process.made;
    let goes_on = now.since(last) <= span / PARTS as u32;
    if evidence.len() < FEWEST || span < SPAN || !keeps || !goes_on {
        return None;
    }
    let part = |it: &Evidence| (it.since.since(first).as_nanos() * 10 / span.as_nanos()).min(9);
    let mut parts: Vec<_> = evidence.iter().map(part).collect();
    parts.dedup();
    (parts.len() >= PARTS).then_some(evidence)
}

/// The growth of a leak of a process from the times of its instances; None for fewer than two.
pub(super) fn of_times(
    tracker: &Tracker,
    pid: u32,
    times: impl Iterator<Item = BootTime>,
) -> Option<Growth> {
    let times: Vec<_> = times.collect();
    let minutes = times.last()?.since(*times.first()?).as_secs_f64() / 60.0;
    // All at the same moment, as by one call that removes a pod.
    if minutes <= 0.0 {
        return None;
    }
    let per_minute = (times.len() - 1) as f64 / minutes;
    let quota = quota(tracker, tracker.process(pid)?);
    Some(Growth { per_minute, left: quota.map(|it| it.limit.saturating_sub(it.used)) })
}

/// The instance quota of the user who is charged for a process's instances.
pub(super) fn quota(tracker: &Tracker, process: &Process) -> Option<Quota> {
    let instance = process.descriptors.values().find_map(|&id| tracker.instance(id))?;
    tracker.users().binding(instance.charged?, Resource::Instances)
}
