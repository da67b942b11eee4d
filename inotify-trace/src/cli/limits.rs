//! `inotify-trace limits`: how close everyone is, and what the limits should be.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::ValueEnum;
use inotify_trace_model::{
    event::{BootTime, Event},
    feed::Batch,
    story::{Audience, Story},
    tracker::{Tracker, User},
    usage,
};
use tokio::time::Instant;

use super::{
    EXIT_ERROR,
    choice::one_of,
    list,
    past::{Past, PastArgs},
    session::{self, event_loop},
    units::{self, interval, positive_duration},
};
use crate::{
    feed::Options,
    host::{self, procfs},
    kernel::{Backend, Settings},
    limits::{self, Changes, Counted, DEFAULT_PODS, Rate, Seen, apply::Plan, files::Root},
    output::{LimitsReport, UserNames},
};

/// Exit code for users who are too close to a limit.
const EXIT_OVER: u8 = 1;

/// The share of a limit from which on a user is too close to it, in percent.
const WARN: u32 = 80;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    /// Trace for this long, or until Ctrl-C, and tell how fast instances become more
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = positive_duration, conflicts_with = "recordings")]
    watch: Option<Option<Duration>>,
    /// With --watch: not only at the end, but this often
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = interval)]
    interval: Option<Duration>,
    /// Exit with 1 if anyone uses this share of a limit or more, in percent [default: 80]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    warn: Option<u32>,
    /// How many pods to make room for
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PODS)]
    pods: u64,
    /// Write the recommended values to the file shown, and set them now; asks before
    #[arg(long, conflicts_with_all = ["watch", "recordings"])]
    apply: bool,
    /// With --apply: do not ask
    #[arg(short, long, requires = "apply")]
    yes: bool,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// With --watch: how to hook inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND", requires = "watch", hide_short_help = true)]
    backend: Option<Backend>,
    /// Look in /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

/// How limits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables and sentences
    #[default]
    Table,
    /// One JSON object
    Json,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace limits                      who is how close, and what to set
  sudo inotify-trace limits --watch 1m           and how long it will last
  sudo inotify-trace limits --watch --interval 1m    the same every minute, until Ctrl-C
  sudo inotify-trace limits --warn 90 -o json    as a check: exit code 1 from 90% on
  inotify-trace limits --recording night.itrec --at 03:05    who was how close, at five past three
  sudo inotify-trace limits --pods 250 --apply   set them for a node of 250 pods

Exit code: 0; 1 if anyone is at or above --warn; 2 if something failed, also if --warn is given and
who is charged cannot be known. With --apply 0 (done, or declined) or 2.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.apply && !args.yes && !io::stdin().is_terminal() {
        bail!(
            "--apply asks before it writes, and standard input is no terminal: add --yes to write \
             without being asked"
        );
    }
    if args.watch.is_some() {
        return event_loop()?.block_on(watch(args));
    }
    if let Some(past) = args.past.load()? {
        let code = show(args, &look_back(args, &past))?;
        return Ok(if past.is_damaged { ExitCode::from(EXIT_ERROR) } else { code });
    }
    let (tracker, is_known) = list::look(false, args.walk_proc, &args.host.registry())?;
    let mut report = report(args, &tracker, is_known, None);
    if args.apply { apply(args, &mut report) } else { show(args, &report) }
}

/// Traces, and tells at the end, or every now and then, how fast instances become more.
async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel =
        Settings { backend: args.backend, walk_proc: args.walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: args.host.registry(), find_paths: false };
    let mut session = session::start(options, None)?;
    let mut story = Story::without_verdicts(host::now());
    let mut reports = Reports { args, counted: Counted::default(), due: None, code: None };
    session
        .run(&mut story, &mut reports, |session, story, reports| {
            // What comes from now on counts, also while the greeting is written.
            let start = Instant::now();
            reports.due = reports.next();
            session::greet(session, story.tracker())?;
            if let Some(end) = args.watch.flatten().and_then(|it| start.checked_add(it)) {
                session.end_at(end);
            }
            Ok(())
        })
        .await?;
    story.end(&mut reports)?;
    Ok(reports.code.unwrap_or(ExitCode::SUCCESS))
}

/// Counts what comes and goes, and reports at the end, or every now and then.
struct Reports<'a> {
    args: &'a Args,
    counted: Counted,
    due: Option<BootTime>,
    /// Whether anyone was too close to a limit, by the last report.
    code: Option<ExitCode>,
}

impl Reports<'_> {
    /// When to report next.
    fn next(&self) -> Option<BootTime> {
        let interval = u64::try_from(self.args.interval?.as_nanos()).ok()?;
        host::now().0.checked_add(interval).map(BootTime)
    }

    fn report(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        let during = self.counted.since.map(|since| now.since(since)).unwrap_or_default();
        let report = report(self.args, tracker, true, Some((&self.counted.changes, during)));
        self.code = Some(show(self.args, &report)?);
        Ok(())
    }
}

impl Audience for Reports<'_> {
    type Error = anyhow::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> anyhow::Result<()> {
        Ok(self.counted.event(event, tracker)?)
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> anyhow::Result<()> {
        Ok(self.counted.batch(batch, tracker)?)
    }

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// A report is about all that happened until it is made, and not until it was due: had the
    /// agent not been given the processor for a while, time would have passed and nothing have been
    /// counted.
    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        self.report(tracker, now)?;
        self.due = self.next();
        Ok(())
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        self.report(tracker, now)
    }
}

/// All there is to tell; `is_known` says whether the kernel told who is charged.
fn report(
    args: &Args,
    tracker: &Tracker,
    is_known: bool,
    changes: Option<(&Changes, Duration)>,
) -> LimitsReport {
    let root = Root::new(&args.host.root());
    let (sysctls, errors) = root.sysctls();
    let settings = sysctls.settings();
    let mut notes: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let recommendation = recommend(args, tracker, &settings);
    let plan = Plan::new(&root, &recommendation).map_err(|error| notes.push(error.to_string()));
    // Otherwise it is said on standard error, before anything is written.
    if let Ok(plan) = &plan
        && !(args.apply && args.output == Format::Table)
    {
        notes.extend(overruled(plan, &plan.foreseen(&root)));
    }
    if !is_known {
        notes.push(
            "without privileges (sudo) only what this user may see went into the \
             recommendation, which may therefore be too low."
                .to_owned(),
        );
    }
    let rates: Option<BTreeMap<User, Rate>> =
        changes.map(|(changes, during)| changes.rates(tracker, during));
    notes.extend(changes.and_then(|(changes, _)| lost(changes)));
    LimitsReport {
        names: UserNames::from_map(host::users()),
        standings: is_known.then(|| usage::standings(tracker)),
        rates,
        settings,
        recommendation,
        plan: plan.ok(),
        warn: args.warn.unwrap_or(WARN),
        own_namespace: procfs::own_user_namespace().filter(|&it| it != u64::from(User::INITIAL)),
        notes,
        done: None,
    }
}

/// All there was to tell at a moment of a recording. What is written on that machine, or not, is
/// to be decided there.
fn look_back(args: &Args, past: &Past) -> LimitsReport {
    let settings = past.header.sysctls.settings();
    LimitsReport {
        names: UserNames::from_map(past.header.users.clone()),
        standings: Some(usage::standings(&past.tracker)),
        rates: Some(past.changes.rates(&past.tracker, past.during)),
        recommendation: recommend(args, &past.tracker, &settings),
        settings,
        plan: None,
        warn: args.warn.unwrap_or(WARN),
        own_namespace: None,
        notes: lost(&past.changes).into_iter().collect(),
        done: None,
    }
}

fn recommend(
    args: &Args,
    tracker: &Tracker,
    settings: &[limits::Setting],
) -> limits::Recommendation {
    let floor = |sysctl| {
        let setting = settings.iter().find(|setting| setting.sysctl == sysctl);
        setting.map_or(0, limits::Setting::floor)
    };
    let floors = (floor(limits::Sysctl::Instances), floor(limits::Sysctl::Watches));
    limits::recommend(&Seen::by(tracker), args.pods, floors)
}

/// What losses mean for rates.
fn lost(changes: &Changes) -> Option<String> {
    let lost = changes.lost();
    (lost > 0).then(|| format!("{lost} events were lost: rates may be higher than told."))
}

/// Shows a report; the exit code says whether anyone is too close to a limit.
fn show(args: &Args, report: &LimitsReport) -> anyhow::Result<ExitCode> {
    print(args, report)?;
    if report.standings.is_none() && args.warn.is_some() {
        bail!("--warn cannot be answered: who is charged how much is not known; run it with sudo");
    }
    Ok(if report.over().next().is_none() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_OVER) })
}

fn print(args: &Args, report: &LimitsReport) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Format::Json => {
            serde_json::to_writer(&mut out, &report.json())?;
            writeln!(out)?;
        }
        Format::Table => report.write(&mut out)?,
    }
    out.flush()
}

/// Writes what is recommended, if the user agrees.
fn apply(args: &Args, report: &mut LimitsReport) -> anyhow::Result<ExitCode> {
    let root = Root::new(&args.host.root());
    let plan = Plan::new(&root, &report.recommendation)?;
    if args.output == Format::Table {
        print(args, report)?;
    }
    // JSON has it too, and comes at the end: whoever answers, or may still press Ctrl-C, is to
    // know before.
    for sentence in overruled(&plan, &plan.foreseen(&root)) {
        writeln!(io::stderr().lock(), "inotify-trace: {sentence}")?;
    }
    if !args.yes && !agreed(&plan)? {
        writeln!(io::stderr().lock(), "Nothing was changed.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = plan.carry_out(&root).map_err(|error| {
        let error = anyhow::Error::from(error);
        // Half of it is done: that must not come as a surprise at the next boot.
        if plan.is_file_written() {
            error.context(format!("{} is written, but not all is set now", plan.file.display()))
        } else {
            error
        }
    })?;
    let is_overruled = plan.overridden(&done.settings).next().is_some();
    report.settings.clone_from(&done.settings);
    report.done = Some(done);
    match args.output {
        Format::Json => print(args, report)?,
        Format::Table => report.write_done(&mut io::stdout().lock())?,
    }
    if is_overruled {
        let mut err = io::stderr().lock();
        writeln!(
            err,
            "inotify-trace: the live values are set, but will not last: see what was said before"
        )?;
        return Ok(ExitCode::from(EXIT_ERROR));
    }
    Ok(ExitCode::SUCCESS)
}

/// What keeps a plan's settings from lasting, given how all files together stand with it.
fn overruled(plan: &Plan, settings: &[limits::Setting]) -> Vec<String> {
    let file = plan.file.display();
    let sentence = |setting: &limits::Setting| {
        let key = setting.sysctl.key();
        let what = match &setting.configured.winner {
            Some(it) => format!("{}:{} sets {key} to {}", it.file.display(), it.line, it.text),
            None => format!("a line `-{key}` takes {key} back"),
        };
        format!(
            "{what} after {file} is read, at the next boot or by `sysctl --system`: remove or \
             change that, or what is written to {file} has no effect."
        )
    };
    plan.overridden(settings).map(sentence).collect()
}

/// Asks on the terminal.
fn agreed(plan: &Plan) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    let values: Vec<_> =
        plan.values.iter().map(|(sysctl, value)| format!("{} = {value}", sysctl.key())).collect();
    write!(err, "\nWrite {} and set {} now? [y/N] ", plan.file.display(), values.join(" and "))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
