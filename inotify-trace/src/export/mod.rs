//! Recordings in the formats of other tools: lines of JSON or CSV, Parquet, Perfetto's traces.
//!
//! docs/export.md describes what is written. As everywhere, the tracker has taken in an event
//! before it is shown, so that a row tells what was known then.

mod column;
mod csv;
mod error;
mod file;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;
mod row;

#[cfg(feature = "parquet")]
pub use self::parquet::{Parquet, Partitioned};
pub use self::{
    column::{Column, Row, Type, Value},
    csv::Csv,
    error::ExportError,
    file::Output,
    json::JsonLines,
    perfetto::Perfetto,
    row::{Flat, Rows},
};

use crate::{
    event::{BootTime, Event},
    recording::{Header, Item},
    source::Replay,
    tracker::Tracker,
    verdict::{Grace, Verdict, Watcher},
};

/// Writes runs in a format.
pub trait Exporter {
    /// A run begins.
    ///
    /// # Errors
    /// If what came before cannot be written.
    fn begin(&mut self, header: &Header) -> Result<(), ExportError>;

    /// Something happened, which `tracker` has just taken in.
    ///
    /// # Errors
    /// If it cannot be written.
    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError>;

    /// What is known was replaced: what happened before `now` is not recorded completely.
    ///
    /// # Errors
    /// If it cannot be written.
    fn restarted(&mut self, _tracker: &Tracker, _now: BootTime) -> Result<(), ExportError> {
        Ok(())
    }

    /// A leak was found.
    ///
    /// # Errors
    /// If it cannot be written.
    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError>;

    /// The run is over.
    ///
    /// # Errors
    /// If it cannot be written.
    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), ExportError>;

    /// There are no more runs: what was written gets its name.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Writes a run, and says now and then how many bytes of it were read.
///
/// # Errors
/// If it cannot be written. What cannot be read is the run's problem.
pub fn export(
    run: &mut Replay,
    exporter: &mut dyn Exporter,
    mut progress: impl FnMut(u64),
) -> Result<(), ExportError> {
    exporter.begin(run.header())?;
    let (mut tracker, mut watcher) = (Tracker::new(), Watcher::new(Grace::default()));
    let mut now = run.header().started;
    let mut has_restarted = false;
    while let Some(item) = run.next_item() {
        match item {
            Item::Restart => {
                tracker.forget();
                has_restarted = true;
            }
            Item::Part(part) => tracker.restore(part),
            Item::End(time) => now = now.max(time),
            Item::Batch(batch) => {
                if std::mem::take(&mut has_restarted) {
                    exporter.restarted(&tracker, batch.time)?;
                }
                for event in &batch.events {
                    tracker.apply(event);
                    exporter.event(event, &tracker)?;
                }
                now = now.max(batch.time);
                if batch.judged {
                    for verdict in watcher.reached(&tracker, batch.time) {
                        if verdict.kind.is_leak() {
                            exporter.verdict(&verdict, &tracker, batch.time)?;
                        }
                    }
                }
                progress(run.position());
            }
        }
    }
    if has_restarted {
        exporter.restarted(&tracker, now)?;
    }
    exporter.end(&tracker, now)
}
