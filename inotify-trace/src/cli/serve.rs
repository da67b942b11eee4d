//! `inotify-trace serve`: the agent that watches all the time.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use inotify_trace_model::{story::Story, verdict::Grace};

use super::{
    Host,
    kernel::{KernelArgs, log_at},
    say::say,
    session::{self, event_loop},
    units,
};
use crate::{
    feed::{Options, Wake},
    host::{self, privileges::Later},
    serve::{Listen, Shared, http, metrics::Metrics},
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::SIZE]))]
pub(super) struct Args {
    /// Where to serve metrics and health by HTTP: an address and a port, unix:PATH, or fd://N for a
    /// socket that systemd passes
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:20866")]
    listen: Listen,
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
  sudo inotify-trace serve                       metrics at http://127.0.0.1:20866/metrics
  sudo inotify-trace serve --listen 0.0.0.0:20866    for a Prometheus on another machine
  curl http://127.0.0.1:20866/readyz             whether it sees everything yet";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_at(args.verbose);
    event_loop()?.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.check()?;
    let (shared, mut asked) = Shared::new();
    let shared = Arc::new(shared);
    let listener =
        args.listen.open().with_context(|| format!("cannot listen at {}", args.listen))?;
    let place = listener.place(&args.listen);
    http::serve(listener, Arc::clone(&shared)).context("cannot start to serve HTTP")?;
    let kernel = args.kernel.settings(args.verbose);
    let registry = args.host.registry();
    let options = Options { kernel, registry, find_paths: false, later: Later::Nothing };
    let mut session = session::start(options, None)?;
    session.add(Box::new(move |context| {
        asked.poll_recv(context).map(|asked| asked.map_or(Wake::Ended, |()| Wake::Asked))
    }));
    let story = Story::new(host::now(), Grace::default());
    let mut story = story.within(args.kernel.memory.ceiling());
    let mut metrics = Metrics::new(Arc::clone(&shared));
    session
        .run(&mut story, &mut metrics, |session, story, _| {
            session::greet(session, story.tracker())?;
            say(format_args!("Metrics at {place}/metrics"))?;
            shared.set_unready(None);
            Ok(())
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
