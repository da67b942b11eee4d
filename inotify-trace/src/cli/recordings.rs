//! Recordings on the command line: opening them, and telling what cannot be read.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;

use super::EXIT_ERROR;
use crate::feed::{Problem, Recordings, Replay};

/// Which recordings.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Recordings, or directories of them
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// Recordings of which something can be read.
pub(super) struct Opened {
    /// Runs of the recorder, oldest first; never empty.
    pub(super) runs: Vec<Replay>,
    /// Files of which nothing could be read; it is said already.
    pub(super) problems: Vec<Problem>,
}

/// Opens recordings, says on standard error which cannot be read, and fails if none can: with
/// `nothing`, which says what is therefore not done.
pub(super) fn open(files: &[PathBuf], nothing: &'static str) -> anyhow::Result<Opened> {
    let Recordings { runs, problems } = Recordings::open(files);
    tell(&problems)?;
    if runs.is_empty() {
        bail!(nothing);
    }
    Ok(Opened { runs, problems })
}

/// Says on standard error what could not be read.
pub(super) fn tell(problems: &[Problem]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    problems.iter().try_for_each(|problem| writeln!(err, "inotify-trace: {problem}"))
}

/// Whether all could be read that was to be.
pub(super) fn exit_code(is_damaged: bool) -> ExitCode {
    if is_damaged { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS }
}
