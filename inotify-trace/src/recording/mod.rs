//! Recordings: events and state in files that survive a crash.
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
mod progress;
mod queue;
mod reader;
mod recorder;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use end::{End, end};
pub use error::{Damage, Extent, RecordingError};
pub use frame::VERSION;
pub use header::Header;
pub use progress::Progress;
pub use reader::Reader;
pub use recorder::Recorder;
pub use store::{Rotation, Store, is_being_written};
pub use stream::Stream;

/// The extension of recordings in a directory.
pub const EXTENSION: &str = "itrec";
