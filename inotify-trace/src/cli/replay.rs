//! `inotify-trace replay`: shows the events of recordings.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{BootTime, Event},
    pass_on_the_rest,
    story::{Audience, Story},
    tracker::Tracker,
    verdict::{Grace, Verdict},
};

use super::{
    machines::{Machine, machines_of},
    progress::Progress,
    range::RangeArgs,
    recordings::{Files, exit_code, open, tell_of},
    say::say,
    units,
    view::ViewArgs,
};
use crate::{feed::Until, output::reader_has_left, recording::Header};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    #[command(flatten)]
    recordings: Files,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Speed: `1` is that of the events, `10` ten times that, `max` as fast as possible
    #[arg(long, value_name = "N", default_value = "max", value_parser = speed)]
    speed: Speed,
}

const EXAMPLES: &str = "\
Examples:
  inotify-trace replay night.itrec                   show what `inotify-trace` showed live
  inotify-trace replay night.itrec -x                show failures only
  inotify-trace replay /var/lib/inotify-trace/ --from 02:55 --to 03:10
  inotify-trace replay night.itrec --speed 10        replay at ten times the original speed
  inotify-trace replay night.itrec -o json | jq .path    write JSON for programs

Exit code: 0; 2 if a part of a recording is missing: damaged, a file of several, or the end after
kill -9. What can be read is shown all the same.";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    /// As fast as possible.
    Max,
    /// This many times the speed of the events.
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
    let opened = open(&args.recordings.files)?;
    args.view.check_users(opened.runs.iter().map(|run| &run.header().users))?;
    let range = args.range.of(&opened.runs)?;
    let mut is_damaged = !opened.problems.is_empty();
    let is_one_of_several = opened.runs.len() > 1;
    let machines = machines_of(&opened.runs);
    for (mut run, Machine { name, .. }) in opened.runs.into_iter().zip(machines) {
        greet(run.header(), &name)?;
        let clock = run.header().clock();
        let range = range.of_machine_with(&clock);
        let mut story = Story::new(run.header().started, Grace::default())
            .within(args.recordings.memory.ceiling());
        let users = run.header().users.clone();
        let named = is_one_of_several.then(|| (run.header(), &*name));
        let inner = Paced::new(args.view.audience_of(clock, users, named)?, args.speed);
        let mut audience = range.since(inner);
        let progress = Progress::new(run.size(), io::stdout().is_terminal());
        let mut shown = Until::new(&mut run, range.to)
            .run(&mut story, &mut audience, |position| progress.at(position));
        shown = shown.and_then(|()| audience.flush());
        drop(progress);
        tell_of(&run)?;
        is_damaged |= !run.problems().is_empty();
        match shown.and_then(|()| story.end(&mut audience)) {
            // The exit code still says what is damaged of that which was read.
            Err(_) if reader_has_left() => break,
            shown => shown?,
        }
    }
    Ok(exit_code(is_damaged))
}

fn greet(header: &Header, machine: &str) -> io::Result<()> {
    say(format_args!(
        "Replaying what was recorded on {} (Linux {}) since {} ({} backend, inotify-trace {}).",
        machine,
        header.kernel,
        header.clock().local(header.started),
        if header.backend.is_empty() { "unknown" } else { &header.backend },
        header.tool_version,
    ))?;
    if let Some(place) = header.begins_later() {
        say(format_args!("What came before is not here: {place}"))?;
    }
    header.not_seen().try_for_each(|sentence| say(format_args!("{sentence}")))
}

/// Passes on events at their original pace, or a multiple of it.
struct Paced<A> {
    inner: A,
    speed: Speed,
    /// When the first event was passed on, and the event's own time.
    start: Option<(Instant, BootTime)>,
}

impl<A> Paced<A> {
    fn new(inner: A, speed: Speed) -> Self {
        Self { inner, speed, start: None }
    }

    /// The time to wait before an event of `time` is due.
    fn wait(&mut self, time: BootTime, now: Instant) -> Option<Duration> {
        let Speed::Times(times) = self.speed else { return None };
        let (started, first) = *self.start.get_or_insert((now, time));
        let after = Duration::try_from_secs_f64(time.since(first).as_secs_f64() / times).ok()?;
        let wait = started.checked_add(after)?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

impl<A: Audience> Audience for Paced<A> {
    type Error = A::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), A::Error> {
        if let Some(wait) = self.wait(event.time, Instant::now()) {
            self.inner.flush()?;
            thread::sleep(wait);
        }
        self.inner.event(event, tracker)
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), A::Error> {
        self.inner.verdict(verdict, tracker, now)
    }

    pass_on_the_rest!();
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: BootTime = BootTime(100_000_000_000);

    /// The times that a replay waits; `events` are pairs of milliseconds after the beginning: the
    /// event's own time, and the time by which it could be shown.
    fn waits(speed: Speed, events: &[(u64, u64)]) -> Vec<u128> {
        let (mut pace, start) = (Paced::new((), speed), Instant::now());
        let mut wait = |&(happened, now): &(u64, u64)| {
            let time = BootTime(BEGINNING.0 + happened * 1_000_000);
            let wait = pace.wait(time, start + Duration::from_millis(now));
            wait.map_or(0, |it| it.as_millis())
        };
        events.iter().map(&mut wait).collect()
    }

    #[test]
    fn each_event_waits_for_its_time() {
        let events = [(0, 0), (0, 1), (1000, 1), (1000, 600), (4000, 700)];
        for (speed, expected) in [
            (speed("1"), [0, 0, 999, 400, 3300]),
            (speed("10"), [0, 0, 99, 0, 0]),
            (speed("5x"), [0, 0, 199, 0, 100]),
            (speed("0.5"), [0, 0, 1999, 1400, 7300]),
            (speed("max"), [0; 5]),
        ] {
            let speed = speed.unwrap();
            assert_eq!(waits(speed, &events), expected, "{speed:?}");
        }
    }

    #[test]
    fn a_time_that_never_comes_is_not_waited_for() {
        assert_eq!(waits(Speed::Times(f64::MIN_POSITIVE), &[(0, 0), (1, 0)]), [0, 0]);
        // Times of events from several processors may go backwards.
        assert_eq!(waits(Speed::Times(1.0), &[(5, 0), (3, 0)]), [0, 0]);
    }
}
