//! The state at a moment of a recording, for commands that otherwise look at what exists now.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use inotify_trace_model::{
    event::BootTime,
    story::Story,
    tracker::{Forgotten, Tracker},
};

use super::{
    progress::Progress,
    recordings::{open, tell},
    say::say,
    units::{Coverage, Moment},
};
use crate::{
    feed::{Replay, Until},
    limits::{Changes, Counted},
    recording::Header,
};

#[derive(Debug, clap::Args)]
pub(super) struct PastArgs {
    /// Read this recording, a file or a directory of files, instead of the running system. Can be
    /// given more than once
    #[arg(long = "recording", value_name = "FILE")]
    recordings: Vec<PathBuf>,
    /// With --recording: moment to show [default: the end]
    #[arg(long, value_name = "TIME", requires = "recordings", allow_hyphen_values = true)]
    at: Option<Moment>,
}

/// The state at a moment of a recording.
pub(super) struct Past {
    pub(super) header: Header,
    pub(super) tracker: Tracker,
    pub(super) time: BootTime,
    /// Changes since the beginning of the run.
    pub(super) changes: Changes,
    /// The time from the beginning of the run to the moment.
    pub(super) during: Duration,
    /// Whether some of the recordings could not be read.
    pub(super) is_damaged: bool,
}

impl PastArgs {
    /// Loads the state; None without `--recording`.
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
        let found = self.at.map(|at| Coverage::of(&runs)?.at("--at", at)).transpose()?;
        let place = found.map_or(runs.len().saturating_sub(1), |(place, _)| place);
        let at = found.map(|(_, at)| at);
        let mut run = runs.into_iter().nth(place).context("nothing was recorded")?;
        let until = at.map_or(BootTime(u64::MAX), |at| run.header().clock().boot_time(at));
        let past = until_then(&mut run, until);
        tell(run.problems())?;
        let Forgotten { instances, cgroups } = past.tracker.forgotten();
        if instances + cgroups > 0 {
            say(format_args!(
                "inotify-trace: {instances} instances and {cgroups} cgroups of the recording were \
                 forgotten: they take too much memory"
            ))?;
        }
        if let Some(at) = at.filter(|_| past.time < until && past.is_damaged) {
            let end = past.header.clock().utc(past.time);
            say(format_args!(
                "inotify-trace: --at is {at}, and nothing after {end} can be read: shown as it was \
                 then"
            ))?;
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
