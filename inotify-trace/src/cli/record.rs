//! `inotify-trace record`: writes all events to files.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use inotify_trace_model::{
    event::BootTime,
    story::{Audience, Story},
    tracker::Tracker,
    verdict::{Grace, Verdict},
};

use super::{
    Host,
    kernel::{KernelArgs, log_at},
    recorder::{Recording, refuse_existing},
    say::say,
    session::{self, event_loop},
    units::{self, file_size, positive_duration, total_size},
};
use crate::{
    feed::Options,
    host::{self, privileges::Later},
    recording::{Rotation, Store},
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::SIZE]))]
pub(super) struct Args {
    /// File to write, which must not exist yet, or a directory, in which each run gets files of its
    /// own
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// End after this time, such as 90s or 1h
    #[arg(short, long, value_name = "DURATION", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Begin a new file at this size, such as 64M; needs a directory
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    rotate_size: Option<u64>,
    /// Begin a new file after this time, such as 1h or 30m; needs a directory
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    rotate_time: Option<Duration>,
    /// Keep only this many of this machine's files in the directory; the oldest are deleted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Keep this machine's files in the directory below this size together, such as 1G; the oldest
    /// are deleted. Without --rotate-size, a new file begins at an eighth of it
    #[arg(long, value_name = "SIZE", value_parser = total_size)]
    max_total: Option<u64>,
    /// Longest time from an event until it is on disk, such as 500ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive_duration)]
    flush: Duration,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: Host,
    /// Log more, also about the kernel programs; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace record -o night.itrec       until Ctrl-C
  sudo inotify-trace record -o /var/lib/inotify-trace/ --rotate-time 1h --max-total 1G
                                                 permanently, a file an hour, 1G at most
  inotify-trace replay night.itrec -x            show its failures
  inotify-trace leaks --recording night.itrec    show its leaks
  inotify-trace report night.itrec -o night.html    summarize it on a page

Each event is on disk within a second, and survives kill -9 and a power failure. While the disk is
full, events are counted but not written; recording continues when there is space, and the recording
says how many events it lacks. The machine is called by its host name, or by NODE_NAME if that is
set.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_at(args.verbose);
    event_loop()?.block_on(record(args))
}

async fn record(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    refuse_existing(&args.output)?;
    let rotation = Rotation {
        size: args.rotate_size,
        time: args.rotate_time,
        keep: args.keep.and_then(|keep| keep.try_into().ok()),
        max_total: args.max_total,
    };
    let store = Store::new(&args.output, rotation)?;
    if matches!(store, Store::File(_)) && rotation != Rotation::default() {
        bail!(
            "{} is a single file, but --rotate-size, --rotate-time, --keep and --max-total need a \
             directory: give a path with a slash at its end",
            args.output.display()
        );
    }
    if let (Some(size), Some(total)) = (rotation.size, rotation.max_total)
        && size > total
    {
        bail!("--rotate-size {size} is more than --max-total {total}: no file could grow so large");
    }
    let kernel = args.kernel.settings(args.verbose);
    let registry = args.host.registry();
    let options = Options { kernel, registry, find_paths: true, later: Later::WriteFiles };
    let mut session = session::start(options, args.duration)?;
    let clock = host::clock();
    let story = Story::new(host::now(), Grace::default());
    let mut story = story.within(args.kernel.memory.ceiling());
    let recording = Recording::start(store, args.flush, &session, &args.host, &clock)?;
    let mut audience = (recording, Leaks::default());
    let told = session
        .run(&mut story, &mut audience, |session, story, _| {
            Ok(session::greet(session, story.tracker())?)
        })
        .await;
    let (recording, Leaks(leaks)) = audience;
    recording.finish()?;
    told?;
    if leaks > 0 {
        say(format_args!(
            "Verdicts: {leaks}. To see them: inotify-trace leaks --recording {}",
            args.output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Leaks(usize);

impl Audience for Leaks {
    type Error = io::Error;

    fn verdict(&mut self, verdict: &Verdict, _: &Tracker, _: BootTime) -> io::Result<()> {
        self.0 += usize::from(verdict.kind.is_leak());
        Ok(())
    }
}
