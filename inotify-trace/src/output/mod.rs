//! Output for people and programs.

mod blame;
mod bytes;
mod columns;
mod duration;
mod errno;
mod failure;
pub(crate) mod fields;
mod filter;
mod fold;
mod json;
mod limits;
mod listing;
mod mask;
mod names;
mod patient;
mod printable;
mod spreadsheet;
mod table;
mod text;
pub(crate) mod words;

pub use bytes::Bytes;
pub use columns::Column;
pub use duration::Approximate;
pub(crate) use errno::errno_name;
pub(crate) use failure::{
    Limit, files as failed_files, limit as failed_limit, remedy as limit_remedy,
};
pub use fields::{Context, Field, Form, Record, Run, Type, Value};
pub use filter::{Filter, Filtered};
pub use json::Json;
pub use limits::LimitsReport;
pub(crate) use limits::wrapped;
pub use listing::Listing;
pub(crate) use mask::{instance_flags, watch_mask};
pub use names::UserNames;
pub(crate) use names::shorten;
pub use patient::{Patient, end_writes_on_signals};
pub(crate) use printable::{printable, printable_lines};
pub use spreadsheet::Formulas;
pub use table::{Cell, Table};
pub use text::{Text, Width};

use inotify_trace_model::{
    event::{Comm, Event, EventKind, Task},
    tracker::{Departure, Instance, Origin, Tracker},
};

/// The task behind an event: its own task; for a queue that overflowed, the process that has held the
/// instance longest; or, for an end that was noticed afterwards, the process that gave up the last
/// known descriptor; or else the instance's creator.
pub(crate) fn actor(event: &Event, tracker: &Tracker) -> Option<Task> {
    event.task.or_else(|| {
        let subject = tracker.subject(event)?;
        if matches!(event.kind, EventKind::QueueOverflowed { .. }) {
            let holder = subject.descriptors().first();
            return Some(tracker.process(holder?.pid)?.task);
        }
        subject.ended_by.map(|leaver| leaver.task).or(match subject.origin {
            Origin::Created(task) => Some(task),
            Origin::Found | Origin::CreatedUnseen => None,
        })
    })
}

/// Whether an event is a failure of this tool itself: `list` and others create an instance when they
/// start, to learn what one looks like, and continue without. Containers choose the names of their
/// processes, so one there is none.
pub(crate) fn is_own_failure(event: &Event, tracker: &Tracker) -> bool {
    let is_own = |task: Task| {
        let in_container =
            || tracker.cgroups().get(task.cgroup).is_some_and(|it| it.container.is_some());
        task.uid == 0 && task.comm == Comm::from(env!("CARGO_PKG_NAME")) && !in_container()
    };
    event.kind.is_failure() && event.task.is_some_and(is_own)
}

/// The way in which a released instance ended.
pub(crate) fn ending(subject: Option<&Instance>) -> &'static str {
    match subject.and_then(|instance| instance.ended_by).map(|leaver| leaver.how) {
        Some(Departure::Closed) => "closed",
        Some(Departure::Executed) => "exec",
        Some(Departure::Exited) => "exit",
        None => "unknown",
    }
}

/// The lifetime of a released instance, in nanoseconds; None if it existed before tracing began.
pub(crate) fn lived(release: &Event, subject: Option<&Instance>) -> Option<u64> {
    let seen = subject.filter(|instance| instance.origin != Origin::Found)?;
    let lived = seen.ended(release).since(seen.since);
    Some(u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX))
}

/// A device number as `ls -l` shows it. Kernel encoding: 12 bits of major, 20 of minor.
pub(crate) fn device(dev: u32) -> String {
    format!("{}:{}", dev >> 20, dev & 0xf_ffff)
}
