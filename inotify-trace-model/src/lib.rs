//! What inotify-trace knows and concludes: events, the state they lead to, and verdicts on it.
//!
//! No input or output happens here, and no clock is read: time comes in with the events, so that
//! a recording leads to the same state and the same verdicts as the run it was made of. See
//! ARCHITECTURE.md.

pub mod clock;
pub mod event;
pub mod feed;
pub mod identity;
pub mod resource;
pub mod story;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tracker;
pub mod usage;
pub mod verdict;
