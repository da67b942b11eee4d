//! inotify-trace: which process, container and pod makes, holds and leaks inotify instances.
//!
//! One path for data: a [`source`] makes [events](inotify_trace_model::event), the
//! [tracker](inotify_trace_model::tracker) turns them into state, and [`output`] shows both. See
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
