//! What a feed yields, live or from a recording: all that a run consists of, in order.

use crate::{
    event::{BootTime, Event},
    tracker::Part,
};

/// What was taken in at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// When it was taken in.
    pub time: BootTime,
    /// Whether leaks were looked for then: looking again at these moments, and at no others, leads
    /// to the same verdicts.
    pub judged: bool,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// What happened.
    Batch(Batch),
    /// What was known before is to be forgotten. It comes again in the parts that follow, together
    /// with what was not recorded.
    Restart,
    /// What was known at that moment.
    Part(Part),
    /// The run, or a file of it, was ended in good order, at this time.
    End(BootTime),
}
