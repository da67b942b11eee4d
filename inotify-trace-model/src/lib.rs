//! The model of inotify-trace: events, the state they lead to, and verdicts on it.
//!
//! No input or output happens here, and no clock is read: events carry their time, so that a
//! recording leads to the same state and the same verdicts as the run itself. See ARCHITECTURE.md.

pub mod clock;
pub mod event;
pub mod feed;
pub mod findings;
pub mod identity;
pub mod numbered;
pub mod resource;
pub mod story;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod tracker;
pub mod usage;
pub mod verdict;
