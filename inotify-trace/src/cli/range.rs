//! The range of time that is taken from recordings: `--from` and `--to`.

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event},
    feed::Batch,
    pass_on_the_rest,
    story::Audience,
    tracker::Tracker,
    verdict::{Grace, Verdict, verdicts},
};
use jiff::Timestamp;

use super::units::{Coverage, Moment};
use crate::{feed::Replay, recording::Header};

#[derive(Debug, clap::Args)]
pub(super) struct RangeArgs {
    /// Only events from this time on
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Only events until this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
}

impl RangeArgs {
    /// The range. `+TIME` counts from the beginning of the first run, so that it is the same for all
    /// runs, which must not have been read yet.
    ///
    /// # Errors
    /// If no run has a part in it.
    pub(super) fn of(&self, runs: &[Replay]) -> anyhow::Result<Range> {
        // Without --from and --to there is no need to read what the recordings cover.
        let (from, to) = match (self.from, self.to) {
            (None, None) => (Timestamp::MIN, Timestamp::MAX),
            (from, to) => Coverage::of(runs)?.range(from, to)?,
        };
        Ok(Range { from, to })
    }
}

/// A range of time.
#[derive(Clone, Copy)]
pub(super) struct Range {
    from: Timestamp,
    to: Timestamp,
}

/// The range in the time of a run's machine, which may have booted after its beginning, or even its
/// end: such a bound is 0.
#[derive(Clone, Copy)]
pub(super) struct RunRange {
    pub(super) from: BootTime,
    pub(super) to: BootTime,
}

impl Range {
    pub(super) fn of_machine_with(self, clock: &Clock) -> RunRange {
        RunRange { from: clock.boot_time(self.from), to: clock.boot_time(self.to) }
    }

    /// Whether a run, which was not read yet, has a part in it.
    pub(super) fn has_part_of(self, run: &Replay) -> bool {
        if (self.from, self.to) == (Timestamp::MIN, Timestamp::MAX) {
            return true;
        }
        let (clock, started) = (run.header().clock(), run.header().started);
        let end = run.end();
        let goes_on = end.is_being_written || clock.timestamp(end.time) >= self.from;
        clock.timestamp(started) <= self.to && goes_on
    }
}

impl RunRange {
    /// Passes on to `inner` what happens from the beginning of the range on.
    pub(super) fn since<A>(self, inner: A) -> Since<A> {
        Since { start: self.from, inner }
    }

    /// Passes on to `inner` what the run was from the beginning of the range on.
    pub(super) fn later<A>(self, inner: A) -> Later<A> {
        Later { start: self.from, has_begun: false, inner }
    }

    /// The header of a run of which only the range is told: it begins with the range.
    pub(super) fn header(self, header: &Header) -> Header {
        Header { started: header.started.max(self.from), ..header.clone() }
    }
}

/// What a run was from a moment on, as if recording had begun there: with the state of that moment,
/// and the leaks that exist then.
pub(super) struct Later<A> {
    start: BootTime,
    has_begun: bool,
    pub(super) inner: A,
}

impl<A: Audience> Later<A> {
    fn begin(&mut self, tracker: &Tracker) -> Result<(), A::Error> {
        if self.start == BootTime(0) || std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        let time = self.start;
        self.inner.restarted(tracker, &Batch { time, ..Batch::default() })?;
        let mut existing = verdicts(tracker, time, &Grace::default()).into_iter();
        existing.try_for_each(|verdict| self.inner.verdict(&verdict, tracker, time))
    }

    /// Tells what happened at a time, if that is in the range.
    fn pass_on(
        &mut self,
        time: BootTime,
        tracker: &Tracker,
        tell: impl FnOnce(&mut A) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        if time < self.start {
            return Ok(());
        }
        self.begin(tracker)?;
        tell(&mut self.inner)
    }
}

impl<A: Audience> Audience for Later<A> {
    type Error = A::Error;

    fn restarted(&mut self, tracker: &Tracker, next: &Batch) -> Result<(), A::Error> {
        if next.time < self.start { Ok(()) } else { self.inner.restarted(tracker, next) }
    }

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), A::Error> {
        self.pass_on(event.time, tracker, |inner| inner.event(event, tracker))
    }

    fn verdict(&mut self, it: &Verdict, tracker: &Tracker, now: BootTime) -> Result<(), A::Error> {
        self.pass_on(now, tracker, |inner| inner.verdict(it, tracker, now))
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> Result<(), A::Error> {
        self.pass_on(batch.time, tracker, |inner| inner.batch(batch, tracker))
    }

    fn closed(&mut self, tracker: &Tracker, time: BootTime) -> Result<(), A::Error> {
        self.pass_on(time, tracker, |inner| inner.closed(tracker, time))
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), A::Error> {
        self.begin(tracker)?;
        self.inner.end(tracker, now)
    }
}

/// Passes on events from a moment on.
pub(super) struct Since<A> {
    start: BootTime,
    inner: A,
}

impl<A: Audience> Audience for Since<A> {
    type Error = A::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), A::Error> {
        if event.time >= self.start { self.inner.event(event, tracker) } else { Ok(()) }
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), A::Error> {
        if now >= self.start { self.inner.verdict(verdict, tracker, now) } else { Ok(()) }
    }

    pass_on_the_rest!();
}
