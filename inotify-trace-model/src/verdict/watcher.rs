//! Verdicts over time: each is reported when it is reached, and again when it is much worse.

use std::collections::HashMap;

use super::{Grace, Kind, Verdict, judgement};
use crate::{event::BootTime, tracker::Tracker};

/// The shortest time between two looks for leaks, in nanoseconds.
const PERIOD: u64 = 500_000_000;

/// The same for each open instance, so that looks at many take no more than a small share of the
/// time.
const PERIOD_EACH: u64 = 100_000;

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    None,
    /// It is reached within ten minutes.
    Minutes,
    /// It is reached within one.
    Seconds,
}

impl Urgency {
    fn of(verdict: &Verdict) -> Self {
        match verdict.growth.and_then(|it| it.time_left()).map(|left| left.as_secs()) {
            Some(..60) => Self::Seconds,
            Some(60..600) => Self::Minutes,
            Some(600..) | None => Self::None,
        }
    }
}

/// Finds verdicts that are new, or much worse than before.
#[derive(Debug)]
pub struct Watcher {
    grace: Grace,
    /// The size of each verdict when it was last reported, and how near the limit was.
    reported: HashMap<(Kind, u32), (usize, Urgency)>,
    last: Option<BootTime>,
    /// The shortest time until the next look, in nanoseconds.
    period: u64,
    /// When to look again, even without events.
    due: Option<BootTime>,
}

impl Watcher {
    /// A watcher that has reported nothing yet.
    #[must_use]
    pub fn new(grace: Grace) -> Self {
        Self { grace, reported: HashMap::new(), last: None, period: PERIOD, due: None }
    }

    /// Whether it is time to look again. With many instances a look takes long, so looks are
    /// spaced.
    pub fn is_due(&mut self, now: BootTime) -> bool {
        let Some(last) = self.last else { return true };
        let earliest = BootTime(last.0.saturating_add(self.period));
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

    /// The verdicts that are new since the last call, are twice as large as when they were last
    /// reported, or have come much nearer to a limit.
    pub fn reached(&mut self, tracker: &Tracker, now: BootTime) -> Vec<Verdict> {
        self.last = Some(now);
        let each = PERIOD_EACH.saturating_mul(tracker.instances().count() as u64);
        self.period = PERIOD.max(each);
        let (found, due) = judgement(tracker, now, &self.grace);
        self.due = due;
        let key = |verdict: &Verdict| (verdict.kind, verdict.pid);
        // A verdict that was withdrawn is new when it comes again.
        self.reported.retain(|told, _| found.iter().any(|verdict| key(verdict) == *told));
        let mut is_news = |verdict: &Verdict| {
            let (size, urgency) = (verdict.size(), Urgency::of(verdict));
            let has_doubled = |told: usize| size >= 2 * told;
            let is_worse = |&(told, was): &(usize, Urgency)| has_doubled(told) || urgency > was;
            let known = self.reported.get(&key(verdict)).copied();
            let news = known.as_ref().is_none_or(is_worse);
            if news {
                // A rate goes up and down: what was urgent is not told again for that.
                let most = known.map_or(urgency, |(_, was)| was.max(urgency));
                self.reported.insert(key(verdict), (size, most));
            }
            news
        };
        let news = found.into_iter().filter(|it| is_news(it));
        news.map(|it| it.with_restarts(tracker, now, &self.grace)).collect()
    }
}
