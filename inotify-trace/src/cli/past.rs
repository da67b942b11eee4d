//! The state at a moment of a recording, for commands that otherwise look at what exists now.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use inotify_trace_model::{event::BootTime, story::Story, tracker::Tracker};

use super::{
    moment::Moment,
    progress::Progress,
    recordings::{open, tell},
};
use crate::{
    feed::{Replay, Until},
    limits::{Changes, Counted},
    recording::Header,
};

/// Which moment.
#[derive(Debug, clap::Args)]
pub(super) struct PastArgs {
    /// Not this machine now, but what was recorded: a file, or a directory of them. Can be given
    /// more than once
    #[arg(long = "recording", value_name = "FILE")]
    recordings: Vec<PathBuf>,
    /// With --recording: as it was then: a time of day, a date and time, or `+SECONDS` from the
    /// beginning [default: the end]
    #[arg(long, value_name = "TIME", requires = "recordings")]
    at: Option<Moment>,
}

/// What was known at that moment.
pub(super) struct Past {
    /// Of the machine that was recorded.
    pub(super) header: Header,
    pub(super) tracker: Tracker,
    /// The moment.
    pub(super) time: BootTime,
    /// What came and went since the beginning.
    pub(super) changes: Changes,
    /// How long that took.
    pub(super) during: Duration,
    /// Not all could be read that was to be.
    pub(super) is_damaged: bool,
}

impl PastArgs {
    /// The state at that moment; None if it is about this machine now.
    pub(super) fn load(&self) -> anyhow::Result<Option<Past>> {
        if self.recordings.is_empty() {
            return Ok(None);
        }
        let opened = open(&self.recordings, "nothing was recorded")?;
        let mut past = self.replay(opened.runs)?;
        past.is_damaged |= !opened.problems.is_empty();
        Ok(Some(past))
    }

    fn replay(&self, runs: Vec<Replay>) -> anyhow::Result<Past> {
        let first = runs[0].header();
        let (clock, started) = (first.clock(), first.started);
        let at = self.at.map(|at| at.timestamp(&clock, started)).transpose()?;
        if let Some(at) = at.filter(|at| *at < clock.timestamp(started)) {
            bail!("--at is {at}, and recording began at {}", clock.utc(started));
        }
        // Of several runs the last that had begun by then.
        let has_begun = |run: &Replay| {
            let header = run.header();
            at.is_none_or(|at| header.clock().timestamp(header.started) <= at)
        };
        let mut run = runs.into_iter().rev().find(has_begun).context("nothing was recorded")?;
        let until = at.map_or(BootTime(u64::MAX), |at| run.header().clock().boot_time(at));
        let past = until_then(&mut run, until);
        tell(run.problems())?;
        if let Some(at) = at.filter(|_| past.time < until && run.is_read()) {
            let end = past.header.clock().utc(past.time);
            let mut err = io::stderr().lock();
            writeln!(
                err,
                "inotify-trace: --at is {at}, and recording ended at {end}: shown as it was then"
            )?;
        }
        Ok(past)
    }
}

fn until_then(run: &mut Replay, until: BootTime) -> Past {
    let header = run.header().clone();
    let progress = Progress::new(run.size(), false);
    let mut story = Story::without_verdicts(header.started);
    let mut counted = Counted::default();
    let Ok(()) =
        Until::new(run, until).run(&mut story, &mut counted, |position| progress.at(position));
    let time = story.now();
    let during = time.since(header.started);
    let is_damaged = !run.problems().is_empty();
    let (tracker, changes) = (story.into_tracker(), counted.changes);
    Past { header, tracker, time, changes, during, is_damaged }
}
