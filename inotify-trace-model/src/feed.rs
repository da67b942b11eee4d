//! The items that a feed yields, live or from a recording: the whole run, in order.

use crate::{
    event::{BootTime, Event},
    tracker::Part,
};

/// Events that were read together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// When they were read.
    pub time: BootTime,
    /// Whether leaks were looked for after this batch. A replay looks after the same batches, and
    /// reaches the same verdicts.
    pub judged: bool,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Events.
    Batch(Batch),
    /// The state so far is discarded. The parts that follow replace it; they include the effect of
    /// unrecorded events.
    Restart,
    /// A part of the state.
    Part(Part),
    /// Events are missing here, or parts of the state: up to the next restart, the state may be wrong.
    Gap,
    /// The run, or a file of it, was closed properly at this time.
    End(BootTime),
}
