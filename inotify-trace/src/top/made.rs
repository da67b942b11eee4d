//! What was made of a state. A view, the header and the verdicts take a look at all instances: that is
//! done once for a state and not once for a key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use inotify_trace_model::{usage::Group, verdict::Verdict};

use super::{
    scene::{Header, Rows},
    wish::View,
};

/// The least time between two looks at states that differ.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// Making scenes takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// The groups of a view, the first of its row first.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) all: Vec<Group>,
    /// Those that are left out, since they are too many.
    pub(super) more: usize,
}

/// All that was made of one state.
#[derive(Debug)]
pub(super) struct Made {
    /// The number of the state.
    state: u64,
    began: Instant,
    cost: Duration,
    pub(super) header: Option<Header>,
    /// By the places of the views.
    pub(super) groups: [Option<Groups>; View::ALL.len()],
    pub(super) rows: [Option<Arc<Rows>>; View::ALL.len()],
    pub(super) verdicts: Option<Vec<Verdict>>,
}

impl Made {
    /// Nothing so far.
    pub(super) fn of(state: u64) -> Self {
        Self {
            state,
            began: Instant::now(),
            cost: Duration::ZERO,
            header: None,
            groups: Default::default(),
            rows: Default::default(),
            verdicts: None,
        }
    }

    /// Whether the state is another by now.
    pub(super) fn is_past(&self, state: u64) -> bool {
        self.state != state
    }

    /// Making took this long.
    pub(super) fn took(&mut self, time: Duration) {
        self.cost += time;
    }

    /// The time until another state may be looked at: until then, keys are answered with this one.
    pub(super) fn rest(&self) -> Duration {
        PERIOD.max(self.cost * SHARE).saturating_sub(self.began.elapsed())
    }
}
