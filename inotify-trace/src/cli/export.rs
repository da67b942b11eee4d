//! `inotify-trace export`: recordings for other tools.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use inotify_trace_model::{story::Story, verdict::Grace};

use super::{
    progress::Progress,
    recordings::{Files, exit_code, open, tell},
    say::say,
    units,
};
#[cfg(feature = "parquet")]
use crate::export::{Parquet, Partitioned};
use crate::{
    export::{Csv, Exporter, Flat, JsonLines, Output, Perfetto},
    feed::Until,
    output::Formulas,
};

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::SIZE]))]
pub(super) struct Args {
    #[command(flatten)]
    recordings: Files,
    /// Format of the output
    #[arg(short, long, value_enum)]
    format: Format,
    /// File to write, which must not exist yet [default: standard output, for jsonl and csv]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// With parquet: write a file for each node and hour (UTC) into the output directory, such as
    /// `node=n1/date=2026-01-31/hour=23/RUN-0000-0.parquet`
    #[arg(long)]
    partition: bool,
    /// With csv, for a spreadsheet: put an apostrophe before texts that begin with =, +, -, @, a tab
    /// or a line end, since a spreadsheet would run them as formulas
    #[arg(long)]
    csv_safe: bool,
}

const EXAMPLES: &str = "\
Examples:
  inotify-trace export night.itrec --format jsonl | jq .event    every event as a line of JSON
  inotify-trace export night.itrec --format csv -o night.csv
  inotify-trace export night.itrec --format parquet -o night.parquet
  inotify-trace export n1/ n2/ --format parquet --partition -o fleet/
                                       one file per node and hour, for DuckDB, Spark, Trino
  inotify-trace export night.itrec --format perfetto -o night.pftrace
                                       for https://ui.perfetto.dev

All events are written, also those that `replay` hides by default. docs/export.md describes the
columns, docs/fleet.md has queries for many nodes. A file gets its name only when it is complete;
existing files are never overwritten.

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

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.partition && args.format != Format::Parquet {
        bail!("--partition is for --format parquet");
    }
    if args.csv_safe && args.format != Format::Csv {
        bail!("--csv-safe is for --format csv");
    }
    let opened = open(&args.recordings.files)?;
    let mut is_damaged = !opened.problems.is_empty();
    let mut exporter = args.exporter()?;
    let output_is_on_terminal = args.output.is_none() && io::stdout().is_terminal();
    for mut run in opened.runs {
        let progress = Progress::new(run.size(), output_is_on_terminal);
        let mut story = Story::new(run.header().started, Grace::default())
            .within(args.recordings.memory.ceiling());
        let audience = exporter.as_mut();
        let exported = audience.begin(run.header()).and_then(|()| {
            Until::end(&mut run).run(&mut story, audience, |position| progress.at(position))?;
            story.end(audience)
        });
        drop(progress);
        tell(run.problems())?;
        is_damaged |= !run.problems().is_empty();
        exported?;
    }
    exporter.finish()?;
    if is_damaged {
        say(format_args!(
            "inotify-trace: what could be read was exported; it is not all there was"
        ))?;
    }
    Ok(exit_code(is_damaged))
}

impl Args {
    fn exporter(&self) -> anyhow::Result<Box<dyn Exporter>> {
        let output = || match &self.output {
            Some(path) => Output::create(path),
            None => Ok(Output::stdout()),
        };
        let path = || {
            let what = "parquet and perfetto are no text: say with -o where they go";
            self.output.as_deref().context(what)
        };
        Ok(match self.format {
            Format::Jsonl => Box::new(JsonLines::new(output()?)),
            Format::Csv => {
                let formulas = Formulas::quoted_if(self.csv_safe);
                Box::new(Flat::new(Box::new(Csv::new(output()?, formulas)?)))
            }
            Format::Parquet => self.parquet(path()?)?,
            Format::Perfetto => Box::new(Perfetto::new(Output::create(path()?)?)),
        })
    }

    #[cfg(feature = "parquet")]
    fn parquet(&self, path: &Path) -> anyhow::Result<Box<dyn Exporter>> {
        Ok(Box::new(Flat::new(if self.partition {
            Box::new(Partitioned::create(path)?)
        } else {
            Box::new(Parquet::create(path)?)
        })))
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(&self, _: &Path) -> anyhow::Result<Box<dyn Exporter>> {
        bail!(
            "this inotify-trace was built without Parquet: build it with cargo's default features, \
             or with `--features parquet`; `--format csv` has the same columns"
        )
    }
}
