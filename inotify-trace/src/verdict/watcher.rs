//! Verdicts over time: each is told when it is reached, and again when it has become much worse.

use std::collections::HashMap;

use super::{Grace, Kind, Verdict, verdicts};
use crate::{event::BootTime, tracker::Tracker};

/// How often it is judged, in nanoseconds.
const PERIOD: u64 = 500_000_000;

/// Follows a tracker.
#[derive(Debug)]
pub struct Watcher {
    grace: Grace,
    /// How many instances a verdict was last told of.
    told: HashMap<(Kind, u32), usize>,
    last: Option<BootTime>,
}

impl Watcher {
    /// Nothing has been told yet.
    #[must_use]
    pub fn new(grace: Grace) -> Self {
        Self { grace, told: HashMap::new(), last: None }
    }

    /// Whether it is time to judge again: it takes time where there are many instances.
    #[must_use]
    pub fn is_due(&self, now: BootTime) -> bool {
        self.last.is_none_or(|last| now.0 >= last.0.saturating_add(PERIOD))
    }

    /// The verdicts that were reached since this was last asked, or are about twice as many
    /// instances as they were when last told.
    pub fn reached(&mut self, tracker: &Tracker, now: BootTime) -> Vec<Verdict> {
        self.last = Some(now);
        let found = verdicts(tracker, now, &self.grace);
        let key = |verdict: &Verdict| (verdict.kind, verdict.pid);
        // One that was withdrawn is news when it comes again.
        self.told.retain(|told, _| found.iter().any(|verdict| key(verdict) == *told));
        let mut is_news = |verdict: &Verdict| {
            let count = verdict.evidence.len();
            let news = self.told.get(&key(verdict)).is_none_or(|&told| count >= 2 * told);
            if news {
                self.told.insert(key(verdict), count);
            }
            news
        };
        found.into_iter().filter(|it| is_news(it)).collect()
    }
}
