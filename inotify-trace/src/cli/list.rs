//! `inotify-trace list`: the instances and watches that exist now.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::bail;
use clap::ValueEnum;
use inotify_trace_model::{story::Story, tracker::Tracker, usage::By};

use super::{
    choice::{listed, one_of},
    kernel::log_at,
    past::PastArgs,
    recordings::exit_code,
    say::say,
    select::{SelectArgs, warn_of_unknown},
    session::{event_loop, warn_of_left_out, warn_of_missing_capabilities},
    units,
};
use crate::{
    feed::{self, Live, Options},
    host::{self, runtimes::Registry},
    kernel::{KernelError, Settings},
    output::{Column, Formulas, Listing, Patient, Rows, UserNames, Width},
};

/// Default of `--top` on a terminal.
const SCREEN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
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
    /// With csv, for a spreadsheet: put an apostrophe before texts that begin with =, +, -, @, a tab
    /// or a line end, since a spreadsheet would run them as formulas
    #[arg(long)]
    csv_safe: bool,
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
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
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
    if args.csv_safe && args.output != Format::Csv {
        bail!("--csv-safe is for -o csv");
    }
    args.host.check()?;
    // Watch targets take time to find, so JSON has them only with --watches.
    let (tracker, is_told, users, is_incomplete) = match args.past.load()? {
        Some(past) => (past.tracker, true, past.header.users, past.is_damaged),
        None => {
            let Look { tracker, is_told, is_elsewhere } =
                look(args.watches, args.walk_proc, &args.host.registry())?;
            (tracker, is_told, host::users(), is_elsewhere)
        }
    };
    args.select.check_users(std::iter::once(&users))?;
    let selection = args.select.selection(&users);
    warn_of_unknown(&selection, &tracker)?;
    let is_narrowed = !selection.is_everything();
    let mut listing = Listing::of(selection, &tracker, args.by, UserNames::from_map(users));
    if is_narrowed && listing.is_empty() {
        say(format_args!("inotify-trace: no instance matches the filter"))?;
    }
    args.hint_at_columns()?;
    if let Some(column) = args.sort {
        listing.sort(column);
    }
    let stdout = io::stdout();
    let most = match args.top {
        Some(most) => most,
        None if args.all || args.output == Format::Json || !stdout.is_terminal() => usize::MAX,
        None => SCREEN,
    };
    // Where watches are rows, they are counted, and not their holders.
    let has_rows_of_watches = args.watches && args.output != Format::Json;
    let mut dropped = if has_rows_of_watches { 0 } else { listing.cut(most) };
    let mut out = BufWriter::new(Patient::stdout_to_the_end());
    let columns = match args.columns.as_slice() {
        [] => listing.columns(args.output != Format::Table, args.watches),
        chosen => chosen.to_vec(),
    };
    let table = || {
        let mut table = listing.table(&columns, args.watches);
        let cut =
            table.rows.len().saturating_sub(if has_rows_of_watches { most } else { usize::MAX });
        table.rows.truncate(table.rows.len() - cut);
        (table, cut)
    };
    match args.output {
        Format::Json => {
            serde_json::to_writer(&mut out, &listing.json(args.watches, is_told))?;
            writeln!(out)?;
        }
        Format::Csv => {
            let names: Vec<_> = columns.iter().map(|column| column.field()).collect();
            let names = (!args.no_headers).then_some(names.as_slice());
            table().0.write_csv(&mut out, names, Formulas::quoted_if(args.csv_safe))?;
        }
        Format::Table | Format::Wide => {
            let (table, cut) = table();
            dropped += cut;
            let is_wide = args.output == Format::Wide;
            let width = if is_wide { Width::Unlimited } else { Width::of_stdout() };
            table.write_within(&mut out, !args.no_headers, width)?;
            if !args.no_headers {
                if dropped > 0 {
                    writeln!(out, "... and {dropped} more (--all shows them)")?;
                }
                writeln!(out, "\n{}", listing.summary())?;
            }
        }
    }
    out.flush()?;
    Ok(exit_code(is_incomplete))
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
    /// Whether it is only what a PID namespace shows.
    pub(super) is_elsewhere: bool,
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
    warn_of_left_out(survey.left_out)?;
    // What is asked for is the whole.
    let mut story = Story::without_verdicts(host::now()).within(None);
    let Ok(()) = story.take(survey.found, &mut ());
    Ok(Look { tracker: story.into_tracker(), is_told, is_elsewhere })
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
