//! Showing what happened.

mod blame;
mod bytes;
mod clock;
mod columns;
mod duration;
mod failure;
mod filter;
mod finding;
mod json;
mod limits;
mod listing;
mod mask;
mod names;
mod shim;
mod table;
mod text;

use std::io;

pub(crate) use blame::Blame;
pub use bytes::Bytes;
pub use clock::{Clock, Timestamps};
pub use columns::Column;
pub use duration::Approximate;
pub(crate) use failure::{Limit, errno_name, limit as failed_limit};
pub use filter::Filter;
pub use finding::Findings;
pub use json::Json;
pub use limits::LimitsReport;
pub(crate) use limits::wrapped;
pub use listing::Listing;
pub use names::UserNames;
pub use table::{Cell, Table};
pub use text::{Text, Width};

use crate::{
    event::{BootTime, Event, Task},
    tracker::{Instance, Origin, Summary, Tracker},
    verdict::Verdict,
};

/// Where events are shown.
pub trait Sink {
    /// Shows an event that `tracker` has just taken in.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn show(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()>;

    /// Shows a verdict that was just reached.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn judge(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()>;

    /// Makes visible what was shown until now.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn flush(&mut self) -> io::Result<()>;

    /// Shows what the whole run has seen, at its end.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn summarise(&mut self, summary: &Summary) -> io::Result<()>;
}

/// Who stands behind an event: its own task; or, for an end that was noticed afterwards, the
/// process that gave up the last descriptor known; or else the instance's creator.
fn actor(event: &Event, subject: Option<&Instance>) -> Option<Task> {
    event.task.or_else(|| {
        let subject = subject?;
        subject.last_leaver.map(|leaver| leaver.task).or(match subject.origin {
            Origin::Created(task) => Some(task),
            Origin::Found | Origin::CreatedUnseen => None,
        })
    })
}

/// Text from programs, without what would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// A device number as `ls -l` shows it. Kernel encoding: 12 bits of major, 20 of minor.
fn device(dev: u32) -> String {
    format!("{}:{}", dev >> 20, dev & 0xf_ffff)
}
