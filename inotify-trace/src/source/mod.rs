//! Where events come from.

mod charges;
mod live;
mod naming;
mod reader;
mod replay;
mod shims;
mod snapshot;
mod sweep;
mod unprivileged;

pub use live::Live;
pub use replay::{Problem, Recordings, Replay};
pub use unprivileged::{Survey, survey};

use inotify_trace_model::event::{Event, EventKind};

use crate::{
    host::{self, runtimes::Registry},
    kernel::Settings,
};

/// What to look at, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How to load the kernel programs.
    pub kernel: Settings,
    /// Where runtimes leave their containers' names.
    pub registry: Registry,
    /// Whether to look up where the targets of watches are that exist already.
    pub find_paths: bool,
}

/// An event that nobody did, at this moment.
fn now(kind: EventKind) -> Event {
    Event { time: host::now(), task: None, kind }
}
