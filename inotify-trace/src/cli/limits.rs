//! `inotify-trace limits`: use of the limits, and recommended values.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use inotify_trace_model::{
    clock::Timestamps,
    event::{BootTime, Event},
    feed::Batch,
    story::{Audience, Story},
    tracker::{Tracker, User},
    usage,
};
use tokio::time::Instant;

use super::{
    EXIT_ERROR,
    agent::AgentArgs,
    choice::one_of,
    format::{CsvArgs, TextJsonOrCsv},
    list,
    past::{Past, PastArgs},
    plugin::PluginArgs,
    say::say,
    session::{self, event_loop},
    units::{self, interval, positive_duration},
};
use crate::{
    feed::Options,
    host::{self, procfs},
    kernel::{Backend, Settings},
    limits::{
        self, Changes, Counted, Pods, PodsFrom, Recommendation, Seen, apply::Plan, files::Root,
    },
    output::{LimitsReport, Numbers, Patient, Screen, UserNames, reader_has_left},
};

/// Exit code if a user has used `--warn` percent of a limit or more.
const EXIT_OVER: u8 = 1;

/// Default of `--warn`, in percent of a limit.
const WARN: u32 = 80;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    /// Trace for this long, or until Ctrl-C, and show how fast the use of the limits grows
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = positive_duration, conflicts_with = "recordings")]
    watch: Option<Option<Duration>>,
    /// With --watch: at this interval, too, show the use of the limits if it changed; with -o json
    /// the whole report
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = interval)]
    interval: Option<Duration>,
    /// Exit with 1 if a user has used this percentage of a limit or more [default: 80]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    warn: Option<u32>,
    /// Number of pods that the recommended values have room for [default: kubelet's maxPods, if
    /// there is a kubelet; of a recording with pods, kubelet's default]
    #[arg(long, value_name = "N")]
    pods: Option<u64>,
    /// Write the recommended values to the file shown, and set them now, after confirmation
    #[arg(long, conflicts_with_all = ["watch", "recordings"])]
    apply: bool,
    /// With --apply: do not ask for confirmation
    #[arg(short, long, requires = "apply")]
    yes: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextJsonOrCsv,
    #[command(flatten)]
    csv: CsvArgs,
    /// With --watch: backend that hooks inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND", requires = "watch", hide_short_help = true)]
    backend: Option<Backend>,
    /// Find existing instances through /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    #[command(flatten)]
    plugin: PluginArgs,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace limits                      use of the limits, and recommended values
  sudo inotify-trace limits --watch 1m           also the time until a limit is reached
  sudo inotify-trace limits --watch --interval 1m    also what changed, every minute, until Ctrl-C
  sudo inotify-trace limits --nagios             for Nagios and Icinga: one line; exit code 0 to 3
  sudo inotify-trace limits --warn 90 -o json    for monitoring: exit code 1 from 90% on
  sudo inotify-trace limits -o csv               users' use of the limits, for a spreadsheet
  inotify-trace limits --recording night.itrec --at 03:05    use of the limits at that moment
  sudo inotify-trace limits --pods 250 --apply   set the limits for a node of 250 pods

Exit code: 0; 1 if a user has used --warn percent or more; 2 if the command failed, if the users'
charges are unknown, or if a recording is damaged. With --apply 0 (done, or declined) or 2. With
--nagios and --node-problem-detector those of their contracts.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.apply && !args.yes && !io::stdin().is_terminal() {
        bail!(
            "--apply asks before it writes, and standard input is no terminal: add --yes to write \
             without being asked"
        );
    }
    let is_csv = args.output == TextJsonOrCsv::Csv;
    args.csv.check(is_csv)?;
    if is_csv && (args.apply || args.interval.is_some()) {
        bail!("-o csv is one table of users, which --apply and --interval are not: take -o json");
    }
    if let Some(code) = args.plugin.answer(|| look(args))? {
        return Ok(code);
    }
    args.host.locate()?;
    if args.watch.is_some() {
        return event_loop()?.block_on(watch(args));
    }
    if args.past.is_given() {
        let (mut is_over, mut is_first) = (false, true);
        let is_damaged = args.past.each(|past, ()| {
            let report = look_back(args, &past);
            is_over |= report.over().next().is_some();
            Ok(print_past(args, &report, &past, std::mem::take(&mut is_first))?)
        })?;
        return Ok(match (is_damaged, is_over) {
            (true, _) => ExitCode::from(EXIT_ERROR),
            (false, true) => ExitCode::from(EXIT_OVER),
            (false, false) => ExitCode::SUCCESS,
        });
    }
    let mut report = look(args)?;
    if args.apply { apply(args, &mut report) } else { show(args, &report) }
}

/// The report of now: the agent's, or else that of a look of its own.
fn look(args: &Args) -> anyhow::Result<LimitsReport> {
    args.host.locate()?;
    let is_fit = !args.walk_proc && args.host.is_default();
    let look = match args.agent.state(is_fit)? {
        Some(known) => list::Look::of_agent(known),
        None => list::look(false, args.walk_proc, &args.host.registry())?,
    };
    Ok(report(args, &look.tracker, look.is_told, None))
}

/// Traces, and reports at the end, or at each interval, how fast the use of the limits grows.
async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let kernel =
        Settings { backend: args.backend, walk_proc: args.walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: args.host.registry(), ..Options::default() };
    let mut session = session::start(options, None)?;
    let mut story = Story::without_verdicts(host::now());
    let mut reports =
        Reports { args, counted: Counted::default(), due: None, shown: None, code: None };
    let told = session
        .run(&mut story, &mut reports, |session, story, reports| {
            // Events count from here on, also those that happen while the greeting is written.
            let start = Instant::now();
            reports.due = reports.next();
            session::greet(session, story.tracker())?;
            if let Some(end) = args.watch.flatten().and_then(|it| start.checked_add(it)) {
                session.end_at(end);
            }
            Ok(())
        })
        .await;
    match told.and_then(|()| story.end(&mut reports)) {
        Err(_) if reader_has_left() => {}
        told => told?,
    }
    Ok(reports.code.unwrap_or(ExitCode::SUCCESS))
}

/// Counts instances and watches that are added and removed, and reports at the end or at each
/// interval.
struct Reports<'a> {
    args: &'a Args,
    counted: Counted,
    due: Option<BootTime>,
    /// The numbers that were shown last.
    shown: Option<Numbers>,
    /// The exit code of the last report.
    code: Option<ExitCode>,
}

impl Reports<'_> {
    fn next(&self) -> Option<BootTime> {
        let interval = u64::try_from(self.args.interval?.as_nanos()).ok()?;
        host::now().0.checked_add(interval).map(BootTime)
    }

    fn report(&mut self, tracker: &Tracker, now: BootTime) -> LimitsReport {
        let during = self.counted.since.map(|since| now.since(since)).unwrap_or_default();
        let report = report(self.args, tracker, true, Some((&self.counted.changes, during)));
        self.code = Some(exit_code(&report));
        report
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

    /// A report covers the time until it is made, not until it was due. If the agent had not been
    /// scheduled for a while, the time it was due would count without the events in it.
    ///
    /// People see the users' numbers, if these changed; programs the whole report.
    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        let report = self.report(tracker, now);
        self.due = self.next();
        if self.args.output == TextJsonOrCsv::Json {
            return Ok(print(self.args, &report, Patient::stdout())?);
        }
        let numbers = report.numbers();
        if self.shown.as_ref() != Some(&numbers) {
            self.shown = Some(numbers);
            let mut out = BufWriter::new(Patient::stdout());
            let mut time = String::new();
            host::clock().write(&mut time, now, Timestamps::Time);
            writeln!(out, "{time}")?;
            report.write_users(&mut out, Screen::of_stdout())?;
            writeln!(out)?;
            out.flush()?;
        }
        Ok(())
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
        let report = self.report(tracker, now);
        Ok(print(self.args, &report, Patient::stdout())?)
    }
}

/// The whole report; `is_known` is whether the kernel's charges are known.
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
    let most = changes.map(|(changes, _)| changes.most()).unwrap_or_default();
    let pods = limits::kubelet::pods(&root);
    let recommendation = recommend(args, pods, &Seen::by(tracker).at_most(most), &settings);
    notes.extend(futile(&root));
    let plan = Plan::new(&root, &recommendation).map_err(|error| notes.push(error.to_string()));
    // With --apply, these go to standard error before anything is written.
    if let Ok(plan) = &plan
        && !(args.apply && args.output == TextJsonOrCsv::Text)
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
    let rates = changes.map(|(changes, during)| changes.rates(tracker, during));
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

/// The report of a moment of a recording, without a plan: settings are applied on the machine
/// itself.
fn look_back(args: &Args, past: &Past) -> LimitsReport {
    let settings = past.header.sysctls.settings();
    let seen = Seen::by(&past.tracker).at_most(past.changes.most());
    let recommendation = recommend(args, None, &seen, &settings);
    LimitsReport {
        names: UserNames::from_map(past.header.users.clone()),
        standings: Some(usage::standings(&past.tracker)),
        rates: Some(past.changes.rates(&past.tracker, past.during)),
        notes: lost(&past.changes).into_iter().chain(assumed_pods(&recommendation)).collect(),
        recommendation,
        settings,
        plan: None,
        warn: args.warn.unwrap_or(WARN),
        own_namespace: None,
        done: None,
    }
}

/// The note on a number of pods that the machine itself may know better than its recording.
fn assumed_pods(recommendation: &Recommendation) -> Option<String> {
    let Pods { count, from } = recommendation.instances.pods?;
    (from == PodsFrom::Default).then(|| {
        format!(
            "a recording does not have kubelet's maxPods, so {count} pods are reckoned with: if \
             that machine takes another number, give it with --pods."
        )
    })
}

/// `pods` are those of the machine, if it has a kubelet.
fn recommend(
    args: &Args,
    pods: Option<Pods>,
    seen: &Seen,
    settings: &[limits::Setting],
) -> Recommendation {
    let floor = |sysctl| {
        let setting = settings.iter().find(|setting| setting.sysctl == sysctl);
        setting.map(limits::Setting::floor).unwrap_or_default()
    };
    let floors = [limits::Sysctl::Instances, limits::Sysctl::Watches].map(floor);
    let asked = args.pods.map(|count| Pods { count, from: PodsFrom::Asked });
    limits::recommend(seen, asked.or(pods), floors)
}

/// The note on lines that are meant for inotify and have no effect.
fn futile(root: &Root) -> Option<String> {
    let lines = root.futile_lines();
    let (file, line) = lines.first()?;
    let more = match lines.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{}:{line}{more}: no effect; limits.conf(5) has no limit of inotify's, which are sysctls.",
        file.display()
    ))
}

/// The note on rates if events were lost.
fn lost(changes: &Changes) -> Option<String> {
    let lost = changes.lost();
    (lost > 0).then(|| format!("{lost} events were lost: rates may be higher than told."))
}

/// Shows a report; the exit code is 1 if a user is too close to a limit.
fn show(args: &Args, report: &LimitsReport) -> anyhow::Result<ExitCode> {
    print(args, report, Patient::stdout_to_the_end())?;
    if report.standings.is_none() {
        bail!(
            "whether a limit is near cannot be answered: the users' charges are not known; run it \
             with sudo, on the machine itself"
        );
    }
    Ok(exit_code(report))
}

fn exit_code(report: &LimitsReport) -> ExitCode {
    if report.over().next().is_none() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_OVER) }
}

/// Prints the report of a recorded machine, with its name and the moment.
fn print_past(args: &Args, report: &LimitsReport, past: &Past, is_first: bool) -> io::Result<()> {
    let mut out = BufWriter::new(Patient::stdout_to_the_end());
    match args.output {
        TextJsonOrCsv::Json => {
            let mut object = report.json();
            past.name_in(&mut object);
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
        }
        TextJsonOrCsv::Csv => {
            let node = past.is_one_of_several.then_some(past.name.as_str());
            let formulas = args.csv.formulas();
            report.write_csv(&mut out, node, is_first, formulas)?;
        }
        TextJsonOrCsv::Text => {
            if past.is_one_of_several {
                writeln!(out, "{}\n", past.heading())?;
            }
            report.write(&mut out, Screen::of_stdout())?;
            if past.is_one_of_several {
                writeln!(out)?;
            }
        }
    }
    out.flush()
}

fn print(args: &Args, report: &LimitsReport, out: Patient<io::Stdout>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match args.output {
        TextJsonOrCsv::Json => {
            serde_json::to_writer(&mut out, &report.json())?;
            writeln!(out)?;
        }
        TextJsonOrCsv::Csv => {
            report.write_csv(&mut out, None, true, args.csv.formulas())?;
        }
        TextJsonOrCsv::Text => report.write(&mut out, Screen::of_stdout())?,
    }
    out.flush()
}

/// Writes the recommended values, if the user agrees.
fn apply(args: &Args, report: &mut LimitsReport) -> anyhow::Result<ExitCode> {
    let root = Root::new(&args.host.root());
    let plan = Plan::new(&root, &report.recommendation)?;
    if args.output == TextJsonOrCsv::Text {
        print(args, report, Patient::stdout_to_the_end())?;
    }
    // JSON has these sentences too, but comes at the end; the user needs them before answering.
    for sentence in overruled(&plan, &plan.foreseen(&root)) {
        say(format_args!("inotify-trace: {sentence}"))?;
    }
    if !args.yes && !agreed(&plan)? {
        say(format_args!("Nothing was changed."))?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = plan.carry_out(&root).map_err(|error| {
        let error = anyhow::Error::from(error);
        // Half done: the file takes effect at the next boot, so say that it is written.
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
        TextJsonOrCsv::Json | TextJsonOrCsv::Csv => {
            print(args, report, Patient::stdout_to_the_end())?
        }
        TextJsonOrCsv::Text => report.write_done(&mut Patient::stdout_to_the_end())?,
    }
    if is_overruled {
        say(format_args!(
            "inotify-trace: the live values are set, but will not last: see the messages above"
        ))?;
        return Ok(ExitCode::from(EXIT_ERROR));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sentence for each setting outside the plan's file that overrides it; `settings` are those of
/// all files, the plan's included.
fn overruled(plan: &Plan, settings: &[limits::Setting]) -> Vec<String> {
    let file = plan.file.display();
    let sentence = |setting: &limits::Setting| {
        let key = setting.sysctl.key();
        let what = match &setting.configured.winner {
            Some(it) => format!("{} sets {key} to {}", it.place(), it.text),
            None => format!("a line `-{key}` takes {key} back"),
        };
        format!(
            "{what} after {file} is read, at the next boot or by `sysctl --system`: remove or \
             change that, or what is written to {file} has no effect."
        )
    };
    plan.overridden(settings).map(sentence).collect()
}

/// Asks the user on the terminal.
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
