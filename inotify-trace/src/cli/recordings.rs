//! Recordings on the command line: opens them, and reports those that cannot be read.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

use super::{EXIT_ERROR, memory::Memory, say::say};
use crate::{
    feed::{Problem, Recordings, Replay},
    recording::EXTENSION,
};

/// The path that stands for standard input.
const STDIN: &str = "-";

#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Recordings, or directories of recordings; `-` for one on standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) memory: Memory,
}

/// Recordings that can be read, at least in part.
pub(super) struct Opened {
    /// Runs of the recorder, oldest first.
    pub(super) runs: Vec<Replay>,
    /// Files that cannot be read at all; already reported.
    pub(super) problems: Vec<Problem>,
    /// What standard input had, as a file for as long as the runs are read.
    _stdin: Option<NamedTempFile>,
}

/// Opens recordings, and reports on standard error those that cannot be read.
///
/// # Errors
/// If none can.
pub(super) fn open(files: &[PathBuf]) -> anyhow::Result<Opened> {
    let stdin = read_stdin(files)?;
    let path = |path: &PathBuf| match &stdin {
        Some(file) if path == Path::new(STDIN) => file.path().to_owned(),
        _ => path.clone(),
    };
    let files: Vec<_> = files.iter().map(path).collect();
    let Recordings { runs, problems } = Recordings::open(&files);
    if let ([], [others @ .., last]) = (&runs[..], &problems[..]) {
        tell(others)?;
        bail!("{last}");
    }
    tell(&problems)?;
    Ok(Opened { runs, problems, _stdin: stdin })
}

/// Copies a recording from standard input into a file, if it is among `files`: a recording is read
/// from its end, too.
fn read_stdin(files: &[PathBuf]) -> anyhow::Result<Option<NamedTempFile>> {
    if !files.iter().any(|path| path == Path::new(STDIN)) {
        return Ok(None);
    }
    if io::stdin().is_terminal() {
        bail!(
            "standard input is a terminal, and no recording: send it one, as in `replay - < FILE`"
        );
    }
    let mut file = tempfile::Builder::new()
        .prefix("standard-input-")
        .suffix(&format!(".{EXTENSION}"))
        .tempfile()
        .context("cannot make a file for the recording on standard input: set TMPDIR")?;
    io::copy(&mut io::stdin().lock(), &mut file).with_context(|| {
        format!("cannot copy the recording on standard input to {}", file.path().display())
    })?;
    Ok(Some(file))
}

/// Reports problems on standard error.
pub(super) fn tell(problems: &[Problem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| say(format_args!("inotify-trace: {problem}")))
}

/// What follows from gaps in a run.
pub(super) const AFTER_GAPS: &str = "what comes after missing frames, up to the next file, is no \
    evidence of a leak: what looks leaked may have ended in them. So no leak is told there";

/// Reports the problems of a run that was read, and what follows from them.
pub(super) fn tell_of(run: &Replay) -> io::Result<()> {
    tell(run.problems())?;
    if run.has_gaps() { say(format_args!("inotify-trace: {AFTER_GAPS}")) } else { Ok(()) }
}

/// The exit code of a command that has read recordings.
pub(super) fn exit_code(is_damaged: bool) -> ExitCode {
    if is_damaged { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS }
}
