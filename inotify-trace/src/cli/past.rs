//! The state at a moment of a recording, for commands that otherwise look at what exists now.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    progress::Progress,
    recordings::{open, tell},
    units::{Coverage, Moment},
};
use crate::{
    event::BootTime,
    limits::Changes,
    recording::{Header, Item},
    source::Replay,
    tracker::Tracker,
};

/// Which moment.
#[derive(Debug, clap::Args)]
pub(super) struct PastArgs {
    /// Not this machine now, but what was recorded: a file, or a directory of them. Can be given
    /// more than once
    #[arg(long = "recording", value_name = "FILE")]
    recordings: Vec<PathBuf>,
    /// With --recording: as it was then [default: the end]
    #[arg(long, value_name = "TIME", requires = "recordings", allow_hyphen_values = true)]
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
        let found = self.at.map(|at| Coverage::of(&runs)?.at("--at", at)).transpose()?;
        let place = found.map_or(runs.len().saturating_sub(1), |(place, _)| place);
        let at = found.map(|(_, at)| at);
        let mut run = runs.into_iter().nth(place).context("nothing was recorded")?;
        let until = at.map_or(BootTime(u64::MAX), |at| run.header().clock().boot_time(at));
        let past = until_then(&mut run, until);
        tell(run.problems())?;
        if let Some(at) = at.filter(|_| past.time < until && past.is_damaged) {
            let end = past.header.clock().utc(past.time);
            let mut err = io::stderr().lock();
            writeln!(
                err,
                "inotify-trace: --at is {at}, and nothing after {end} can be read: shown as it was \
                 then"
            )?;
        }
        Ok(past)
    }
}

fn until_then(run: &mut Replay, until: BootTime) -> Past {
    let header = run.header().clone();
    let progress = Progress::new(run.size(), false);
    let (mut tracker, mut changes) = (Tracker::new(), Changes::default());
    let mut time = header.started;
    // What was found at the start did not come then.
    let mut has_begun = false;
    while let Some(item) = run.next_item() {
        match item {
            Item::Restart => tracker.forget(),
            Item::Part(part) => tracker.restore(part),
            Item::End(end) => time = time.max(end.min(until)),
            Item::Batch(batch) => {
                for event in batch.events.iter().filter(|event| event.time <= until) {
                    tracker.apply(event);
                    if has_begun {
                        changes.add(event, &tracker);
                    }
                }
                has_begun = true;
                progress.at(run.position());
                time = time.max(batch.time.min(until));
                if batch.time > until {
                    break;
                }
            }
        }
    }
    let during = time.since(header.started);
    let is_damaged = !run.problems().is_empty();
    Past { header, tracker, time, changes, during, is_damaged }
}
