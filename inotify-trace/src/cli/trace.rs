//! `inotify-trace trace`, the default: what happens now.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::{
    record,
    session::{Session, Wake, event_loop, instant},
    units::{self, buffer_size, positive_duration},
    view::{View, ViewArgs},
};
use crate::{
    event::Event,
    kernel::{Backend, Settings},
    output::Clock,
    recording::{Batch, Recorder},
    source::{self, Options},
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(super::EXAMPLES, &[units::DURATION, units::SIZE]))]
pub(super) struct Args {
    #[command(flatten)]
    view: ViewArgs,
    /// End after this long, as in 90s or 1h
    #[arg(short, long, value_name = "DURATION", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Record everything too, whatever is shown, as `inotify-trace record` does
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: super::Host,
    /// Say more about what goes on, kernel programs included; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// How to hook inotify.
#[derive(Debug, clap::Args)]
pub(super) struct KernelArgs {
    /// How to hook inotify [default: the best that this kernel allows]
    #[arg(long, value_enum, value_name = "BACKEND")]
    backend: Option<Backend>,
    /// Look for what exists in /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    /// Size of the ring buffer between kernel and agent, a power of two from 64K to 1G: larger
    /// survives longer storms
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = buffer_size)]
    buffer: u32,
}

impl KernelArgs {
    pub(super) fn settings(&self, verbose: u8) -> Settings {
        Settings {
            buffer: self.buffer,
            diagnostics: verbose > 0,
            backend: self.backend,
            walk_proc: self.walk_proc,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_at(args.verbose);
    event_loop()?.block_on(trace(args))
}

/// Says on standard error what goes on, as much as is asked for.
pub(super) fn log_at(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Trace,
    };
    // aya passes on what the verifier says of the object's debug information, which is long and
    // of use to nobody but developers.
    let libraries = if verbose > 1 { log::LevelFilter::Debug } else { log::LevelFilter::Error };
    env_logger::Builder::new().filter_level(level).filter_module("aya", libraries).init();
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel = args.kernel.settings(args.verbose);
    let options = Options { kernel, registry: args.host.registry(), find_paths: false };
    let mut session = Session::start(options, args.duration)?;
    let clock = Clock::of_this_machine();
    let mut recorder = match &args.record {
        Some(path) => Some(record::start(path, &session, &args.host, &clock)?),
        None => None,
    };
    let mut view = args.view.view(clock);
    let mut events = Vec::new();
    session.live.next(&mut events).await?;
    take(&mut events, &mut view, recorder.as_mut())?;
    session.greet(&view.tracker)?;
    let ended = loop {
        match session.next(&mut events, view.watcher.due().map(instant)).await {
            Ok(wake) => {
                let result = take(&mut events, &mut view, recorder.as_mut());
                if wake == Wake::Ended || result.is_err() {
                    break result;
                }
            }
            Err(error) => break Err(error),
        }
    };
    // Whatever went wrong with what is shown, the recording is to be whole.
    if let Some(recorder) = recorder {
        record::finish(recorder)?;
    }
    ended?;
    view.summarise()?;
    Ok(ExitCode::SUCCESS)
}

/// Takes in what has come.
fn take(
    events: &mut Vec<Event>,
    view: &mut View,
    recorder: Option<&mut Recorder>,
) -> anyhow::Result<()> {
    let mut any = !events.is_empty();
    let mut shown = Ok(());
    for event in &*events {
        match shown {
            Ok(()) => shown = view.event(event, true).map(drop),
            // The reader of our output is gone; the recording goes on to the end of the batch.
            Err(_) => view.tracker.apply(event),
        }
    }
    let time = source::clock();
    let judged = view.watcher.is_due(time);
    if judged && shown.is_ok() {
        match view.judge(time, true) {
            Ok(is_shown) => any |= is_shown,
            Err(error) => shown = Err(error),
        }
    }
    match recorder {
        Some(recorder) if judged || !events.is_empty() => {
            let batch = Batch { time, judged, events: std::mem::take(events) };
            recorder.record(batch, &view.tracker);
        }
        _ => events.clear(),
    }
    shown?;
    if any {
        view.flush()?;
    }
    Ok(())
}
