//! `inotify-trace leaks`: who leaks instances.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::ValueEnum;
use inotify_trace_model::{
    clock::Clock,
    event::BootTime,
    findings::Finding,
    story::{Audience, Story},
    tracker::Tracker,
    verdict::{Grace, Verdict, verdicts},
};
use tokio::time::Instant;

use super::{
    EXIT_ERROR,
    choice::one_of,
    past::{Past, PastArgs},
    session::{self, event_loop},
    units::{self, duration, positive_duration},
};
use crate::{
    feed::{Live, Options, Session},
    host,
    kernel::{Backend, Settings},
    output::{Json, words},
};

/// Exit code for leaks that were found.
const EXIT_LEAK: u8 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    /// Keep looking until Ctrl-C, or for this long, and tell of each leak when it is one
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = positive_duration, conflicts_with = "recordings")]
    watch: Option<Option<Duration>>,
    /// How long what has lost its purpose may stay open before it counts as leaked
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    grace: Duration,
    /// How long an instance may have no watch before it is worth a note
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    idle: Duration,
    /// Without --watch: how long to look again at what seems leaked, since a container that is just
    /// ending looks the same for a moment. With --recording: how long it must have been so
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    settle: Duration,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// How to hook inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND")]
    backend: Option<Backend>,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

/// How verdicts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines for each
    #[default]
    Text,
    /// One JSON object for each, a line each
    Json,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace leaks                   what is leaked already
  sudo inotify-trace leaks --watch           and what leaks from now on, until Ctrl-C
  inotify-trace leaks --recording night.itrec    what was leaked when recording ended
  sudo inotify-trace leaks --watch 10m -o json    for a check that may take ten minutes

Exit code: 0 if nothing is leaked, 1 if something is, 2 if it could not be looked.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(past) = args.past.load()? {
        return look_back(args, &past);
    }
    event_loop()?.block_on(async {
        match args.watch {
            Some(duration) => watch(args, duration).await,
            None => look(args).await,
        }
    })
}

/// What is leaked now.
async fn look(args: &Args) -> anyhow::Result<ExitCode> {
    // Most machines leak nothing, which one look shows.
    let mut story = Story::without_verdicts(host::now());
    let Ok(()) = story.take(Live::survey(args.options())?, &mut ());
    let at_once = Grace { target: Duration::ZERO, idle: Duration::MAX };
    let mut grace = at_once;
    if !verdicts(story.tracker(), story.now(), &at_once).is_empty() {
        // What is still there in a moment is. It is followed meanwhile, and not just found again.
        let mut session = Session::new(Live::start(args.options())?);
        session.end_at(Instant::now() + args.settle);
        story = Story::without_verdicts(host::now());
        session.run(&mut story, &mut (), |_, _, ()| Ok(())).await?;
        // Found at the start, some time before the settling was over.
        grace.target = args.settle;
    }
    tell(Say::new(args.output, host::clock()), story.tracker(), story.now(), &grace)
}

/// What was leaked at a moment of a recording.
fn look_back(args: &Args, past: &Past) -> anyhow::Result<ExitCode> {
    let grace = Grace { target: args.settle, idle: args.idle };
    let say = Say::new(args.output, past.header.clock());
    let code = tell(say, &past.tracker, past.time, &grace)?;
    Ok(if past.is_damaged { ExitCode::from(EXIT_ERROR) } else { code })
}

/// Says what is leaked at a moment.
fn tell(mut say: Say, tracker: &Tracker, now: BootTime, grace: &Grace) -> anyhow::Result<ExitCode> {
    let found = verdicts(tracker, now, grace);
    for verdict in &found {
        say.verdict(verdict, tracker, now)?;
    }
    if let (Said::Text(out, _), true) = (&mut say.format, found.is_empty()) {
        let instances = tracker.instances().count();
        writeln!(out, "No leak found among {instances} instances.")?;
    }
    Ok(exit_code(say.has_leak))
}

/// What leaks from now on, and what is leaked already.
async fn watch(args: &Args, duration: Option<Duration>) -> anyhow::Result<ExitCode> {
    let mut session = session::start(args.options(), duration)?;
    let grace = Grace { target: args.grace, idle: args.idle };
    let mut story = Story::new(host::now(), grace);
    let mut say = Say::new(args.output, host::clock());
    session
        .run(&mut story, &mut say, |session, story, _| {
            Ok(session::greet(session, story.tracker())?)
        })
        .await?;
    Ok(exit_code(say.has_leak))
}

fn exit_code(has_leak: bool) -> ExitCode {
    if has_leak { ExitCode::from(EXIT_LEAK) } else { ExitCode::SUCCESS }
}

impl Args {
    fn options(&self) -> Options {
        let kernel = Settings { backend: self.backend, ..Settings::default() };
        Options { kernel, registry: self.host.registry(), find_paths: false }
    }
}

/// Writes verdicts.
struct Say {
    format: Said,
    /// Whether one was of a leak.
    has_leak: bool,
}

enum Said {
    Text(io::Stdout, Clock),
    Json(Json<io::Stdout>),
}

impl Say {
    fn new(format: Format, clock: Clock) -> Self {
        let format = match format {
            Format::Text => Said::Text(io::stdout(), clock),
            Format::Json => Said::Json(Json::new(io::stdout(), clock)),
        };
        Self { format, has_leak: false }
    }
}

impl Audience for Say {
    type Error = io::Error;

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.has_leak |= verdict.kind.is_leak();
        match &mut self.format {
            Said::Text(out, clock) => {
                let finding = Finding::of(verdict, tracker);
                write!(out, "{}", words::in_lines(&finding, clock, now))?;
                out.flush()
            }
            Said::Json(lines) => {
                lines.verdict(verdict, tracker, now)?;
                lines.flush()
            }
        }
    }
}
