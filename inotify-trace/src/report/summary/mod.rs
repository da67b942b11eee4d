//! The facts of one run, from its recording.

mod drawn;
mod failures;
mod headline;
mod leaks;
mod places;
mod run;
mod series;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

pub use drawn::{Charged, Charts, Levels};
pub use failures::{Failure, Refusal};
pub use headline::Severity;
pub use leaks::Leak;
pub use run::{Rows, Run};

use self::{
    failures::Failures,
    leaks::Leaks,
    places::Places,
    series::{Gauge, Grid, Tally},
};
use crate::recording::Header;
use inotify_trace_model::{
    event::{BootTime, Event, EventKind, Level, Loss},
    feed::Batch,
    resource::Resource,
    story::Audience,
    tracker::{Tracker, User},
    verdict::Verdict,
};

/// The most counts of users that are followed. Each takes a few kilobytes.
const COUNTS: usize = 1024;

/// The most gaps that are listed.
const GAPS: usize = 20;

/// The kernel's counts for a user.
#[derive(Debug, Default)]
struct UserLine {
    used: Gauge,
    limit: Gauge,
    /// The count, the limit and the time when the count was closest to the limit.
    closest: (u32, u32, BootTime),
}

impl UserLine {
    /// The highest share of the limit.
    fn share(&self) -> u64 {
        share(self.closest.0, self.closest.1)
    }
}

/// The share of a limit that is used, for comparison only.
fn share(used: u32, limit: u32) -> u64 {
    (u64::from(used) << 32) / u64::from(limit.max(1))
}

/// Builds the facts of a run from its events and verdicts.
#[derive(Debug)]
pub struct Builder {
    header: Header,
    grid: Grid,
    end: BootTime,
    /// The counts of instances and of watches.
    users: BTreeMap<(User, Resource), UserLine>,
    places: Places,
    created: Tally,
    released: Tally,
    failed: Tally,
    failures: Failures,
    leaks: Leaks,
    /// Each kind of loss: the number, and the times of the first and the last.
    losses: Vec<(Loss, u64, BootTime, BootTime)>,
    /// Times without data.
    gaps: Vec<(BootTime, BootTime)>,
    /// Gaps that are not listed.
    gaps_left: u64,
    /// The points of which something is not known.
    unknown: Tally,
    events: u64,
    has_end: bool,
}

impl Builder {
    /// A builder for the run with this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            grid: Grid::new(header.started),
            end: header.started,
            users: BTreeMap::new(),
            places: Places::default(),
            created: Tally::default(),
            released: Tally::default(),
            failed: Tally::default(),
            failures: Failures::default(),
            leaks: Leaks::default(),
            losses: Vec::new(),
            gaps: Vec::new(),
            gaps_left: 0,
            unknown: Tally::default(),
            events: 0,
            has_end: false,
            header: header.clone(),
        }
    }

    fn add(&mut self, event: &Event, tracker: &Tracker) {
        if let EventKind::Lost { what: Loss::Frames | Loss::Files | Loss::End, .. } = event.kind {
            self.gap(event.time);
        } else {
            self.events += 1;
        }
        let point = self.point(event.time);
        self.places.add(event, tracker, point);
        self.failures.add(event, tracker);
        match &event.kind {
            EventKind::InstanceCreated { .. } => self.created.add(point),
            EventKind::InstanceReleased { .. } => self.released.add(point),
            EventKind::CreateFailed { .. } => self.failed.add(point),
            // Programs try paths that do not exist all the time: only a limit is worth a mark.
            EventKind::WatchFailed { .. } if crate::output::failed_limit(&event.kind).is_some() => {
                self.failed.add(point);
            }
            EventKind::Charged { charges } => {
                if let Some(user) = charges.first().map(|&first| User::from(first)) {
                    let users = tracker.users();
                    for resource in Resource::ALL {
                        if let Some(quota) = users.binding(user, resource) {
                            let key = (User::payer(quota), resource);
                            self.charge(key, tracker, point, event.time);
                        }
                    }
                }
            }
            EventKind::Lost { count, what } => {
                match self.losses.iter_mut().find(|it| it.0 == *what) {
                    Some(loss) => (loss.1, loss.3) = (loss.1.saturating_add(*count), event.time),
                    None => self.losses.push((*what, *count, event.time, event.time)),
                }
            }
            _ => {}
        }
        if let Some(quota) = event.kind.quota() {
            let user = User::payer(quota);
            self.charge((user, event.kind.counts()), tracker, point, event.time);
            // All of a user's counts end with the last instance.
            if tracker.users().get(user).is_none() {
                self.charge((user, Resource::Watches), tracker, point, event.time);
            }
        }
    }

    /// Records the count of a user in its own namespace at a time: the user whose limit binds, who
    /// may pay for others in namespaces below.
    fn charge(&mut self, key: (User, Resource), tracker: &Tracker, point: usize, time: BootTime) {
        let account = tracker.users().get(key.0);
        let level = account.and_then(|account| account.own(key.1));
        let is_news = !self.users.contains_key(&key);
        if is_news && (level.is_none() || self.users.len() >= COUNTS) {
            return;
        }
        let line = self.users.entry(key).or_default();
        let Some(Level { used, limit }) = level else {
            line.used.set(point, time, 0);
            return;
        };
        line.used.set(point, time, used);
        line.limit.set(point, time, limit);
        if line.closest.1 == 0 || share(used, limit) > line.share() {
            line.closest = (used, limit, time);
        }
    }

    /// Takes all counts from the tracker after a gap, whose changes were not recorded.
    fn resample(&mut self, tracker: &Tracker, time: BootTime) {
        // The state that a run begins with is no gap.
        if self.events > 0 {
            self.gap(time);
        }
        let point = self.point(time);
        self.places.resample(tracker, point, time);
        let mut keys: BTreeSet<_> = self.users.keys().copied().collect();
        for resource in Resource::ALL {
            let payers = tracker.users().binding_payers(resource);
            keys.extend(payers.into_iter().map(|payer| (payer, resource)));
        }
        keys.into_iter().for_each(|key| self.charge(key, tracker, point, time));
    }

    /// Nothing is known of the time from the last event until this moment.
    fn gap(&mut self, until: BootTime) {
        let from = self.end;
        if until <= from {
            return;
        }
        if self.gaps.len() < GAPS {
            self.gaps.push((from, until));
        } else {
            self.gaps_left += 1;
        }
        let last = self.point(until);
        let first = self.grid.point(from).unwrap_or(last);
        (first..=last).for_each(|point| self.unknown.add(point));
    }

    /// The point in all series that a moment belongs to.
    fn point(&mut self, time: BootTime) -> usize {
        self.end = self.end.max(time);
        loop {
            if let Some(point) = self.grid.point(time) {
                return point;
            }
            self.grid.coarsen();
            self.places.halve();
            for line in self.users.values_mut() {
                line.used.halve();
                line.limit.halve();
            }
            let tallies =
                [&mut self.created, &mut self.released, &mut self.failed, &mut self.unknown];
            for tally in tallies {
                tally.halve();
            }
        }
    }
}

impl Audience for Builder {
    type Error = Infallible;

    fn restarted(&mut self, tracker: &Tracker, next: &Batch) -> Result<(), Infallible> {
        self.resample(tracker, next.events.first().map_or(next.time, |event| event.time));
        Ok(())
    }

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), Infallible> {
        self.add(event, tracker);
        Ok(())
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), Infallible> {
        self.leaks.add(verdict, tracker, now);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _tracker: &Tracker) -> Result<(), Infallible> {
        self.has_end = false;
        self.point(batch.time);
        Ok(())
    }

    fn closed(&mut self, _tracker: &Tracker, time: BootTime) -> Result<(), Infallible> {
        self.has_end = true;
        self.point(time);
        Ok(())
    }

    fn end(&mut self, tracker: &Tracker, _now: BootTime) -> Result<(), Infallible> {
        self.leaks.finish(tracker, self.end);
        Ok(())
    }
}
