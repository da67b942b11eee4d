//! `inotify-trace report`: a summary of recordings on one page.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::ValueEnum;
use inotify_trace_model::{feed::Item, story::Story, verdict::Grace};

use super::{
    destination::{self, Destination},
    machines::{Machine, machines_of},
    progress::Progress,
    range::{Range, RangeArgs},
    recordings::{AFTER_GAPS, Files, exit_code, open, tell_of},
    say::say,
    units,
};
use crate::{
    export::Output,
    feed::{Problem, Replay, Until},
    output::{Patient, Screen, printable},
    recording::{EXTENSION, Header},
    report::{Builder, FULL, Report, Run, html, text},
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
    /// Format of the report [default: by the end of the file's name (.html, .txt); text for a terminal,
    /// html for a pipe]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page for a browser, one file that needs no network
    Html,
    /// Lines of at most 100 columns, or those of the terminal
    Text,
}

const EXAMPLES: &str = "\
Examples:
  inotify-trace report night.itrec -o night.html    write a page for a browser
  inotify-trace report night.itrec                  show the report as text on a terminal
  inotify-trace report night.itrec -f text | less   write text, also to a pipe
  inotify-trace report /var/lib/inotify-trace/ -o all.html    all recordings of a directory
  inotify-trace report night.itrec --from 02:55 --to 03:10 -o ten-to-three.html
                                                    report a part of the time
  inotify-trace report node1.itrec node2.itrec -o both.html   recordings of several machines

A file that exists is replaced with --force only, and a recording never.

Exit code: 0; 2 if a part of a recording is missing: damaged, a file of several, or the end after
kill -9. What can be read is reported all the same.";

const FORMATS: &[(&str, Format)] =
    &[("html", Format::Html), ("htm", Format::Html), ("txt", Format::Text), ("text", Format::Text)];

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Before all else: what it is matters more than that it exists.
    if let Some(path) = args.destination.path() {
        refuse_recordings(path, &args.recordings.files)?;
    }
    let path = args.destination.file()?;
    let format = match (args.format, path) {
        (Some(format), _) => format,
        (None, Some(path)) => destination::format_of(path, FORMATS)?,
        (None, None) if io::stdout().is_terminal() => Format::Text,
        (None, None) => Format::Html,
    };
    let opened = open(&args.recordings.files)?;
    let mut is_damaged = !opened.problems.is_empty();
    let mut report = Report { runs: Vec::new(), unreadable: sentences(&opened.problems) };
    let range = args.range.of(&opened.runs)?;
    let runs = opened.runs;
    let machines = machines_of(&runs);
    let mut runs: Vec<_> = runs.into_iter().zip(machines).collect();
    runs.retain(|(run, _)| range.has_part_of(run));
    let count = runs.len();
    for (at, (mut run, machine)) in runs.into_iter().enumerate() {
        let facts =
            read(&mut run, machine, range, args.recordings.memory.ceiling(), path.is_none());
        // Keeps memory bounded, however many runs there are.
        report.runs.push(if at + FULL < count { facts.brief() } else { facts });
        tell_of(&run)?;
        is_damaged |= !run.problems().is_empty();
    }
    let screen = if path.is_none() { Screen::of_stdout() } else { Screen::default() };
    let page = match format {
        Format::Html => html::render(&report),
        Format::Text => text::render(&report, screen),
    };
    match path {
        Some(path) => {
            Output::create(path, args.destination.existing())?.write_whole(page.as_bytes())?;
            let title = report.title().unwrap_or_default();
            let title = printable(&title);
            say(format_args!("{title}. Written: {}", path.display()))?;
        }
        None => Patient::stdout_to_the_end().write_all(page.as_bytes())?,
    }
    Ok(exit_code(is_damaged))
}

/// Fails if the report would overwrite a recording.
fn refuse_recordings(path: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let is_one = |file: &PathBuf| identity(file).is_some_and(|it| Some(it) == identity(path));
    if files.iter().any(is_one) || path.extension().is_some_and(|it| it == EXTENSION) {
        bail!(
            "{} is a recording, or named like one, and would be overwritten: give another path \
             with -o, such as report.html",
            path.display()
        );
    }
    Ok(())
}

/// Reads a run and summarizes it.
fn read(
    run: &mut Replay,
    machine: Machine,
    range: Range,
    ceiling: Option<usize>,
    output_is_on_stdout: bool,
) -> Run {
    let range = range.of_machine_with(&run.header().clock());
    let mut story = Story::new(run.header().started, Grace::default()).within(ceiling);
    let header = Header { host: machine.name, ..range.header(run.header()) };
    let mut builder = range.later(Builder::new(&header));
    let is_on_terminal = output_is_on_stdout && io::stdout().is_terminal();
    let progress = Progress::new(run.size(), is_on_terminal);
    let until = Until::new(run, range.to);
    let Ok(()) = until.run(&mut story, &mut builder, |position| progress.at(position));
    if !run.is_read() {
        // The range is over, and not the recording.
        let Ok(()) = story.take(Item::End(story.now()), &mut builder);
    }
    let Ok(()) = story.end(&mut builder);
    let mut problems = sentences(run.problems());
    problems.extend(run.has_gaps().then(|| AFTER_GAPS.to_owned()));
    builder.inner.finish(story.tracker(), &problems)
}

fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
