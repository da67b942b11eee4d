//! Failures are followed by those who use up what was refused.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{BootTime, Event},
    resource::Resource,
    tracker::{Tracker, User},
    usage::Culprits,
};

/// For how long nothing is said again about the same quota, in nanoseconds: who is refused tends to
/// try again at once, and what there is to say does not change as fast.
const PAUSE: u64 = 1_000_000_000;

/// Finds the culprits of failures, of the same quota once a second at most.
#[derive(Debug, Default)]
pub(super) struct Blame {
    told: HashMap<(User, Resource), BootTime>,
}

impl Blame {
    /// Those who use up what this event was refused; None if it was refused nothing, or that was
    /// told within the last second.
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
