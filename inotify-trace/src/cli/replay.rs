//! `inotify-trace replay`: what happened, from recordings.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    progress::Progress,
    recordings::{Files, exit_code, open, tell},
    units::{self, Coverage, Moment},
    view::{View, ViewArgs},
};
use crate::{
    event::BootTime,
    output::Clock,
    recording::{Header, Item},
    source::Replay,
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    #[command(flatten)]
    recordings: Files,
    #[command(flatten)]
    view: ViewArgs,
    /// Show only what happened from then on
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Show only what happened until then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
    /// How fast: `1` is as fast as it happened, `10` ten times that, `max` as fast as possible
    #[arg(long, value_name = "N", default_value = "max", value_parser = speed)]
    speed: Speed,
}

const EXAMPLES: &str = "\
Examples:
  inotify-trace replay night.itrec                   what `inotify-trace` would have shown
  inotify-trace replay night.itrec -x                only failures
  inotify-trace replay /var/lib/inotify-trace/ --from 02:55 --to 03:10
  inotify-trace replay night.itrec --speed 10        ten times as fast as it happened
  inotify-trace replay night.itrec -o json | jq .path    for programs

Exit code: 0; 2 if a file is damaged. What comes before the damage is shown all the same.";

/// How fast to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    /// As fast as possible.
    Max,
    /// So many times as fast as it happened.
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.trim_end_matches('x').parse() {
        Ok(times) if times > 0.0 && f64::is_finite(times) => Ok(Speed::Times(times)),
        _ => Err("must be a number above 0, or `max`".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = open(&args.recordings.files, "nothing to replay")?;
    let range = Range::new(args, &opened.runs)?;
    let mut is_damaged = !opened.problems.is_empty();
    for mut run in opened.runs {
        greet(run.header())?;
        let clock = run.header().clock();
        let range = range.of_machine_with(&clock);
        let mut view = args.view.view(clock);
        replay(&mut run, &mut view, &range, args.speed)?;
        tell(run.problems())?;
        is_damaged |= !run.problems().is_empty();
        view.summarise()?;
    }
    Ok(exit_code(is_damaged))
}

fn greet(header: &Header) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(
        err,
        "Replaying what was recorded on {} (Linux {}) since {} ({} backend, inotify-trace {}).",
        header.host,
        header.kernel,
        header.clock().utc(header.started),
        if header.backend.is_empty() { "unknown" } else { &header.backend },
        header.tool_version,
    )?;
    for unseen in &header.unseen {
        writeln!(err, "Not seen on that kernel: {unseen}.")?;
    }
    Ok(())
}

/// What is shown, the same for all runs: what is after the beginning is after that of the first.
struct Range {
    from: Timestamp,
    to: Timestamp,
}

/// What is shown of a run. A machine may have booted after the beginning, or even the end.
struct RunRange {
    from: BootTime,
    to: BootTime,
}

impl Range {
    fn new(args: &Args, runs: &[Replay]) -> anyhow::Result<Self> {
        // Without either there is no need to know what the recordings cover.
        let (from, to) = match (args.from, args.to) {
            (None, None) => (Timestamp::MIN, Timestamp::MAX),
            (from, to) => Coverage::of(runs)?.range(from, to)?,
        };
        Ok(Self { from, to })
    }

    fn of_machine_with(&self, clock: &Clock) -> RunRange {
        RunRange { from: clock.boot_time(self.from), to: clock.boot_time(self.to) }
    }
}

fn replay(run: &mut Replay, view: &mut View, range: &RunRange, speed: Speed) -> io::Result<()> {
    let mut pace = Pace { speed, start: None };
    let progress = Progress::new(run.size(), io::stdout().is_terminal());
    while let Some(item) = run.next_item() {
        match item {
            Item::Restart => view.tracker.forget(),
            Item::Part(part) => view.tracker.restore(part),
            Item::End(_) => {}
            Item::Batch(batch) => {
                for event in &batch.events {
                    if event.time > range.to {
                        continue;
                    }
                    let is_wanted = event.time >= range.from;
                    if is_wanted && pace.must_wait(event.time) {
                        view.flush()?;
                        pace.wait(event.time);
                    }
                    view.event(event, is_wanted)?;
                }
                if batch.time > range.to {
                    break;
                }
                progress.at(run.position());
                if batch.judged {
                    view.judge(batch.time, batch.time >= range.from)?;
                }
            }
        }
    }
    view.flush()
}

/// Keeps time.
struct Pace {
    speed: Speed,
    /// When the first event was shown, and when it happened.
    start: Option<(Instant, BootTime)>,
}

impl Pace {
    /// Whether it is too early for what happened at `time`.
    fn must_wait(&mut self, time: BootTime) -> bool {
        self.due(time).is_some_and(|due| due > Instant::now())
    }

    fn wait(&mut self, time: BootTime) {
        if let Some(due) = self.due(time) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn due(&mut self, time: BootTime) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (started, first) = *self.start.get_or_insert((Instant::now(), time));
        let after = Duration::try_from_secs_f64(time.since(first).as_secs_f64() / times).ok()?;
        started.checked_add(after)
    }
}
