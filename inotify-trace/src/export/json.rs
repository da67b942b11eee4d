//! The lines of `replay -o json` for all events, each with its run.

use std::io;

use inotify_trace_model::{
    event::{BootTime, Event},
    story::Audience,
    tracker::Tracker,
    verdict::Verdict,
};

use super::{ExportError, Exporter, Output, context};
use crate::{output::Json, recording::Header};

/// Writes JSON lines.
#[derive(Debug)]
pub struct JsonLines {
    lines: Option<Json<Output>>,
    /// The output until the first run begins.
    output: Option<Output>,
}

impl JsonLines {
    /// JSON lines on `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { lines: None, output: Some(output) }
    }

    fn output(&mut self) -> Option<Output> {
        self.lines.take().map(Json::into_inner).or_else(|| self.output.take())
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Json<Output>) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        write(lines).map_err(|error| lines.get_ref().failed(error))
    }
}

impl Audience for JsonLines {
    type Error = ExportError;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError> {
        self.write(|lines| lines.event(event, tracker))
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
        self.write(|lines| lines.verdict(verdict, tracker, now))
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), ExportError> {
        self.write(|lines| lines.end(tracker, now))
    }
}

impl Exporter for JsonLines {
    fn begin(&mut self, header: &Header) -> Result<(), ExportError> {
        // Each run has a clock and a name of its own.
        self.lines = self.output().map(|output| Json::of_run(output, context(header)));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        self.output().map_or(Ok(()), Output::complete)
    }
}
