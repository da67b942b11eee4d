//! Verdicts over time: each is reported when it is reached, and again when it is much worse.

use std::collections::HashMap;

use super::{Grace, Kind, Verdict, judgement};
use crate::{event::BootTime, tracker::Tracker};

/// The shortest time between two looks for leaks, in nanoseconds.
const PERIOD: u64 = 500_000_000;

/// Finds verdicts that are new, or much worse than before.
#[derive(Debug)]
pub struct Watcher {
    grace: Grace,
    /// The number of instances of each verdict when it was last reported.
    reported: HashMap<(Kind, u32), usize>,
    last: Option<BootTime>,
    /// When to look again, even without events.
    due: Option<BootTime>,
}

impl Watcher {
    /// A watcher that has reported nothing yet.
    #[must_use]
    pub fn new(grace: Grace) -> Self {
        Self { grace, reported: HashMap::new(), last: None, due: None }
    }

    /// Whether it is time to look again. With many instances a look takes long, so looks are
    /// spaced.
    pub fn is_due(&mut self, now: BootTime) -> bool {
        let Some(last) = self.last else { return true };
        let earliest = BootTime(last.0.saturating_add(PERIOD));
        if now < earliest {
            // Events since the last look may have led to a verdict.
            self.due = Some(earliest);
        }
        now >= earliest
    }

    /// When to call [`is_due`](Self::is_due) again, even without events: when a verdict can be due.
    #[must_use]
    pub fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// The verdicts that are new since the last call, or have twice as many instances as when they
    /// were last reported.
    pub fn reached(&mut self, tracker: &Tracker, now: BootTime) -> Vec<Verdict> {
        self.last = Some(now);
        let (found, due) = judgement(tracker, now, &self.grace);
        self.due = due;
        let key = |verdict: &Verdict| (verdict.kind, verdict.pid);
        // A verdict that was withdrawn is new when it comes again.
        self.reported.retain(|told, _| found.iter().any(|verdict| key(verdict) == *told));
        let mut is_news = |verdict: &Verdict| {
            let count = verdict.evidence.len();
            let news = self.reported.get(&key(verdict)).is_none_or(|&told| count >= 2 * told);
            if news {
                self.reported.insert(key(verdict), count);
            }
            news
        };
        let news = found.into_iter().filter(|it| is_news(it));
        news.map(|it| it.with_restarts(tracker, now, &self.grace)).collect()
    }
}
