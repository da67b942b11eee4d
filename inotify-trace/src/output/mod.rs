//! Output for people and programs.

mod blame;
mod bytes;
mod colours;
mod columns;
mod duration;
mod errno;
mod failure;
pub(crate) mod fields;
mod filter;
mod fold;
mod json;
mod layout;
mod limits;
mod listing;
mod mask;
mod names;
mod patient;
mod printable;
mod refusals;
mod selection;
mod spreadsheet;
mod table;
mod tally;
mod text;
mod width;
pub(crate) mod words;

pub use bytes::Bytes;
pub use colours::{Colours, Screen, Tone, When};
pub use columns::{Column, Rows};
pub use duration::Approximate;
pub(crate) use errno::errno_name;
pub(crate) use failure::{
    Limit, files as failed_files, limit as failed_limit, remedy as limit_remedy,
};
pub use fields::{Context, Field, Form, Record, Row, Run, Type, Value};
pub use filter::{Filter, Filtered};
pub use json::Json;
pub use limits::{LimitsReport, Numbers, PluginStatus, Thresholds, plugin_unknown};
pub use listing::{Lines, Listing};
pub(crate) use mask::{instance_flags, watch_mask};
pub use names::UserNames;
pub use patient::{Patient, end_writes_on, reader_has_left};
pub(crate) use printable::{printable, printable_lines};
pub use refusals::{Refusals, Refused};
pub use selection::Selection;
pub use spreadsheet::Formulas;
pub use table::{Cell, EachRow, Table, write_csv, write_within};
pub use text::Text;
pub use width::Width;
pub(crate) use width::{shorten, shorten_end, wrapped};

use crate::own::is_own_task;
use inotify_trace_model::{
    event::{Event, EventKind, Task},
    tracker::{Departure, Instance, Origin, Tracker},
};

/// The task behind an event: its own task; for a queue that overflowed, or a watch that was found, the
/// process that has held the instance longest; or, for an end that was noticed afterwards, the process
/// that gave up the last known descriptor; or else the instance's creator.
pub(crate) fn actor(event: &Event, tracker: &Tracker) -> Option<Task> {
    event.task.or_else(|| {
        let subject = tracker.subject(event)?;
        if matches!(event.kind, EventKind::QueueOverflowed { .. } | EventKind::WatchFound { .. }) {
            let holder = subject.descriptors().first();
            return Some(tracker.process(holder?.pid)?.task);
        }
        subject.ended_by.map(|leaver| leaver.task).or(match subject.origin {
            Origin::Created(task) => Some(task),
            Origin::Found | Origin::CreatedUnseen => None,
        })
    })
}

/// Whether an event is of this tool itself, beside a trace: `list` and others create an instance when
/// they start, to learn what one looks like, copy descriptors, and close them. The end of another's
/// instance is none, even if it comes with such a copy. Containers choose the names of their
/// processes, so one there is none.
pub(crate) fn is_own(event: &Event, tracker: &Tracker) -> bool {
    let is_own_task = |task: Task| {
        let in_container =
            || tracker.cgroups().get(task.cgroup).is_some_and(|it| it.container.is_some());
        is_own_task(&task) && !in_container()
    };
    let is_made_here = || match tracker.subject(event)?.origin {
        Origin::Created(task) => Some(is_own_task(task)),
        Origin::Found | Origin::CreatedUnseen => None,
    };
    match event.kind {
        EventKind::InstanceReleased { .. } => is_made_here().unwrap_or_default(),
        EventKind::InstanceCreated { .. } | EventKind::DescriptorClosed { .. } => {
            event.task.is_some_and(is_own_task)
        }
        _ => event.kind.is_failure() && event.task.is_some_and(is_own_task),
    }
}

/// Whether an event is a failure of this tool itself.
pub(crate) fn is_own_failure(event: &Event, tracker: &Tracker) -> bool {
    event.kind.is_failure() && is_own(event, tracker)
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
