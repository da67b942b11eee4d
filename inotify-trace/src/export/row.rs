//! Events and verdicts as rows.

use std::collections::HashSet;

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, InstanceId},
    story::Audience,
    tracker::Tracker,
    verdict::{Grace, Kind, Verdict, verdicts},
};

use super::{ExportError, Exporter, context};
use crate::{
    output::{Context, Record, fields},
    recording::Header,
};

/// Writes rows in a format.
pub trait Rows {
    /// Writes a row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError>;

    /// Begins a run: the rows that follow are its rows.
    ///
    /// # Errors
    /// If the rows before cannot be written.
    fn begin(&mut self, _header: &Header) -> Result<(), ExportError> {
        Ok(())
    }

    /// Ends the output after the last row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Turns the events and verdicts of runs into rows.
pub struct Flat {
    rows: Box<dyn Rows>,
    context: Context,
    /// The open instances that have a row as leaked.
    told: HashSet<InstanceId>,
}

impl Flat {
    /// Sends its rows to `rows`.
    #[must_use]
    pub fn new(rows: Box<dyn Rows>) -> Self {
        Self { rows, context: context(&Header::default()), told: HashSet::new() }
    }

    /// Writes a row for each leaked instance of a verdict that has no such row yet.
    fn leaked(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
        if verdict.kind == Kind::WatchesGrowing {
            // The instance is used; some of its watches are not.
            return Ok(());
        }
        let finding = fields::finding(&self.context, verdict, tracker, now);
        for evidence in &verdict.evidence {
            if self.told.insert(evidence.instance) {
                let row = fields::leaked(&self.context, &finding, evidence, tracker);
                self.rows.row(&row)?;
            }
        }
        Ok(())
    }
}

impl Audience for Flat {
    type Error = ExportError;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError> {
        if let EventKind::InstanceReleased { instance, .. } = event.kind {
            self.told.remove(&instance);
        }
        self.rows.row(&fields::event(&self.context, event, tracker))
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
        if !verdict.kind.is_leak() {
            return Ok(());
        }
        self.rows.row(&fields::finding(&self.context, verdict, tracker, now))?;
        self.leaked(verdict, tracker, now)
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), ExportError> {
        // A verdict is repeated only when its count has about doubled: add the instances since the
        // last.
        let grace = Grace::default();
        verdicts(tracker, now, &grace)
            .iter()
            .filter(|verdict| verdict.kind.is_leak())
            .try_for_each(|verdict| self.leaked(verdict, tracker, now))
    }
}

impl Exporter for Flat {
    fn begin(&mut self, header: &Header) -> Result<(), ExportError> {
        self.context = context(header);
        self.told.clear();
        self.rows.begin(header)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        self.rows.finish()
    }
}
