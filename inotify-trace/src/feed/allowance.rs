//! How long the event loop may look at what one process can make large.

use std::time::{Duration, Instant};

/// The most time that is saved up: events may be late by that.
const MOST: Duration = Duration::from_millis(5);

/// One part in this many of the time is saved up.
const SHARE: u32 = 20;

/// Time that is saved up while it is not used.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Duration,
    /// Until when it was saved up.
    until: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: MOST, until: now }
    }

    /// What is left, at a time.
    pub(super) fn left(&mut self, now: Instant) -> Duration {
        let saved = now.duration_since(self.until) / SHARE;
        self.until = now;
        self.left = MOST.min(self.left + saved);
        self.left
    }

    /// Uses some of it.
    pub(super) fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_spent_than_a_share_of_the_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(allowance.left(start), MOST);
        allowance.spend(2 * MOST);
        assert_eq!(allowance.left(start), Duration::ZERO);
        let later = start + SHARE * Duration::from_millis(2);
        assert_eq!(allowance.left(later), Duration::from_millis(2));
        allowance.spend(Duration::from_millis(1));
        assert_eq!(allowance.left(later), Duration::from_millis(1));
        assert_eq!(allowance.left(later + Duration::from_secs(60)), MOST);
    }
}
