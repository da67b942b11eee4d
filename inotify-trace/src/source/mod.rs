//! Where events come from.

mod charges;
mod live;
mod reader;
mod snapshot;
mod sweep;
mod unprivileged;

pub use live::Live;
pub use unprivileged::{Survey, survey};

use rustix::time::{ClockId, clock_gettime};

use crate::event::{BootTime, Event, EventKind};

/// An event that nobody did, at this moment.
fn now(kind: EventKind) -> Event {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    Event { time: BootTime(seconds * 1_000_000_000 + nanoseconds), task: None, kind }
}
