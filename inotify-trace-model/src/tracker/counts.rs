//! Counts of events and losses.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{Event, EventKind, EventName};

/// Counts of events.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    events: BTreeMap<EventName, u64>,
    lost: BTreeMap<&'static str, u64>,
}

/// The totals of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The number of events of each name.
    pub events: BTreeMap<EventName, u64>,
    /// Instances that are open now.
    pub open: usize,
    /// The number of losses by kind; empty if there were none.
    pub lost: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// The number of events of this name.
    #[must_use]
    pub fn count(&self, name: EventName) -> u64 {
        self.events.get(&name).copied().unwrap_or_default()
    }
}

impl Counts {
    pub(super) fn add(&mut self, event: &Event) {
        if let EventKind::Lost { count, what } = event.kind {
            let lost = self.lost.entry(what.name()).or_default();
            // A recording may contain any number.
            *lost = lost.saturating_add(count);
        } else {
            *self.events.entry(event.kind.name()).or_default() += 1;
        }
    }

    pub(super) fn summary(&self, open: usize) -> Summary {
        Summary { events: self.events.clone(), open, lost: self.lost.clone() }
    }
}
