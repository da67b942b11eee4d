//! `inotify-trace list`: what exists now.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;
use inotify_trace_model::{story::Story, tracker::Tracker, usage::By};

use super::{
    choice::{listed, one_of},
    past::PastArgs,
    recordings::exit_code,
    session::event_loop,
    units,
};
use crate::{
    feed::{self, Live, Options},
    host::{self, runtimes::Registry},
    kernel::{KernelError, Settings},
    output::{Column, Listing, UserNames},
};

/// Rows on a terminal, unless more are asked for.
const SCREEN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    /// What to group instances by
    #[arg(long, value_parser = one_of::<By>(), default_value = "process")]
    by: By,
    /// One row for each watch, with what it is on
    #[arg(long)]
    watches: bool,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only these columns, in this order
    #[arg(long, value_parser = one_of::<Column>(), value_name = "COLUMN", value_delimiter = ',', hide_possible_values = true, long_help = column_help())]
    columns: Vec<Column>,
    /// Sort by this column: counts with most first, names by the alphabet [default: instances]
    #[arg(long, value_parser = one_of::<Column>(), value_name = "COLUMN", hide_possible_values = true)]
    sort: Option<Column>,
    /// No line with the columns' names, and no totals
    #[arg(long)]
    no_headers: bool,
    /// Only so many rows [default on a terminal: 20]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Every row, on a terminal too
    #[arg(short, long, conflicts_with = "top")]
    all: bool,
    /// Look in /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    host: super::Host,
}

/// How a listing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// The same with more columns
    Wide,
    /// One JSON object
    Json,
    /// Comma-separated values
    Csv,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace list                        which processes use inotify instances
  sudo inotify-trace list --by container         which containers
  sudo inotify-trace list --by user              how close everyone is to the limit
  sudo inotify-trace list --watches              and what they watch
  inotify-trace list --recording night.itrec --at 03:05    who did, at five past three
  sudo inotify-trace list -o json | jq '.rows[] | select(.instances > 10)'";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // JSON tells of targets only if asked to; looking for them takes time.
    let (tracker, is_told, names, is_damaged) = match args.past.load()? {
        Some(past) => {
            (past.tracker, true, UserNames::from_map(past.header.users.clone()), past.is_damaged)
        }
        None => {
            let (tracker, is_told) = look(args.watches, args.walk_proc, &args.host.registry())?;
            (tracker, is_told, UserNames::from_map(host::users()), false)
        }
    };
    let mut listing = Listing::new(&tracker, args.by, names);
    if let Some(column) = args.sort {
        listing.sort(column);
    }
    let stdout = io::stdout();
    let most = match args.top {
        Some(most) => most,
        None if args.all || args.output == Format::Json || !stdout.is_terminal() => usize::MAX,
        None => SCREEN,
    };
    let dropped = listing.cut(most);
    let mut out = BufWriter::new(stdout.lock());
    let columns = match args.columns.as_slice() {
        [] => listing.columns(args.output != Format::Table, args.watches),
        chosen => chosen.to_vec(),
    };
    match args.output {
        Format::Json => {
            serde_json::to_writer(&mut out, &listing.json(args.watches, is_told))?;
            writeln!(out)?;
        }
        Format::Csv => {
            let names: Vec<_> = columns.iter().map(|column| column.field()).collect();
            let names = (!args.no_headers).then_some(names.as_slice());
            listing.table(&columns, args.watches).write_csv(&mut out, names)?;
        }
        Format::Table | Format::Wide => {
            listing.table(&columns, args.watches).write_aligned(&mut out, !args.no_headers)?;
            if !args.no_headers {
                if dropped > 0 {
                    writeln!(out, "... and {dropped} more (--all shows them)")?;
                }
                writeln!(out, "\n{}", listing.summary())?;
            }
        }
    }
    out.flush()?;
    Ok(exit_code(is_damaged))
}

/// What exists now: as the kernel tells it, or else, and only as much of it, as /proc does; and
/// whether the kernel told.
pub(super) fn look(
    find_paths: bool,
    walk_proc: bool,
    registry: &Registry,
) -> anyhow::Result<(Tracker, bool)> {
    let event_loop = event_loop()?;
    let _inside = event_loop.enter();
    let kernel = Settings { walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: registry.clone(), find_paths };
    let (found, is_told) = match Live::survey(options) {
        Ok(found) => (found, true),
        Err(error) => {
            let survey = feed::survey(find_paths, registry);
            warn(&error, survey.hidden)?;
            (survey.found, false)
        }
    };
    let mut story = Story::without_verdicts(host::now());
    let Ok(()) = story.take(found, &mut ());
    Ok((story.into_tracker(), is_told))
}

/// Says on standard error what is missing.
fn warn(error: &KernelError, hidden: usize) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "inotify-trace: the kernel was not asked: {error}")?;
    writeln!(err, "Who is charged, and how much against which limit, is therefore not known.")?;
    if hidden > 0 {
        writeln!(err, "{hidden} processes of others may not be looked at, and are left out.")?;
    }
    Ok(())
}

/// Every column with what it means.
fn column_help() -> String {
    let columns = listed::<Column>(13, |_| " ");
    format!("Only these columns, in this order, with commas between them:{columns}")
}
