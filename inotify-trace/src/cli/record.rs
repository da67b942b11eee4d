//! `inotify-trace record`: what happens, into files that are read later.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    Host,
    session::{Session, Wake, event_loop, instant},
    trace::{KernelArgs, log_at},
    units::{self, file_size, positive_duration, total_size},
};
use crate::{
    output::{Bytes, Clock},
    recording::{Batch, Header, Recorder, Rotation, Store},
    source::{self, Options},
    tracker::Tracker,
    verdict::{Grace, Watcher},
};

/// How long a batch may take to be on disk, unless it is said.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::SIZE]))]
pub(super) struct Args {
    /// Where to: a file that does not exist yet, or a directory, in which each run gets files of
    /// its own
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// End after this long, as in 90s or 1h
    #[arg(short, long, value_name = "DURATION", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Begin another file when one has this size, as in 64M; needs a directory
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    rotate_size: Option<u64>,
    /// Begin another file after this long, as in 1h or 30m; needs a directory
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    rotate_time: Option<Duration>,
    /// Keep only so many of this machine's files in the directory, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Keep only so much in the directory, as in 1G: the oldest of this machine's files go first.
    /// Without --rotate-size, a file has an eighth of it
    #[arg(long, value_name = "SIZE", value_parser = total_size)]
    max_total: Option<u64>,
    /// How long what happened may take to be on disk, as in 500ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive_duration)]
    flush: Duration,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: Host,
    /// Say more about what goes on, kernel programs included; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace record -o night.itrec       until Ctrl-C
  sudo inotify-trace record -o /var/lib/inotify-trace/ --rotate-time 1h --max-total 1G
                                                 for good, an hour a file, the oldest go
  inotify-trace replay night.itrec -x            what failed
  inotify-trace leaks --recording night.itrec    who leaked
  inotify-trace report night.itrec -o night.html    all of it as a page

What is recorded is on disk a second later, and survives kill -9 and a loss of power. A full disk
stops the recording, not the tracing: it goes on when there is room, and says what is missing.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_at(args.verbose);
    event_loop()?.block_on(record(args))
}

async fn record(args: &Args) -> anyhow::Result<ExitCode> {
    let rotation = Rotation {
        size: args.rotate_size,
        time: args.rotate_time,
        keep: args.keep.and_then(|keep| keep.try_into().ok()),
        max_total: args.max_total,
    };
    let store = Store::new(&args.output, rotation)?;
    if matches!(store, Store::File(_)) && rotation != Rotation::default() {
        bail!(
            "{} is to be one file, and --rotate-size, --rotate-time, --keep and --max-total are \
             about several: give a directory (a path with a slash at its end)",
            args.output.display()
        );
    }
    if let (Some(size), Some(total)) = (rotation.size, rotation.max_total)
        && size > total
    {
        bail!("--rotate-size {size} is more than --max-total {total}: no file could grow so large");
    }
    let kernel = args.kernel.settings(args.verbose);
    let options = Options { kernel, registry: args.host.registry(), find_paths: true };
    let mut session = Session::start(options, args.duration)?;
    let clock = Clock::of_this_machine();
    let mut recorder = recorder(store, args.flush, &session, &args.host, &clock)?;
    let (mut tracker, mut watcher) = (Tracker::new(), Watcher::new(Grace::default()));
    let mut leaks = 0;
    let mut events = Vec::new();
    session.live.next(&mut events).await?;
    let mut wake = Wake::Events;
    let mut has_greeted = false;
    loop {
        events.iter().for_each(|event| tracker.apply(event));
        let time = source::clock();
        let judged = watcher.is_due(time);
        if judged {
            let reached = watcher.reached(&tracker, time);
            leaks += reached.iter().filter(|verdict| verdict.kind.is_leak()).count();
        }
        if judged || !events.is_empty() {
            let batch = Batch { time, judged, events: std::mem::take(&mut events) };
            recorder.record(batch, &tracker);
        }
        if !has_greeted {
            session.greet(&tracker)?;
            has_greeted = true;
        }
        if wake == Wake::Ended {
            break;
        }
        match session.next(&mut events, watcher.due().map(instant)).await {
            Ok(next) => wake = next,
            Err(error) => {
                finish(recorder)?;
                return Err(error);
            }
        }
    }
    finish(recorder)?;
    if leaks > 0 {
        writeln!(
            io::stderr().lock(),
            "Verdicts: {leaks}. To see them: inotify-trace leaks --recording {}",
            args.output.display()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins to record into one file, or a directory.
pub(super) fn start(
    path: &Path,
    session: &Session,
    host: &Host,
    clock: &Clock,
) -> anyhow::Result<Recorder> {
    recorder(Store::new(path, Rotation::default())?, FLUSH, session, host, clock)
}

fn recorder(
    store: Store,
    flush: Duration,
    session: &Session,
    host: &Host,
    clock: &Clock,
) -> anyhow::Result<Recorder> {
    let mut header = Header::of_this_machine(&host.root(), clock, source::clock());
    header.backend = session.live.backend().map(|it| it.to_string()).unwrap_or_default();
    header.unseen = session.live.unseen().iter().map(ToString::to_string).collect();
    let say = Box::new(|message: &str| {
        // Nobody is left to tell where standard error is gone too.
        let _ = writeln!(io::stderr(), "inotify-trace: {message}");
    });
    Ok(Recorder::start(store, header, flush, say)?)
}

/// Ends a recording, and says what it has become.
pub(super) fn finish(recorder: Recorder) -> anyhow::Result<()> {
    let (totals, result) = recorder.finish(source::clock());
    let mut err = io::stderr().lock();
    writeln!(
        err,
        "Recorded {} event{} in {} file{} ({}).",
        totals.events,
        if totals.events == 1 { "" } else { "s" },
        totals.files,
        if totals.files == 1 { "" } else { "s" },
        Bytes(totals.bytes),
    )?;
    if totals.unrecorded > 0 {
        writeln!(err, "{} events could not be recorded, and are missing.", totals.unrecorded)?;
    }
    result.context("the end of the recording")
}
