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
    past::{Past, PastArgs},
    recordings::exit_code,
    say::say,
    session::{event_loop, warn_of_left_out, warn_of_missing_capabilities},
    units,
};
use crate::{
    feed::{self, Live, Options},
    host::{self, runtimes::Registry},
    kernel::{KernelError, Settings},
    output::{Cell, Column, Formulas, Listing, Table, UserNames, printable},
};

/// Default of `--top` on a terminal.
const SCREEN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME]))]
pub(super) struct Args {
    /// Group instances by this
    #[arg(long, value_parser = one_of::<By>(), default_value = "process")]
    by: By,
    /// Only what these processes hold
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
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
  inotify-trace list --recording night.itrec --at 03:05    the same at a moment of a recording
  sudo inotify-trace list -o json | jq '.rows[] | select(.instances > 10)'";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.csv_safe && args.output != Format::Csv {
        bail!("--csv-safe is for -o csv");
    }
    let mut shown = Shown::new(args);
    if args.past.is_given() {
        let is_damaged = args.past.each(|past| Ok(shown.add_past(&past)?))?;
        shown.finish()?;
        return Ok(exit_code(is_damaged));
    }
    // Watch targets take time to find, so JSON has them only with --watches.
    let seen = look(args.watches, args.walk_proc, &args.host.registry())?;
    shown.add(&seen.tracker, Told::of(&seen), UserNames::from_map(host::users()), None)?;
    shown.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// What is shown of one machine, or of several.
struct Shown<'a> {
    args: &'a Args,
    /// The most rows of each machine.
    most: usize,
    out: BufWriter<io::StdoutLock<'static>>,
    columns: Vec<Column>,
    parts: Vec<Part>,
    /// Lines after the table.
    totals: Vec<String>,
}

/// Where the rows of one machine come from.
struct Told {
    /// Whether from the kernel.
    by_kernel: bool,
    /// The number of watches that were not looked up for lack of time.
    left_out: usize,
}

impl Told {
    fn of(seen: &Seen) -> Self {
        Self { by_kernel: seen.is_told, left_out: seen.left_out }
    }
}

/// The rows of one machine.
struct Part {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// The machine's name, if there are several.
    node: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(args: &'a Args) -> Self {
        let stdout = io::stdout();
        let most = match args.top {
            Some(most) => most,
            None if args.all || args.output == Format::Json || !stdout.is_terminal() => usize::MAX,
            None => SCREEN,
        };
        let (columns, parts, totals) = (Vec::new(), Vec::new(), Vec::new());
        Self { args, most, out: BufWriter::new(stdout.lock()), columns, parts, totals }
    }

    fn add_past(&mut self, past: &Past) -> io::Result<()> {
        let names = UserNames::from_map(past.header.users.clone());
        self.add(&past.tracker, Told { by_kernel: true, left_out: 0 }, names, Some(past))
    }

    /// Adds a machine; JSON is written at once.
    fn add(
        &mut self,
        tracker: &Tracker,
        told: Told,
        names: UserNames,
        past: Option<&Past>,
    ) -> io::Result<()> {
        let args = self.args;
        let mut listing = Listing::new(tracker, args.by, names);
        if !args.pids.is_empty() {
            listing.only(&args.pids);
        }
        if let Some(column) = args.sort {
            listing.sort(column);
        }
        let dropped = listing.cut(self.most);
        if args.output == Format::Json {
            let mut object = listing.json(args.watches, told.by_kernel, told.left_out);
            if let Some(past) = past {
                past.name_in(&mut object);
            }
            serde_json::to_writer(&mut self.out, &object)?;
            return writeln!(self.out);
        }
        let columns = match args.columns.as_slice() {
            [] => listing.columns(args.output != Format::Table, args.watches),
            chosen => chosen.to_vec(),
        };
        for &column in &columns {
            if self.parts.is_empty() || !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
        let past = past.filter(|past| past.is_one_of_several);
        let node = past.map(|past| past.header.host.clone());
        let rows = listing.table(&columns, args.watches).rows;
        if dropped > 0 {
            let of = node.iter().map(|node| format!(" of {}", printable(node))).collect::<String>();
            self.totals.push(format!("... and {dropped} more{of} (--all shows them)"));
        }
        let summary = listing.summary();
        self.totals.push(match past {
            None => format!("\n{summary}"),
            Some(past) => format!("\n{}\n{summary}", past.heading()),
        });
        self.parts.push(Part { columns, rows, node });
        Ok(())
    }

    /// Writes the table.
    fn finish(mut self) -> io::Result<()> {
        let args = self.args;
        let is_named = self.parts.iter().any(|part| part.node.is_some());
        let mut rows = Vec::new();
        for Part { columns, rows: cells, node } in self.parts {
            let node = node.map(Cell::Text);
            rows.extend(cells.into_iter().map(|row| {
                let cell = |column| {
                    let at = columns.iter().position(|it| it == column);
                    at.and_then(|at| row.get(at).cloned()).unwrap_or(Cell::Missing)
                };
                node.iter().cloned().chain(self.columns.iter().map(cell)).collect()
            }));
        }
        let head = |node, name: fn(&Column) -> &'static str| {
            let node = is_named.then_some(node);
            node.into_iter().chain(self.columns.iter().map(name)).collect::<Vec<_>>()
        };
        let table = Table { columns: head("NODE", |it| it.name()), rows };
        match args.output {
            Format::Json => {}
            Format::Csv => {
                let names = head("node", |it| it.field());
                let names = (!args.no_headers).then_some(names.as_slice());
                table.write_csv(&mut self.out, names, Formulas::quoted_if(args.csv_safe))?;
            }
            Format::Table | Format::Wide => {
                table.write_aligned(&mut self.out, !args.no_headers)?;
                if !args.no_headers {
                    for line in &self.totals {
                        writeln!(self.out, "{line}")?;
                    }
                }
            }
        }
        self.out.flush()
    }
}

/// The instances and watches that exist.
pub(super) struct Seen {
    pub(super) tracker: Tracker,
    /// Whether they come from the kernel.
    pub(super) is_told: bool,
    /// The number of watches that were not looked up for lack of time.
    left_out: usize,
}

/// The instances and watches that exist now. Without the privileges to ask the kernel they come from
/// /proc, without charges.
pub(super) fn look(find_paths: bool, walk_proc: bool, registry: &Registry) -> anyhow::Result<Seen> {
    log_at(0);
    let event_loop = event_loop()?;
    let _inside = event_loop.enter();
    let kernel = Settings { walk_proc, ..Settings::default() };
    let options = Options { kernel, registry: registry.clone(), find_paths, ..Options::default() };
    let (survey, is_told) = match Live::survey(options) {
        Ok(survey) => {
            warn_of_missing_capabilities()?;
            (survey, true)
        }
        Err(error) => {
            let survey = feed::survey(find_paths, registry);
            warn(&error, survey.hidden)?;
            (survey, false)
        }
    };
    let left_out = survey.left_out;
    warn_of_left_out(left_out)?;
    // What is asked for is the whole.
    let mut story = Story::without_verdicts(host::now()).within(None);
    let Ok(()) = story.take(survey.found, &mut ());
    Ok(Seen { tracker: story.into_tracker(), is_told, left_out })
}

/// Prints to standard error which information is missing.
fn warn(error: &KernelError, hidden: usize) -> io::Result<()> {
    say(format_args!("inotify-trace: cannot ask the kernel: {error}"))?;
    say(format_args!("The listing has no users' charges and no limits."))?;
    if hidden > 0 {
        say(format_args!("{hidden} processes of other users are left out: no permission."))?;
    }
    Ok(())
}

fn column_help() -> String {
    let columns = listed::<Column>(13, |_| " ");
    format!("Only these columns, in this order, with commas between them:{columns}")
}
