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

use rustix::time::{ClockId, clock_gettime};

use crate::{
    container::Registry,
    event::{BootTime, Event, EventKind},
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

/// This moment, as events have it.
#[must_use]
pub fn clock() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    BootTime(seconds * 1_000_000_000 + nanoseconds)
}

/// An event that nobody did, at this moment.
fn now(kind: EventKind) -> Event {
    Event { time: clock(), task: None, kind }
}
