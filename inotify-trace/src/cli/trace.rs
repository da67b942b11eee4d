//! `inotify-trace trace`, the default: what happens now.

use std::{
    io::{self, BufWriter, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use super::session::{Session, Wake, event_loop, instant, seconds};
use crate::{
    cgroup,
    event::{Event, EventName},
    kernel::{Backend, Settings},
    output::{Clock, Filter, Json, Sink, Text, Timestamps, Width},
    source::{self, Options},
    tracker::Tracker,
    verdict::{Grace, Watcher},
};
use clap::ValueEnum;

/// Bytes gathered before they are written, unless the source pauses.
const OUTPUT_BUFFER: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these processes
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// Only these effective user ids
    #[arg(short, long = "uid", value_name = "UID", value_delimiter = ',')]
    uids: Vec<u32>,
    /// Only these command names (at most 15 bytes, as the kernel keeps them)
    #[arg(short, long = "comm", value_name = "COMM", value_delimiter = ',')]
    comms: Vec<String>,
    /// Only this cgroup and those below it: a path from the root of the v2 hierarchy, or below
    /// its mount point
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Only these events [default: create, create-failed, watch, watch-failed, unwatch, close,
    /// release]
    #[arg(short, long = "event", value_name = "EVENT", value_delimiter = ',', hide_possible_values = true, long_help = event_help())]
    events: Vec<EventName>,
    /// Only failures
    #[arg(short = 'x', long)]
    failed: bool,
    /// End after this many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// How events are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// How points in time are written
    #[arg(long, value_enum, value_name = "FORM", default_value_t, num_args = 0..=1, default_missing_value = "iso")]
    timestamps: Timestamps,
    /// Never shorten paths or names to keep lines below 120 columns
    #[arg(short, long)]
    wide: bool,
    /// No line when instances turn out to be leaked
    #[arg(long)]
    no_verdicts: bool,
    /// How to hook inotify [default: the best that this kernel allows]
    #[arg(long, value_enum, value_name = "BACKEND")]
    backend: Option<Backend>,
    /// Look for what exists in /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    /// Size of the ring buffer between kernel and agent, as in 8M: larger survives longer storms
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = buffer_size)]
    buffer: u32,
    #[command(flatten)]
    host: super::Host,
    /// Say more about what goes on, kernel programs included; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One aligned line an event, below 120 columns
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let level = match args.verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Trace,
    };
    // aya passes on what the verifier says of the object's debug information, which is long and
    // of use to nobody but developers.
    let libraries =
        if args.verbose > 1 { log::LevelFilter::Debug } else { log::LevelFilter::Error };
    env_logger::Builder::new().filter_level(level).filter_module("aya", libraries).init();
    event_loop()?.block_on(trace(args))
}

async fn trace(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel = Settings {
        buffer: args.buffer,
        diagnostics: args.verbose > 0,
        backend: args.backend,
        walk_proc: args.walk_proc,
    };
    let options = Options { kernel, registry: args.host.registry(), find_paths: false };
    let mut session = Session::start(options, args.duration)?;
    let watcher = (!args.no_verdicts).then(|| Watcher::new(Grace::default()));
    let (filter, sink) = (args.filter(), args.sink());
    let mut run = Run { tracker: Tracker::new(), filter, watcher, sink };
    let mut events = Vec::new();
    session.live.next(&mut events).await?;
    run.take(&mut events)?;
    session.greet(&run.tracker)?;
    loop {
        let due = run.watcher.as_ref().and_then(Watcher::due);
        let wake = session.next(&mut events, due.map(instant)).await?;
        run.take(&mut events)?;
        if wake == Wake::Ended {
            run.sink.summarise(&run.tracker.summary())?;
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Where events go.
struct Run {
    tracker: Tracker,
    filter: Filter,
    /// None if verdicts are not wanted.
    watcher: Option<Watcher>,
    sink: Box<dyn Sink>,
}

impl Run {
    fn take(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let mut any = !events.is_empty();
        for event in events.drain(..) {
            self.tracker.apply(&event);
            if self.filter.shows(&event, &self.tracker) {
                self.sink.show(&event, &self.tracker)?;
            }
        }
        let now = source::clock();
        if let Some(watcher) = &mut self.watcher
            && watcher.is_due(now)
        {
            for verdict in watcher.reached(&self.tracker, now) {
                if verdict.kind.is_leak() && self.filter.shows_verdict(&verdict, &self.tracker) {
                    self.sink.judge(&verdict, &self.tracker, now)?;
                    any = true;
                }
            }
        }
        if any { self.sink.flush() } else { Ok(()) }
    }
}

impl Args {
    fn filter(&self) -> Filter {
        Filter {
            pids: self.pids.clone(),
            uids: self.uids.clone(),
            comms: self.comms.clone(),
            cgroup: self.cgroup.as_deref().map(from_root),
            events: self.events.clone(),
            failed: self.failed,
        }
    }

    fn sink(&self) -> Box<dyn Sink> {
        let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
        let clock = Clock::of_this_machine();
        match self.output {
            Format::Json => Box::new(Json::new(out, clock)),
            Format::Text => {
                let terminal = io::stdout().is_terminal();
                let width = match rustix::termios::tcgetwinsize(io::stdout()) {
                    _ if self.wide => Width::Unlimited,
                    Ok(size) => Width::Columns(usize::from(size.ws_col)),
                    Err(_) => Width::default(),
                };
                // https://no-color.org: any value but the empty one.
                let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                Box::new(Text::new(out, clock, self.timestamps, width, terminal && !plain))
            }
        }
    }
}

/// A cgroup's path from the root of the hierarchy, where it was given below the mount point.
fn from_root(path: &str) -> String {
    cgroup::mount_point()
        .and_then(|mount| path.strip_prefix(mount.to_str()?))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path)
        .to_owned()
}

/// A power of two, which ring buffers need, of at least a page.
fn buffer_size(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.trim_end_matches(['K', 'k', 'M', 'm']) {
        number if number.len() == text.len() => (number, 1),
        number if text.ends_with(['K', 'k']) => (number, 1 << 10),
        number => (number, 1 << 20),
    };
    number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|size| size.is_power_of_two() && (64 << 10..=1 << 30).contains(size))
        .ok_or_else(|| "must be a power of two from 64K to 1024M".to_owned())
}

/// Every event with what it means.
fn event_help() -> String {
    let mut help = "Only these events, with commas between them:".to_owned();
    for event in EventName::value_variants() {
        if let Some(value) = event.to_possible_value() {
            let shown = if event.is_shown_by_default() { "*" } else { " " };
            let meaning = value.get_help().map(ToString::to_string).unwrap_or_default();
            help.push_str(&format!("\n{shown} {:14} {meaning}", value.get_name()));
        }
    }
    help + "\nThose with * are shown by default; losses always are."
}
