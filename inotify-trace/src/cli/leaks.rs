//! `inotify-trace leaks`: leaked instances and their holders.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    time::Duration,
};

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
    agent::AgentArgs,
    choice::one_of,
    format::TextOrJson,
    memory::Memory,
    past::{Past, PastArgs},
    say::say,
    session::{self, event_loop},
    units::{self, duration, positive_duration},
};
use crate::{
    export,
    feed::{Live, Options, Session},
    host::{self, privileges::Later},
    kernel::{Backend, Settings},
    output::{Json, Patient, Screen, reader_has_left, words},
};

/// Exit code if there are leaks.
const EXIT_LEAK: u8 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    /// Report leaks as they happen, until Ctrl-C or for this long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = positive_duration, conflicts_with_all = ["recordings", "agent"])]
    watch: Option<Option<Duration>>,
    /// With --watch: time after which an instance whose watched containers or cgroups are gone counts
    /// as leaked
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    grace: Duration,
    /// Time after which an instance without watches is noted
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    idle: Duration,
    /// Time for which instances, or equal processes with some, must become more before that counts as
    /// a leak
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = positive_duration)]
    growth_span: Duration,
    /// Without --watch: time to observe instances that look leaked, since those of a container that
    /// is just ending look the same. With --recording: time for which they must have looked leaked
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    settle: Duration,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextOrJson,
    /// Backend that hooks inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND")]
    backend: Option<Backend>,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace leaks                   leaks that exist now
  sudo inotify-trace leaks --watch           these and later leaks, until Ctrl-C
  inotify-trace leaks --recording night.itrec    leaks at the end of a recording
  sudo inotify-trace leaks --watch 10m -o json    leaks within ten minutes, as JSON

Exit code: 0 if there are no leaks, 1 if there are, 2 if the command failed or if a recording is
damaged.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    if args.past.is_given() {
        return look_back(args);
    }
    event_loop()?.block_on(async {
        match args.watch {
            Some(duration) => watch(args, duration).await,
            None => look(args).await,
        }
    })
}

/// Reports the leaks that exist now.
async fn look(args: &Args) -> anyhow::Result<ExitCode> {
    let is_fit = args.backend.is_none() && args.host.is_default();
    if let Some(known) = args.agent.state(is_fit)? {
        let grace = Grace { target: args.settle, ..args.grace() };
        let say = Say::once(args.output, known.header.clock());
        return Ok(exit_code(tell(say, &known.tracker, known.now, &grace)?));
    }
    let (story, grace) = observe(|| args.options(), args.settle).await?;
    let say = Say::once(args.output, host::clock());
    Ok(exit_code(tell(say, story.tracker(), story.now(), &grace)?))
}

/// What exists now, and the time for which whatever looks leaked has done so.
pub(super) async fn observe(
    options: impl Fn() -> Options,
    settle: Duration,
) -> anyhow::Result<(Story, Grace)> {
    // One snapshot is enough for most machines: nothing looks leaked.
    let mut story = Story::without_verdicts(host::now()).within(None);
    let survey = Options { later: Later::Attach, ..options() };
    let survey = Live::survey(survey)?;
    session::warn_of_missing_capabilities()?;
    session::warn_of_left_out(survey.left_out)?;
    survey.tell(&mut story);
    let mut grace = Grace::at_once();
    if verdicts(story.tracker(), story.now(), &grace).iter().any(|it| it.kind.is_leak()) {
        // An instance that still looks leaked after the settling time is a leak. The session
        // follows it meanwhile: a second snapshot could not tell it from a new instance.
        let mut session = Session::new(Live::start(options())?);
        session.end_at(Instant::now() + settle);
        story = Story::without_verdicts(host::now()).within(None);
        session.run(&mut story, &mut (), |_, _, ()| Ok(())).await?;
        // The snapshot is older than the settling time.
        grace.target = settle;
    }
    Ok((story, grace))
}

/// Reports the leaks at a moment of recordings.
fn look_back(args: &Args) -> anyhow::Result<ExitCode> {
    let grace = Grace { target: args.settle, ..args.grace() };
    let mut has_leak = false;
    let is_damaged = args.past.each(&args.memory, |past, ()| {
        let mut say = Say::once(args.output, past.header.clock());
        if past.is_one_of_several {
            say.name(&past)?;
        }
        has_leak |= tell(say, &past.tracker, past.time, &grace)?;
        Ok(())
    })?;
    Ok(if is_damaged { ExitCode::from(EXIT_ERROR) } else { exit_code(has_leak) })
}

/// Prints the leaks at a moment, and returns whether there are any.
fn tell(mut say: Say, tracker: &Tracker, now: BootTime, grace: &Grace) -> anyhow::Result<bool> {
    let found = verdicts(tracker, now, grace);
    for verdict in &found {
        say.verdict(verdict, tracker, now)?;
    }
    if let (Said::Text(out, _), false) = (&mut say.format, say.has_leak) {
        let instances = words::instances(tracker.instances().count());
        if tracker.is_uncertain() {
            writeln!(
                out,
                "Leaks among {instances} are not known: frames of the recording are \
                 missing, and no later file tells the state. Give a moment before them with --at."
            )?;
        } else {
            writeln!(out, "No leak found among {instances}.")?;
        }
        out.flush()?;
    }
    Ok(say.has_leak)
}

/// Reports the leaks that exist now, and later ones as they happen.
async fn watch(args: &Args, duration: Option<Duration>) -> anyhow::Result<ExitCode> {
    let mut session = session::start(args.options(), duration)?;
    let grace = args.grace();
    let mut story = Story::new(host::now(), grace).within(args.memory.ceiling());
    let mut say = Say::new(args.output, host::clock(), Patient::stdout());
    let told = session
        .run(&mut story, &mut say, |session, story, _| {
            Ok(session::greet(session, story.tracker())?)
        })
        .await;
    if !reader_has_left() {
        told?;
        say.end(story.tracker())?;
    }
    Ok(exit_code(say.has_leak))
}

fn exit_code(has_leak: bool) -> ExitCode {
    if has_leak { ExitCode::from(EXIT_LEAK) } else { ExitCode::SUCCESS }
}

impl Args {
    fn grace(&self) -> Grace {
        Grace { target: self.grace, idle: self.idle, growth: self.growth_span }
    }

    fn options(&self) -> Options {
        let kernel = Settings { backend: self.backend, ..Settings::default() };
        let registry = self.host.registry();
        Options { kernel, registry, find_paths: true, ..Options::default() }
    }
}

/// Writes verdicts to standard output.
struct Say {
    format: Said,
    screen: Screen,
    /// Whether any verdict was a leak.
    has_leak: bool,
    /// The number of leaks that were told.
    leaks: usize,
}

enum Said {
    Text(BufWriter<Patient<io::Stdout>>, Clock),
    Json(Box<Json<BufWriter<Patient<io::Stdout>>>>),
}

impl Say {
    /// For an answer that is given once, with an exit code.
    fn once(format: TextOrJson, clock: Clock) -> Self {
        Self::new(format, clock, Patient::stdout_to_the_end())
    }

    fn new(format: TextOrJson, clock: Clock, out: Patient<io::Stdout>) -> Self {
        let out = BufWriter::new(out);
        let format = match format {
            TextOrJson::Text => Said::Text(out, clock),
            TextOrJson::Json => Said::Json(Box::new(Json::new(out, clock))),
        };
        Self { format, screen: Screen::of_stdout(), has_leak: false, leaks: 0 }
    }

    /// Tells on standard error what a run has found, also if that is nothing.
    fn end(&self, tracker: &Tracker) -> io::Result<()> {
        let open = tracker.instances().count();
        let leaks = self.leaks;
        let leaks = words::counted(leaks, "leak", "leaks");
        let are = if open == 1 { "is" } else { "are" };
        say(format_args!("\n{leaks} reported; {} {are} open.", words::instances(open)))
    }

    /// Names the machine: in a line before the others, or in each object.
    fn name(&mut self, past: &Past) -> io::Result<()> {
        match &mut self.format {
            Said::Text(out, _) => writeln!(out, "{}", past.heading()),
            Said::Json(lines) => {
                let out = BufWriter::new(Patient::stdout());
                **lines = Json::of_run(out, export::context(&past.header));
                Ok(())
            }
        }
    }
}

impl Audience for Say {
    type Error = io::Error;

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.has_leak |= verdict.kind.is_leak();
        self.leaks += usize::from(verdict.kind.is_leak());
        match &mut self.format {
            Said::Text(out, clock) => {
                let finding = Finding::of(verdict, tracker);
                write!(out, "{}", words::in_lines(&finding, clock, now, self.screen))?;
                out.flush()
            }
            Said::Json(lines) => {
                lines.verdict(verdict, tracker, now)?;
                lines.flush()
            }
        }
    }
}
