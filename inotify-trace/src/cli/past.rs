//! The state at a moment of a recording, for commands that otherwise look at what exists now.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use inotify_trace_model::{
    event::BootTime,
    story::{Audience, Story},
    tracker::{Forgotten, Tracker},
};

use serde_json::Value;

use super::{
    memory::Memory,
    progress::Progress,
    recordings::{open, tell},
    say::say,
    units::{Coverage, Moment},
};
use crate::{
    feed::{Replay, Until},
    limits::{Changes, Counted},
    output::printable,
    recording::Header,
};

#[derive(Debug, clap::Args)]
pub(super) struct PastArgs {
    /// Read this recording, a file or a directory of files, instead of the running system. Can be
    /// given more than once; of several machines, each is shown and named
    #[arg(long = "recording", value_name = "FILE")]
    pub(super) recordings: Vec<PathBuf>,
    /// With --recording: moment to show [default: the end]
    #[arg(long, value_name = "TIME", requires = "recordings", allow_hyphen_values = true)]
    pub(super) at: Option<Moment>,
}

/// The state of a machine at a moment of its recording.
pub(super) struct Past {
    pub(super) header: Header,
    /// The machine's name, with the boot if several have that name.
    pub(super) name: String,
    pub(super) tracker: Tracker,
    pub(super) time: BootTime,
    /// Changes since the beginning of the run.
    pub(super) changes: Changes,
    /// The time from the beginning of the run to the moment.
    pub(super) during: Duration,
    /// Whether it is one of several machines, which are to be named.
    pub(super) is_one_of_several: bool,
}

impl Past {
    /// The machine's name and the moment.
    pub(super) fn heading(&self) -> String {
        let time = self.header.clock().local(self.time);
        format!("{}, as of {time}:", printable(&self.name))
    }

    /// Adds the machine's name and the moment to a JSON object.
    pub(super) fn name_in(&self, object: &mut Value) {
        object["node"] = self.header.host.clone().into();
        let Header { machine, boot_id, .. } = &self.header;
        for (field, value) in [("machine", machine), ("boot_id", boot_id)] {
            if !value.is_empty() {
                object[field] = value.clone().into();
            }
        }
        object["time"] = self.header.clock().utc(self.time).into();
    }
}

impl PastArgs {
    /// Whether a recording is to be read.
    pub(super) fn is_given(&self) -> bool {
        !self.recordings.is_empty()
    }

    /// Loads the state of each recorded machine, one after the other, within the memory it may take, and
    /// passes it to `show`, with an audience that was told of the run until then. Returns whether some
    /// of the recordings could not be read.
    pub(super) fn each<A: Audience<Error = Infallible> + Default>(
        &self,
        memory: &Memory,
        mut show: impl FnMut(Past, A) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let opened = open(&self.recordings)?;
        let mut is_damaged = !opened.problems.is_empty();
        let coverage = Coverage::of(&opened.runs)?;
        let (places, at) = coverage.chosen(self.at)?;
        let mut runs: Vec<_> = opened.runs.into_iter().map(Some).collect();
        let is_one_of_several = places.len() > 1;
        for place in places {
            let Some(mut run) = runs.get_mut(place).and_then(Option::take) else { continue };
            let until = at.map_or(BootTime(u64::MAX), |at| run.header().clock().boot_time(at));
            let name = coverage.name(place).to_owned();
            let (past, told) = until_then(&mut run, until, memory);
            let past = Past { name, is_one_of_several, ..past };
            tell(run.problems())?;
            tell_of_gaps(&run, &past, until)?;
            is_damaged |= !run.problems().is_empty();
            show(past, told)?;
        }
        Ok(is_damaged)
    }
}

/// Says what is not known of the state.
fn tell_of_gaps(run: &Replay, past: &Past, until: BootTime) -> anyhow::Result<()> {
    let Forgotten { instances, cgroups } = past.tracker.forgotten();
    if instances + cgroups > 0 {
        say(format_args!(
            "inotify-trace: {instances} instances and {cgroups} cgroups of the recording were \
             forgotten: they take too much memory; a higher --memory keeps more, and 0 all"
        ))?;
    }
    if run.has_stale_state() {
        say(format_args!(
            "inotify-trace: what changed in the missing frames is not known: instances that ended there \
             are shown as if they still existed"
        ))?;
    }
    let is_asked = until != BootTime(u64::MAX);
    if is_asked && past.time < until && !run.problems().is_empty() {
        let clock = past.header.clock();
        say(format_args!(
            "inotify-trace: --at is {}, and nothing after {} can be read: shown as it was then",
            clock.local(until),
            clock.local(past.time),
        ))?;
    }
    Ok(())
}

fn until_then<A: Audience<Error = Infallible> + Default>(
    run: &mut Replay,
    until: BootTime,
    memory: &Memory,
) -> (Past, A) {
    let header = run.header().clone();
    let progress = Progress::new(run.size(), false);
    let mut story = Story::without_verdicts(header.started).within(memory.ceiling());
    let mut audience = (Counted::default(), A::default());
    let Ok(()) =
        Until::new(run, until).run(&mut story, &mut audience, |position| progress.at(position));
    let (counted, told) = audience;
    let time = story.now();
    let during = time.since(header.started);
    let (tracker, changes) = (story.into_tracker(), counted.changes);
    let name = header.host.clone();
    (Past { header, name, tracker, time, changes, during, is_one_of_several: false }, told)
}
