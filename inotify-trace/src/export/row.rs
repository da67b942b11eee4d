//! Events and verdicts as rows.

use std::collections::HashSet;

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, InstanceId},
    story::Audience,
    tracker::Tracker,
    verdict::{Grace, Verdict, verdicts},
};

use super::{ExportError, Exporter, context};
use crate::{
    output::{Context, Record, fields},
    recording::Header,
};

/// Takes in rows.
pub trait Rows {
    /// A row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError>;

    /// A run begins, of which the rows are that follow.
    ///
    /// # Errors
    /// If what came before cannot be written.
    fn begin(&mut self, _header: &Header) -> Result<(), ExportError> {
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Makes rows of runs.
pub struct Flat {
    rows: Box<dyn Rows>,
    context: Context,
    /// The open instances of which a row told that they are leaked.
    told: HashSet<InstanceId>,
}

impl Flat {
    /// Rows for `rows`.
    #[must_use]
    pub fn new(rows: Box<dyn Rows>) -> Self {
        Self { rows, context: context(&Header::default()), told: HashSet::new() }
    }

    /// A row for each leaked instance of a verdict that was not told of yet.
    fn leaked(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
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
        // A verdict is told again only when it is about twice as many: those since then are left.
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
