//! One JSON object a line, for programs. docs/fields.md documents the fields.

use std::io::{self, Write};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event},
    story::Audience,
    tracker::Tracker,
    verdict::Verdict,
};

use super::{
    blame::Blame,
    fields::{self, Context, Record},
};

/// Writes events and verdicts as JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    context: Context,
    blame: Blame,
}

impl<W: Write> Json<W> {
    /// JSON lines on `out`, without a run.
    pub fn new(out: W, clock: Clock) -> Self {
        Self::of_run(out, Context::new(clock))
    }

    /// JSON lines on `out`, each with the run of `context`.
    pub fn of_run(out: W, context: Context) -> Self {
        Self { out, context, blame: Blame::default() }
    }

    /// The output.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Gives back the output.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

impl<W: Write> Audience for Json<W> {
    type Error = io::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        let mut record = fields::event(&self.context, event, tracker);
        if let Some(culprits) = self.blame.of(event, tracker) {
            fields::culprits(&mut record, &culprits, tracker);
        }
        write(&mut self.out, &record)
    }

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        let mut record = fields::finding(&self.context, verdict, tracker, now);
        fields::evidence(&mut record, &self.context, verdict, tracker);
        write(&mut self.out, &record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, tracker: &Tracker, _now: BootTime) -> io::Result<()> {
        let summary = tracker.summary();
        write(&mut self.out, &fields::summary(&self.context, &summary))?;
        self.out.flush()
    }
}
