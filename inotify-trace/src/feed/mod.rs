//! Feeds: what yields the items that a story is made of.
//!
//! [`Session`] is the running kernel, and [`Replay`] a recording of one. Both yield the same items,
//! so that whatever is shown of one can be shown of the other.

mod charges;
mod live;
mod naming;
mod reader;
mod replay;
mod session;
mod shims;
mod snapshot;
mod sweep;
mod unprivileged;
mod until;

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

/// What a look at the machine has found until now.
fn looked(events: Vec<Event>) -> Item {
    Item::Batch(Batch { time: host::now(), judged: false, events })
}
