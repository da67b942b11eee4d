//! Recordings on the command line: opens them, and reports those that cannot be read.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::bail;

use super::{EXIT_ERROR, memory::Memory, say::say};
use crate::feed::{Problem, Recordings, Replay};

#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Recordings, or directories of recordings
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
}

/// Opens recordings, and reports on standard error those that cannot be read.
///
/// # Errors
/// If none can.
pub(super) fn open(files: &[PathBuf]) -> anyhow::Result<Opened> {
    let Recordings { runs, problems } = Recordings::open(files);
    if let ([], [others @ .., last]) = (&runs[..], &problems[..]) {
        tell(others)?;
        bail!("{last}");
    }
    tell(&problems)?;
    Ok(Opened { runs, problems })
}

/// Reports problems on standard error.
pub(super) fn tell(problems: &[Problem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| say(format_args!("inotify-trace: {problem}")))
}

/// The exit code of a command that has read recordings.
pub(super) fn exit_code(is_damaged: bool) -> ExitCode {
    if is_damaged { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS }
}
