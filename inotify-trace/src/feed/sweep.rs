//! When to ask the kernel which instances are gone.
//!
//! The tracepoint backend sees explicit closes. Every other end of an instance (a process exits,
//! executes a program, closes a range; a descriptor dies inside a socket; a 32-bit program closes
//! it) is noticed by asking. After a hint, the agent asks at once and a few times more, since the
//! kernel frees descriptors a moment later; without a hint it asks every second. A question costs a
//! third of a microsecond per instance.

use std::time::{Duration, Instant};

/// The times after a hint at which the agent asks: the kernel's clean-up after an exit takes well
/// below a millisecond, and much longer on a machine that swaps or is overloaded.
const AFTER_HINT: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(125),
    Duration::from_millis(250),
];

/// The interval of questions without a hint.
const IDLE: Duration = Duration::from_secs(1);

/// At most one part in this many of the time is spent asking.
const SHARE: u32 = 20;

/// When to ask next.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    /// The number of steps of [`AFTER_HINT`] since the last hint.
    step: usize,
    /// The earliest time of the next question, which keeps the [`SHARE`].
    earliest: Instant,
}

impl Schedule {
    /// The first question is soon: instances of the snapshot may be gone already.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now + AFTER_HINT[0], step: 0, earliest: now }
    }

    /// An event may have ended an instance.
    pub(super) fn hint(&mut self, now: Instant) {
        self.step = 0;
        self.due = self.due.min((now + AFTER_HINT[0]).max(self.earliest));
    }

    /// When to ask.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The agent has asked, from `started` until `now`.
    pub(super) fn asked(&mut self, started: Instant, now: Instant) {
        self.earliest = now + SHARE * now.duration_since(started);
        let wait = AFTER_HINT.get(self.step + 1).copied().unwrap_or(IDLE);
        self.step = (self.step + 1).min(AFTER_HINT.len());
        self.due = (now + wait).max(self.earliest);
    }
}

/// The interval of searches for instances whose creation was missed.
const SEARCH: Duration = Duration::from_secs(10);

/// At most one part in this many of the time is spent searching.
const SEARCH_SHARE: u32 = 200;

/// The interval of looks at the queues of instances and at what users are charged.
const LOOKS: Duration = Duration::from_secs(1);

/// At most one part in this many of the time is spent looking.
const LOOKS_SHARE: u32 = 100;

/// When to do next what is done again and again, without hints.
#[derive(Debug)]
pub(super) struct Routine {
    due: Instant,
    interval: Duration,
    share: u32,
    /// The earliest time to do it again, which keeps the share.
    earliest: Instant,
}

impl Routine {
    /// Searches for missed instances. The snapshot was just made.
    pub(super) fn search(now: Instant) -> Self {
        Self { due: now + SEARCH, interval: SEARCH, share: SEARCH_SHARE, earliest: now }
    }

    /// Looks at queues and charges. The snapshot was just made.
    pub(super) fn looks(now: Instant) -> Self {
        Self { due: now + LOOKS, interval: LOOKS, share: LOOKS_SHARE, earliest: now }
    }

    /// When to do it.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// It was done, from `started` until `now`.
    pub(super) fn done(&mut self, started: Instant, now: Instant) {
        self.earliest = now + self.share * now.duration_since(started);
        self.due = self.earliest.max(now + self.interval);
    }

    /// There is a reason to do it now: something was lost.
    pub(super) fn hint(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.earliest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_soon_and_often_after_a_hint_and_then_every_second() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut waits = Vec::new();
        let mut now = start;
        for _ in 0..AFTER_HINT.len() + 2 {
            waits.push(schedule.due() - now);
            now = schedule.due();
            schedule.asked(now, now);
        }
        let expected: Vec<_> = AFTER_HINT.into_iter().chain([IDLE, IDLE]).collect();
        assert_eq!(waits, expected);
        schedule.hint(now);
        assert_eq!(schedule.due() - now, AFTER_HINT[0]);
    }

    #[test]
    fn after_a_loss_it_looks_at_once_and_not_all_the_time() {
        let start = Instant::now();
        let mut search = Routine::search(start);
        assert_eq!(search.due() - start, SEARCH);
        let lost = start + Duration::from_secs(2);
        search.hint(lost);
        assert_eq!(search.due(), lost);
        let took = Duration::from_millis(10);
        search.done(lost, lost + took);
        search.hint(lost + took);
        assert_eq!(search.due(), lost + took + SEARCH_SHARE * took);
    }

    #[test]
    fn hints_cannot_make_it_ask_all_the_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let end = start + Duration::from_millis(10);
        schedule.asked(start, end);
        schedule.hint(end);
        assert!(schedule.due() >= end + SHARE * Duration::from_millis(10));
    }
}
