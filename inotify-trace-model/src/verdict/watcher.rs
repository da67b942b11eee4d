//! Verdicts over time: each is told when it is reached, and again when it has become much worse.

use std::collections::HashMap;

use super::{Grace, Kind, Verdict, judgement};
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
    /// When to judge again, even if nothing happens until then.
    due: Option<BootTime>,
}

impl Watcher {
    /// Nothing has been told yet.
    #[must_use]
    pub fn new(grace: Grace) -> Self {
        Self { grace, told: HashMap::new(), last: None, due: None }
    }

    /// Whether it is time to judge again: it takes time where there are many instances.
    pub fn is_due(&mut self, now: BootTime) -> bool {
        let Some(last) = self.last else { return true };
        let earliest = BootTime(last.0.saturating_add(PERIOD));
        if now < earliest {
            // What has happened since may have led to a verdict.
            self.due = Some(earliest);
        }
        now >= earliest
    }

    /// When to ask again whether it is time, even if nothing happens until then: when a verdict can
    /// be due.
    #[must_use]
    pub fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// The verdicts that were reached since this was last asked, or are about twice as many
    /// instances as they were when last told.
    pub fn reached(&mut self, tracker: &Tracker, now: BootTime) -> Vec<Verdict> {
        self.last = Some(now);
        let (found, due) = judgement(tracker, now, &self.grace);
        self.due = due;
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
        let news = found.into_iter().filter(|it| is_news(it));
        news.map(|it| it.with_restarts(tracker, now, &self.grace)).collect()
    }
}
