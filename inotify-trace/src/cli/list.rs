//! `inotify-trace list`: the instances and watches that exist now.

mod shown;

use std::{io, iter, process::ExitCode};

use clap::ValueEnum;
use inotify_trace_model::{story::Story, tracker::Tracker, usage::By};

use self::shown::Shown;
use super::{
    agent::{self, AgentArgs},
    choice::{listed, one_of},
    format::CsvArgs,
    kernel::log_at,
    memory::Memory,
    past::PastArgs,
    recordings::exit_code,
    say::say,
    select::SelectArgs,
    session::{event_loop, warn_of_left_out, warn_of_missing_capabilities},
    units,
};
use crate::{
    feed::{self, Live, Options},
    host::{self, runtimes::Registry},
    kernel::{KernelError, Settings},
    output::{Column, Rows},
};

/// Default of `--top` on a terminal.
const SCREEN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    /// Group instances by this
    #[arg(long, value_parser = one_of::<By>(), default_value = "process")]
    by: By,
    #[command(flatten)]
    select: SelectArgs,
    /// List each watch, with its path
    #[arg(long)]
    watches: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only these columns, in this order
    #[arg(long, value_parser = one_of::<Column>(), value_name = "COLUMN", value_delimiter = ',', hide_possible_values = true, long_help = column_help())]
    columns: Vec<Column>,
    /// Sort by this column: numbers descending, names in alphabetical order [default: instances]
    #[arg(long, value_parser = one_of::<Column>(), value_name = "COLUMN", hide_possible_values = true)]
    sort: Option<Column>,
    /// Omit the column names and the totals
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    csv: CsvArgs,
    /// Show at most this many rows [default on a terminal: 20]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Show all rows, on a terminal too
    #[arg(short, long, conflicts_with = "top")]
    all: bool,
    /// Find existing instances through /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
    #[value(alias = "text")]
    Table,
    /// Aligned columns, more of them
    Wide,
    /// One JSON object
    Json,
    /// Comma-separated values
    Csv,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace list                        processes that hold instances
  sudo inotify-trace list --by container         containers
  sudo inotify-trace list --by user              users, and their use of the limit
  sudo inotify-trace list --watches              watches with their paths
  sudo inotify-trace list --watches -p 4711      those of a process
  sudo inotify-trace list --pod shop-5d8f        what a pod, and the shim for it, hold
  inotify-trace list --recording night.itrec --at 03:05    the same at a moment of a recording
  sudo inotify-trace list -o json | jq '.rows[] | select(.instances > 10)'

Exit code: 0; 2 if the command failed, if a recording is damaged, or if this is a PID namespace, in
which only a part of the machine can be seen.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.csv.check(args.output == Format::Csv)?;
    if args.past.is_given() {
        let mut shown = Shown::new(args)?;
        let is_damaged = args.past.each(&args.memory, |past, ()| shown.add_past(&past))?;
        shown.finish()?;
        return Ok(exit_code(is_damaged));
    }
    args.host.locate()?;
    let users = host::users();
    args.select.check_users(iter::once(&users))?;
    // Watch targets take time to find, so JSON has them only with --watches.
    let is_fit = !args.walk_proc && args.host.is_default();
    let look = match args.agent.state(is_fit)? {
        Some(known) => Look::of_agent(known),
        None => look(args.watches, args.walk_proc, &args.host.registry())?,
    };
    let mut shown = Shown::new(args)?;
    shown.add(&look.tracker, look.is_told, look.left_out, users, None)?;
    shown.finish()?;
    Ok(exit_code(look.is_elsewhere))
}

impl Args {
    /// Tells which of the columns that were asked for have no values here.
    fn hint_at_columns(&self) -> io::Result<()> {
        for &column in self.columns.iter().chain(&self.sort) {
            let needed = match column.belongs_to() {
                Some(Rows::Watches) if !self.watches => "--watches",
                Some(Rows::Users) if self.by != By::User => "--by user",
                Some(Rows::Instances) if self.by != By::Instance => "--by instance",
                _ => continue,
            };
            let name = column.as_str();
            say(format_args!("inotify-trace: column {name} has values with {needed} only"))?;
        }
        Ok(())
    }
}

/// What was seen of this machine.
pub(super) struct Look {
    pub(super) tracker: Tracker,
    /// Whether it comes from the kernel.
    pub(super) is_told: bool,
    /// The number of watches that were not looked up for lack of time.
    left_out: usize,
    /// Whether it is only what a PID namespace shows.
    pub(super) is_elsewhere: bool,
}

impl Look {
    /// What the agent knows.
    pub(super) fn of_agent(known: agent::Known) -> Self {
        Self { tracker: known.tracker, is_told: true, left_out: 0, is_elsewhere: false }
    }
}

/// The instances and watches that exist now. Without the privileges to ask the kernel they come from
/// /proc, without charges.
pub(super) fn look(find_paths: bool, walk_proc: bool, registry: &Registry) -> anyhow::Result<Look> {
    log_at(0);
    let event_loop = event_loop()?;
    let _inside = event_loop.enter();
    let kernel = Settings { walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: registry.clone(), find_paths, ..Options::default() };
    let (survey, is_told, is_elsewhere) = match Live::survey(options) {
        Ok(survey) => {
            warn_of_missing_capabilities()?;
            (survey, true, false)
        }
        Err(error) => {
            let survey = feed::survey(find_paths, registry);
            warn(&error, survey.hidden)?;
            (survey, false, matches!(error, KernelError::PidNamespace))
        }
    };
    let left_out = survey.left_out;
    warn_of_left_out(left_out)?;
    // What is asked for is the whole.
    let mut story = Story::without_verdicts(host::now()).within(None);
    survey.tell(&mut story);
    Ok(Look { tracker: story.into_tracker(), is_told, left_out, is_elsewhere })
}

/// Prints to standard error which information is missing.
fn warn(error: &KernelError, hidden: usize) -> io::Result<()> {
    say(format_args!("inotify-trace: cannot ask the kernel: {error}"))?;
    say(format_args!("The listing has no users' charges and no limits."))?;
    if matches!(error, KernelError::PidNamespace) {
        say(format_args!(
            "It shows the processes of this namespace, and not those of the machine."
        ))?;
    }
    if hidden > 0 {
        say(format_args!("{hidden} processes of other users are left out: no permission."))?;
    }
    Ok(())
}

fn column_help() -> String {
    let columns = listed::<Column>(13, |_| " ");
    format!("Only these columns, in this order, with commas between them:{columns}")
}
