//! `limits --watch`: how fast the use of the limits grows.

use std::{
    io::{BufWriter, Write as _},
    process::ExitCode,
};

use inotify_trace_model::{
    clock::Timestamps,
    event::{BootTime, Event},
    feed::Batch,
    story::{Audience, Story},
    tracker::Tracker,
};
use tokio::time::Instant;

use super::{Args, exit_code, made::report, print::print};
use crate::{
    cli::{format::TextJsonOrCsv, session},
    feed::Options,
    host,
    kernel::Settings,
    limits::Counted,
    output::{LimitsReport, Numbers, Patient, Screen, reader_has_left},
};

/// Traces, and reports at the end, or at each interval, how fast the use of the limits grows.
pub(super) async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel =
        Settings { backend: args.backend, walk_proc: args.walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: args.host.registry(), ..Options::default() };
    let mut session = session::start(options, None)?;
    let mut story = Story::without_verdicts(host::now()).within(args.memory.ceiling());
    let mut reports =
        Reports { args, counted: Counted::default(), due: None, shown: None, code: None };
    let told = session
        .run(&mut story, &mut reports, |session, story, reports| {
            // Events count from here on, also those that happen while the greeting is written.
            let start = Instant::now();
            reports.due = reports.next();
            session::greet(session, story.tracker())?;
            if let Some(end) = args.watch.flatten().and_then(|it| start.checked_add(it)) {
                session.end_at(end);
            }
            Ok(())
        })
        .await;
    match told.and_then(|()| story.end(&mut reports)) {
        Err(_) if reader_has_left() => {}
        told => told?,
    }
    Ok(reports.code.unwrap_or(ExitCode::SUCCESS))
}

/// Counts instances and watches that are added and removed, and reports at the end or at each
/// interval.
struct Reports<'a> {
    args: &'a Args,
    counted: Counted,
    due: Option<BootTime>,
    /// The numbers that were shown last.
    shown: Option<Numbers>,
    /// The exit code of the last report.
    code: Option<ExitCode>,
}

impl Reports<'_> {
    fn next(&self) -> Option<BootTime> {
        let interval = u64::try_from(self.args.interval?.as_nanos()).ok()?;
        host::now().0.checked_add(interval).map(BootTime)
    }

    fn report(&mut self, tracker: &Tracker, now: BootTime) -> LimitsReport {
        let during = self.counted.since.map(|since| now.since(since)).unwrap_or_default();
        let report = report(self.args, tracker, true, Some((&self.counted.changes, during)));
        self.code = Some(exit_code(&report));
        report
    }
}

impl Audience for Reports<'_> {
    type Error = anyhow::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> anyhow::Result<()> {
        Ok(self.counted.event(event, tracker)?)
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> anyhow::Result<()> {
        Ok(self.counted.batch(batch, tracker)?)
    }

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// A report covers the time until it is made, not until it was due. If the agent had not been
    /// scheduled for a while, the time it was due would count without the events in it.
    ///
    /// People see the users' numbers, if these changed; programs the whole report.
    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        let report = self.report(tracker, now);
        self.due = self.next();
        if self.args.output == TextJsonOrCsv::Json {
            return Ok(print(self.args, &report, Patient::stdout())?);
        }
        let numbers = report.numbers();
        if self.shown.as_ref() != Some(&numbers) {
            self.shown = Some(numbers);
            let mut out = BufWriter::new(Patient::stdout());
            let mut time = String::new();
            host::clock().write(&mut time, now, Timestamps::Time);
            writeln!(out, "{time}")?;
            report.write_users(&mut out, Screen::of_stdout())?;
            writeln!(out)?;
            out.flush()?;
        }
        Ok(())
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        let report = self.report(tracker, now);
        Ok(print(self.args, &report, Patient::stdout())?)
    }
}
