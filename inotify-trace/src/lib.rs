//! inotify-trace: which process, container and pod makes, holds and leaks inotify instances.
//!
//! One path for data: a [`feed`] yields items, a [story](inotify_trace_model::story) makes state and
//! verdicts of them, and an audience shows them ([`output`]) or keeps them ([`recording`]). See
//! ARCHITECTURE.md.

pub mod cli;
pub mod export;
pub mod feed;
pub mod host;
pub mod kernel;
pub mod limits;
pub mod output;
pub mod recording;
pub mod report;
