//! `inotify-trace export`: recordings for other tools.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use inotify_trace_model::{story::Story, verdict::Grace};

use super::{
    destination::{self, Destination},
    format::CsvArgs,
    progress::Progress,
    range::RangeArgs,
    recordings::{Files, exit_code, open, tell_of},
    say::say,
    units,
};
#[cfg(feature = "parquet")]
use crate::export::{Parquet, Partitioned};
use crate::{
    export::{Csv, Existing, Exporter, Flat, JsonLines, Output, Perfetto},
    feed::Until,
    output::reader_has_left,
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    #[command(flatten)]
    recordings: Files,
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    range: RangeArgs,
    /// Format of the output [default: by the end of the file's name]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// With parquet: write a file for each node and hour (UTC) into the output directory, such as
    /// `node=n1/date=2026-01-31/hour=23/RUN-0000-0.parquet`
    #[arg(long)]
    partition: bool,
    #[command(flatten)]
    csv: CsvArgs,
}

const EXAMPLES: &str = "\
Examples:
  inotify-trace export night.itrec --format jsonl | jq .event    every event as a line of JSON
  inotify-trace export night.itrec --format csv -o night.csv
  inotify-trace export night.itrec --from 02:55 --to 03:10 -o ten-to-three.csv
  inotify-trace export night.itrec --format parquet -o night.parquet
  inotify-trace export n1/ n2/ --format parquet --partition -o fleet/
                                       one file per node and hour, for DuckDB, Spark, Trino
  inotify-trace export night.itrec --format perfetto -o night.pftrace
                                       for https://ui.perfetto.dev

All events are written, also those that `replay` hides by default. docs/export.md describes the
columns, docs/fleet.md has queries for many nodes. A file gets its name only when it is complete,
and replaces another with --force only.

Exit code: 0; 2 if a part of a recording is missing: damaged, a file of several, or the end after
kill -9. What can be read is written all the same.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The lines of `replay -o json`, for all events
    Jsonl,
    /// One row per event, after a row of column names
    Csv,
    /// One row per event, in typed, compressed columns
    Parquet,
    /// A Perfetto trace: counts, lifetimes of instances, failures and leaks over time
    Perfetto,
}

const FORMATS: &[(&str, Format)] = &[
    ("jsonl", Format::Jsonl),
    ("csv", Format::Csv),
    ("parquet", Format::Parquet),
    ("pftrace", Format::Perfetto),
];

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.destination.file()?;
    let format = match (args.format, path) {
        (Some(format), _) => format,
        (None, Some(path)) => destination::format_of(path, FORMATS)?,
        (None, None) => bail!("which format? Give it with --format: jsonl, csv, parquet, perfetto"),
    };
    if args.partition && format != Format::Parquet {
        bail!("--partition is for --format parquet");
    }
    args.csv.check(format == Format::Csv)?;
    let opened = open(&args.recordings.files)?;
    let mut is_damaged = !opened.problems.is_empty();
    let range = args.range.of(&opened.runs)?;
    let mut exporter = args.exporter(format, path)?;
    let output_is_on_terminal = path.is_none() && io::stdout().is_terminal();
    for mut run in opened.runs {
        if !range.has_part_of(&run) {
            continue;
        }
        let range = range.of_machine_with(&run.header().clock());
        let progress = Progress::new(run.size(), output_is_on_terminal);
        let mut story = Story::new(run.header().started, Grace::default())
            .within(args.recordings.memory.ceiling());
        let exported = exporter.begin(&range.header(run.header())).and_then(|()| {
            let mut audience = range.later(exporter.as_mut());
            let until = Until::new(&mut run, range.to);
            until.run(&mut story, &mut audience, |position| progress.at(position))?;
            story.end(&mut audience)
        });
        drop(progress);
        tell_of(&run)?;
        is_damaged |= !run.problems().is_empty();
        match exported {
            // The exit code still says what is damaged of that which was read.
            Err(_) if reader_has_left() => return Ok(exit_code(is_damaged)),
            exported => exported?,
        }
    }
    exporter.finish()?;
    if let Some(path) = path {
        say(format_args!("Written: {}", path.display()))?;
    }
    if is_damaged {
        say(format_args!(
            "inotify-trace: what could be read was exported; it is not all there was"
        ))?;
    }
    Ok(exit_code(is_damaged))
}

impl Args {
    fn exporter(&self, format: Format, path: Option<&Path>) -> anyhow::Result<Box<dyn Exporter>> {
        let existing = self.destination.existing();
        let output = || match path {
            Some(path) => Output::create(path, existing),
            None => Ok(Output::stdout()),
        };
        let path = || {
            path.context("parquet and perfetto are no text: say with -o into which file they go")
        };
        Ok(match format {
            Format::Jsonl => Box::new(JsonLines::new(output()?)),
            Format::Csv => Box::new(Flat::new(Box::new(Csv::new(output()?, self.csv.formulas())?))),
            Format::Parquet => self.parquet(path()?, existing)?,
            Format::Perfetto => Box::new(Perfetto::new(Output::create(path()?, existing)?)),
        })
    }

    #[cfg(feature = "parquet")]
    fn parquet(&self, path: &Path, existing: Existing) -> anyhow::Result<Box<dyn Exporter>> {
        Ok(Box::new(Flat::new(if self.partition {
            Box::new(Partitioned::create(path, existing)?)
        } else {
            Box::new(Parquet::create(path, existing)?)
        })))
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(&self, _: &Path, _: Existing) -> anyhow::Result<Box<dyn Exporter>> {
        bail!(
            "this inotify-trace was built without Parquet: build it with cargo's default features, \
             or with `--features parquet`; `--format csv` has the same columns"
        )
    }
}
