//! Recordings: what happened, in files that survive what happens to the machine.
//!
//! A file holds frames (`frame`) of events and state (`wire`). docs/recording-format.md
//! describes the format, and the rule by which it changes.

mod bounds;
mod decode;
mod encode;
mod end;
mod error;
mod frame;
mod header;
mod reader;
mod recorder;
mod store;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use end::{End, end};
pub use error::{Damage, RecordingError};
pub use header::Header;
pub use reader::{Item, Reader};
pub use recorder::Recorder;
pub use store::{Rotation, Store};

use crate::event::{BootTime, Event};

/// How the names of recordings end in a directory of them.
pub const EXTENSION: &str = "itrec";

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
