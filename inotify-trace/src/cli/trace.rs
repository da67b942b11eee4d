//! `inotify-trace trace`, the default: shows events as they happen.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use inotify_trace_model::{story::Story, verdict::Grace};

use super::{
    agent::Events,
    kernel::{KernelArgs, log_at},
    recorder::{Recording, refuse_existing},
    session::{self, event_loop},
    units::{self, positive_duration},
    view::ViewArgs,
};
use crate::{
    feed::Options,
    host::{self, privileges::Later},
    serve::protocol::SOCKET,
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(super::EXAMPLES, &[units::DURATION, units::SIZE]))]
pub(super) struct Args {
    #[command(flatten)]
    view: ViewArgs,
    /// End after this time, such as 90s or 1h
    #[arg(short, long, value_name = "DURATION", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Also record all events to this file, even those not shown, as `inotify-trace record` does
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show the events of the agent that `inotify-trace serve` runs, at this socket [default:
    /// /run/inotify-trace.sock], instead of loading kernel programs
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = SOCKET,
        conflicts_with_all = ["record", "backend", "walk_proc", "buffer"]
    )]
    agent: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: super::Host,
    /// Log more, also about the kernel programs; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_at(args.verbose);
    event_loop()?.block_on(trace(args))
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    let users = host::users();
    args.view.check_users(std::iter::once(&users))?;
    if let Some(path) = &args.record {
        refuse_existing(path)?;
    }
    if let Some(path) = &args.agent {
        let mut events = Events::of(path)?;
        let started = events.header.started;
        let mut story = Story::new(started, Grace::default()).within(args.kernel.memory.ceiling());
        let mut view = args.view.audience(events.header.clock(), users);
        events.run(args.duration, &mut story, &mut view).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let kernel = args.kernel.settings(args.verbose);
    // A recording has the paths of existing watches, which the trace shows only if asked to.
    let find_paths = args.record.is_some() || args.view.shows_found_watches();
    let later = if args.record.is_some() { Later::WriteFiles } else { Later::Nothing };
    let options = Options { kernel, registry: args.host.registry(), find_paths, later };
    let mut session = session::start(options, args.duration)?;
    let clock = host::clock();
    let story = Story::new(host::now(), Grace::default());
    let mut story = story.within(args.kernel.memory.ceiling());
    let recording = match &args.record {
        Some(path) => Some(Recording::of_one_file(path, &session, &args.host, &clock)?),
        None => None,
    };
    let mut audience = (args.view.audience(clock, users.clone()), recording);
    let told = session
        .run(&mut story, &mut audience, |session, story, _| {
            args.view.warn_of_missing(&users, story.tracker())?;
            Ok(session::greet(session, story.tracker())?)
        })
        .await;
    let (mut view, recording) = audience;
    // The recording gets its end even if the output failed.
    if let Some(recording) = recording {
        recording.finish()?;
    }
    told?;
    story.end(&mut view)?;
    Ok(ExitCode::SUCCESS)
}
