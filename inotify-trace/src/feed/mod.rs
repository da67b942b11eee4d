//! Feeds: they yield the items of a story.
//!
//! [`Session`] is the running kernel, and [`Replay`] a recording. Both yield the same items, so that
//! every audience works with both.

mod charges;
mod intake;
mod live;
mod naming;
mod programs;
mod reader;
mod refused;
mod replay;
mod resolving;
mod session;
mod shims;
mod snapshot;
mod sweep;
mod tables;
mod unprivileged;
mod until;
mod untold;

pub use live::Live;
pub use replay::{Problem, Recordings, Replay};
pub use session::{Session, Task, Wake};
pub use unprivileged::{Survey, survey};
pub use until::Until;

use inotify_trace_model::{
    event::{Event, EventKind},
    feed::{Batch, Item},
};

use crate::{
    host::{self, privileges::Later, runtimes::Registry},
    kernel::Settings,
};

/// Options of a live feed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How to load the kernel programs.
    pub kernel: Settings,
    /// The runtimes' files, with the names of containers.
    pub registry: Registry,
    /// Whether to look up the paths of existing watches.
    pub find_paths: bool,
    /// What it keeps privileges for, beside those that it needs in any case.
    pub later: Later,
}

/// An event without a task, at the current time.
fn now(kind: EventKind) -> Event {
    Event { time: host::now(), task: None, kind }
}

/// A snapshot's events as a batch, at the current time.
fn batch_now(events: Vec<Event>) -> Item {
    Item::Batch(Batch { time: host::now(), judged: false, events })
}
