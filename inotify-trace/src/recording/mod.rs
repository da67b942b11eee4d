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
pub use reader::Reader;
pub use recorder::Recorder;
pub use store::{Rotation, Store};

/// How the names of recordings end in a directory of them.
pub const EXTENSION: &str = "itrec";
