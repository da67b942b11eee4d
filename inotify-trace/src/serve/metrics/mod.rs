//! Metrics: the state as numbers.

mod page;
pub mod registry;

use std::{collections::BTreeMap, io, sync::Arc};

use inotify_trace_model::{
    event::{BootTime, EventName},
    feed::Batch,
    resource::Resource,
    story::Audience,
    tracker::Tracker,
};

use self::{page::Numbers, registry as of};
use super::{Shared, shared::FRESH};
use crate::{host, output::UserNames};

/// An audience that makes pages of metrics when they are wanted.
#[derive(Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
    names: UserNames,
    /// When the next page is made; None if none is wanted.
    due: Option<BootTime>,
    /// When the last page was made.
    last: Option<BootTime>,
}

impl Metrics {
    /// Metrics for those who ask at `shared`.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        let names = UserNames::from_map(host::users());
        Self { shared, names, due: None, last: None }
    }

    fn numbers(&self, tracker: &Tracker, _now: BootTime) -> Numbers {
        let mut numbers = Numbers::default();
        let mut users: BTreeMap<&'static str, Vec<_>> = BTreeMap::new();
        for (user, account) in tracker.users().iter() {
            let labels = vec![self.names.name(user.uid), user.userns.to_string()];
            for (resource, used, limit) in [
                (Resource::Instances, &of::INSTANCES_USED, &of::INSTANCES_LIMIT),
                (Resource::Watches, &of::WATCHES_USED, &of::WATCHES_LIMIT),
            ] {
                let Some(level) = account.own(resource) else { continue };
                let mut put = |metric: &of::Metric, value: u32| {
                    users.entry(metric.name).or_default().push((labels.clone(), f64::from(value)));
                };
                put(used, level.used);
                put(limit, level.limit);
            }
        }
        for metric in
            [&of::INSTANCES_USED, &of::INSTANCES_LIMIT, &of::WATCHES_USED, &of::WATCHES_LIMIT]
        {
            numbers.add(metric, users.remove(metric.name).unwrap_or_default());
        }
        let summary = tracker.summary();
        let counts = EventName::ALL
            .iter()
            .map(|&name| (vec![name.as_str().to_owned()], summary.count(name) as f64));
        numbers.add(&of::EVENTS, counts.collect());
        numbers
    }
}

impl Audience for Metrics {
    type Error = io::Error;

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        (self.due, self.last) = (None, Some(now));
        let page = self.numbers(tracker, now).text().map_err(io::Error::other)?;
        self.shared.publish(page);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> io::Result<()> {
        self.shared.beat();
        if self.due.is_none() && self.shared.is_wanted() {
            // Those who came during the last second wait for the rest of it.
            let fresh = u64::try_from(FRESH.as_nanos()).unwrap_or(u64::MAX);
            let earliest = self.last.map_or(0, |last| last.0.saturating_add(fresh));
            self.due = Some(BootTime(earliest.max(batch.time.0)));
        }
        Ok(())
    }
}
