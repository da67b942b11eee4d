//! inotify-trace: which process, container and pod creates, holds and leaks inotify instances.
//!
//! One path for data: a [`feed`] yields items, a [story](inotify_trace_model::story) turns them
//! into state and verdicts, and an audience shows them ([`output`]) or records them
//! ([`recording`]). See ARCHITECTURE.md.

pub mod cli;
pub mod counter;
pub mod export;
pub mod feed;
pub mod host;
pub mod kernel;
pub mod limits;
pub mod output;
mod own;
pub mod recording;
mod regular;
pub mod report;
pub mod serve;
mod threads;
#[cfg(feature = "top")]
pub mod top;
pub mod why;
mod zone;
