//! `inotify-trace limits`: use of the limits, and recommended values.

mod apply;
mod made;
mod print;
mod watch;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;

use self::{
    apply::apply,
    made::{look_back, report},
    print::{print, print_past},
    watch::watch,
};
use super::{
    EXIT_ERROR,
    agent::AgentArgs,
    choice::one_of,
    format::{CsvArgs, TextJsonOrCsv},
    list,
    memory::Memory,
    past::PastArgs,
    plugin::PluginArgs,
    session::event_loop,
    units::{self, interval, positive_duration},
};
use crate::{
    kernel::Backend,
    output::{LimitsReport, Patient},
};

/// Exit code if a user has used `--warn` percent of a limit or more.
const EXIT_OVER: u8 = 1;

/// Default of `--warn`, in percent of a limit.
const WARN: u32 = 80;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    /// Trace for this long, or until Ctrl-C, and show how fast the use of the limits grows
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = positive_duration, conflicts_with_all = ["recordings", "agent"])]
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
    memory: Memory,
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
        let is_damaged = args.past.each(&args.memory, |past, ()| {
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
