//! Adds to a failure the culprits: the processes that use up the resource.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{BootTime, Event},
    resource::Resource,
    tracker::{Tracker, User},
    usage::Culprits,
};

/// The time in nanoseconds in which culprits are not repeated for the same quota: a program that
/// was refused tends to retry at once, and the culprits do not change as fast.
const PAUSE: u64 = 1_000_000_000;

/// Finds the culprits of failures, of the same quota once a second at most.
#[derive(Debug, Default)]
pub(super) struct Blame {
    told: HashMap<(User, Resource), BootTime>,
}

impl Blame {
    /// The culprits of a refusal; None if the event is no refusal, or if the last one of the same
    /// quota was within the last second.
    pub(super) fn of(&mut self, event: &Event, tracker: &Tracker) -> Option<Culprits> {
        let (user, resource) = Culprits::quota_of(event)?;
        let told = self.told.entry((user, resource)).or_insert(BootTime(0));
        if told.0 != 0 && event.time.0 < told.0 + PAUSE {
            return None;
        }
        *told = event.time;
        Culprits::of(event, tracker)
    }
}
