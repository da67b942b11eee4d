//! Looks for holders that were not seen, when a call fails at a limit that the known instances do not
//! account for: 32-bit programs, which pass no tracepoint, and processes whose events were lost.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{Event, EventKind},
    tracker::{Tracker, User},
    usage::Culprits,
};

use super::{charges, intake::Intake, snapshot};
use crate::kernel::KernelError;

/// The shortest time between two looks: a program that was refused tends to retry at once.
const PAUSE: Duration = Duration::from_secs(1);

/// At most one part in this many of the time is spent looking.
const SHARE: u32 = 20;

/// When to look next.
#[derive(Debug)]
pub(super) struct Refusals {
    earliest: Instant,
}

impl Refusals {
    pub(super) fn new(now: Instant) -> Self {
        Self { earliest: now }
    }

    /// If the known instances do not account for a failure among `events` from `first` on, adds right
    /// before it the instances that a look finds, and then the kernel's counts: a number that was not
    /// visible before and is not charged any more was none. `tracker` is the state before `events`.
    pub(super) fn look(
        &mut self,
        intake: &mut Intake,
        events: &mut Vec<Event>,
        first: usize,
        tracker: &Tracker,
    ) -> Result<(), KernelError> {
        let started = Instant::now();
        if started < self.earliest {
            return Ok(());
        }
        let Some(at) = first_unexplained(events, first, tracker) else { return Ok(()) };
        let time = events[at].time;
        let (mut found, mut later) = snapshot::of_overlooked(intake)?;
        let mut asked = Vec::new();
        charges::ask(intake, &mut asked)?;
        let is_count = |event: &Event| matches!(event.kind, EventKind::Charged { .. });
        let (counts, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_count);
        found.extend(counts);
        // The time of the failure says which counts belong to it.
        found.iter_mut().for_each(|event| event.time = time);
        later.extend(others);
        events.splice(at..at, found);
        events.append(&mut later);
        let now = Instant::now();
        self.earliest = now + PAUSE.max(SHARE * now.duration_since(started));
        Ok(())
    }
}

/// The first failure from `first` on at a limit of which some is not visible.
fn first_unexplained(events: &[Event], first: usize, tracker: &Tracker) -> Option<usize> {
    // Equal ones that follow are explained as well: the state is the same, and the more instances
    // were created in between, the less is not visible. A program that is refused may try again
    // thousands of times in a batch.
    let mut explained = HashSet::new();
    (first..events.len()).find(|&at| {
        let Some(quota) = Culprits::quota_of(&events[at]) else { return false };
        let used = events[at].kind.quota().map(|quota| quota.used);
        explained.insert((quota, used)) && is_unexplained(events, at, tracker)
    })
}

/// Whether the event at this index is a failure at a limit of which some is not visible.
fn is_unexplained(events: &[Event], at: usize, tracker: &Tracker) -> bool {
    let Some(culprits) = Culprits::of(&events[at], tracker) else { return false };
    // Those of the same batch, which the state does not have yet.
    let is_new = |event: &&Event| {
        let is_creation = matches!(event.kind, EventKind::InstanceCreated { .. });
        let user = event.kind.quota().map(User::from);
        is_creation && user == Some(culprits.user)
    };
    let new = events[..at].iter().filter(is_new).count();
    usize::try_from(culprits.unseen).is_ok_and(|unseen| unseen > new)
}
