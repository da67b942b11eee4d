//! Adds to a failure the culprits: the processes that use up the resource.

use std::collections::HashMap;

use super::failure;
use inotify_trace_model::{
    event::{BootTime, Event},
    resource::Resource,
    tracker::{Tracker, User},
    usage::Culprits,
};

/// The time in nanoseconds in which culprits are not repeated for the same quota: a program that
/// was refused tends to retry at once, and the culprits do not change as fast.
const PAUSE: u64 = 1_000_000_000;

/// How many processes are remembered.
const PROCESSES: usize = 1000;

/// Finds the culprits of failures, of the same quota once a second at most.
#[derive(Debug, Default)]
pub(super) struct Blame {
    told: HashMap<(User, Resource), BootTime>,
    /// Of processes, at other limits.
    told_processes: HashMap<u32, BootTime>,
}

impl Blame {
    /// The culprits of a refusal; None if the event is no refusal, or if the last one of the same
    /// quota was within the last second.
    pub(super) fn of(&mut self, event: &Event, tracker: &Tracker) -> Option<Culprits> {
        let (user, resource) = Culprits::quota_of(event)?;
        let told = self.told.entry((user, resource)).or_insert(BootTime(0));
        is_due(told, event.time).then(|| Culprits::of(event, tracker))?
    }

    /// Whether a failure that is no user's quota is to be explained: not if the last one of the same
    /// process was within the last second.
    pub(super) fn is_due_for(&mut self, event: &Event) -> bool {
        let limit = failure::limit(&event.kind);
        if limit.is_none() || Culprits::quota_of(event).is_some() {
            return false;
        }
        if self.told_processes.len() >= PROCESSES {
            self.told_processes.clear();
        }
        let pid = event.task.map_or(0, |task| task.pid);
        is_due(self.told_processes.entry(pid).or_insert(BootTime(0)), event.time)
    }
}

/// Whether the pause is over; then it begins again.
fn is_due(told: &mut BootTime, now: BootTime) -> bool {
    let is_due = told.0 == 0 || now.0 >= told.0.saturating_add(PAUSE);
    if is_due {
        *told = now;
    }
    is_due
}
