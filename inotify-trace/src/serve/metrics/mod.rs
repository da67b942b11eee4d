//! Metrics: the state as numbers.
//!
//! From the state and a few facts of this process to numbers is pure; only `own` reads something.

mod failures;
mod holders;
mod labels;
mod leaks;
mod own;
mod page;
pub mod registry;
#[cfg(test)]
mod tests;
mod users;

use std::{io, sync::Arc};

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, EventName, Loss},
    feed::Batch,
    story::Audience,
    tracker::Tracker,
};

pub use self::own::Sources;
use self::{
    failures::Failures,
    holders::{Happened, Holders},
    own::Facts,
    page::Numbers,
    registry as of,
};
use super::{Shared, shared::FRESH};
use crate::{host, output, output::UserNames};

/// What a running agent may lose.
const LOSSES: [Loss; 7] = [
    Loss::Events,
    Loss::Holders,
    Loss::Calls,
    Loss::Runs,
    Loss::Records,
    Loss::Instances,
    Loss::Cgroups,
];

/// An audience that makes pages of metrics when they are wanted.
#[derive(Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
    sources: Sources,
    counted: Counted,
    /// When the next page is made; None if none is wanted.
    due: Option<BootTime>,
    /// When the last page was made.
    last: Option<BootTime>,
}

/// What is counted from events, and which holders have series.
#[derive(Debug, Default)]
struct Counted {
    names: UserNames,
    failures: Failures,
    holders: Holders,
}

impl Metrics {
    /// Metrics for those who ask at `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, sources: Sources) -> Self {
        let names = UserNames::from_map(host::users());
        let counted = Counted { names, ..Counted::default() };
        Self { shared, sources, counted, due: None, last: None }
    }
}

impl Counted {
    fn event(&mut self, event: &Event, tracker: &Tracker) {
        let what = match event.kind {
            EventKind::CreateFailed { .. } | EventKind::WatchFailed { .. } => {
                self.failures.add(&event.kind);
                Happened { failures: 1, overflows: 0 }
            }
            EventKind::QueueOverflowed { .. } => Happened { failures: 0, overflows: 1 },
            _ => return,
        };
        let cgroup = output::actor(event, tracker).map(|task| task.cgroup).unwrap_or_default();
        self.holders.happened(cgroup, what);
    }

    /// The numbers of page `page`. `served` is the number of the latest page that was scraped.
    fn numbers(
        &mut self,
        tracker: &Tracker,
        now: BootTime,
        (page, served): (u64, u64),
        facts: &Facts,
    ) -> Numbers {
        let mut numbers = Numbers::default();
        let users = users::add(tracker, &self.names, &mut numbers);
        numbers.add(&of::FAILURES, self.failures.rows().collect());
        let summary = tracker.summary();
        let events = EventName::ALL.iter();
        let events = events.map(|&it| (vec![it.as_str().to_owned()], summary.count(it) as f64));
        numbers.add(&of::EVENTS, events.collect());
        self.holders.update(tracker, now, page, served);
        self.add_holders(facts, &mut numbers);
        let leaks = leaks::add(tracker, now, &mut numbers);
        let lost = LOSSES.iter().map(|what| {
            let count = summary.lost.get(what.name()).copied().unwrap_or_default();
            (vec![what.name().to_owned()], count as f64)
        });
        numbers.add(&of::LOST, lost.collect());
        let omitted = [
            (of::INSTANCES_USED.name, users),
            (of::HOLDER_INSTANCES.name, self.holders.omitted()),
            (of::LEAKED.name, leaks),
        ];
        let omitted = omitted.map(|(metric, count)| (vec![metric.to_owned()], count as f64));
        numbers.add(&of::OMITTED, omitted.to_vec());
        facts.add(&mut numbers);
        numbers
    }

    fn add_holders(&self, facts: &Facts, numbers: &mut Numbers) {
        let rows: Vec<_> = self.holders.rows().map(|(it, a, b)| (it.values(), a, b)).collect();
        let each = |value: fn(&holders::Held, &Happened) -> Option<f64>| {
            let rows = rows.iter();
            rows.filter_map(|(labels, held, it)| Some((labels.clone(), value(held, it)?))).collect()
        };
        numbers.add(&of::HOLDER_INSTANCES, each(|held, _| Some(held.instances as f64)));
        numbers.add(&of::HOLDER_WATCHES, each(|held, _| Some(held.watches as f64)));
        numbers.add(&of::HOLDER_FAILURES, each(|_, it| Some(it.failures as f64)));
        numbers.add(&of::HOLDER_QUEUE, each(|held, _| held.queue.map(f64::from)));
        if facts.sees_overflows {
            numbers.add(&of::QUEUE_OVERFLOWS, each(|_, it| Some(it.overflows as f64)));
        }
    }
}

impl Audience for Metrics {
    type Error = io::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        self.counted.event(event, tracker);
        Ok(())
    }

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        (self.due, self.last) = (None, Some(now));
        let page = (self.shared.published() + 1, self.shared.served());
        let numbers = self.counted.numbers(tracker, now, page, &self.sources.read());
        self.shared.publish(numbers.text().map_err(io::Error::other)?);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> io::Result<()> {
        self.shared.beat();
        if let Some(failure) = self.shared.failure() {
            return Err(io::Error::other(failure.to_owned()));
        }
        if self.due.is_none() && self.shared.is_wanted() {
            // Those who came during the last second wait for the rest of it.
            let fresh = u64::try_from(FRESH.as_nanos()).unwrap_or(u64::MAX);
            let earliest = self.last.map_or(0, |last| last.0.saturating_add(fresh));
            self.due = Some(BootTime(earliest.max(batch.time.0)));
        }
        Ok(())
    }
}
