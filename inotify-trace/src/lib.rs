//! inotify-trace: which process, container and pod makes, holds and leaks inotify instances.
//!
//! One path for data: a [`source`] makes [`event`]s, the [`tracker`] turns them into state, and
//! [`output`] shows both. See ARCHITECTURE.md.

pub mod cgroup;
pub mod cli;
pub mod container;
pub mod event;
pub mod export;
pub mod kernel;
pub mod limits;
pub mod output;
pub mod procfs;
pub mod recording;
pub mod report;
pub mod source;
pub mod tracker;
pub mod usage;
pub mod verdict;
