//! What keeps a recording from being read or written.

use std::{fmt, io, path::PathBuf};

/// What keeps a recording from being read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is nothing in the file.
    #[error("empty: nothing was recorded, or the disk was full when it began")]
    Empty,
    /// A directory without recordings.
    #[error("no recordings in this directory: their names end in .{}", super::EXTENSION)]
    NoneInside,
    /// Another program's file.
    #[error("no recording of inotify-trace: give a file written by `inotify-trace record`")]
    NotOurs,
    /// The format of a later version.
    #[error(
        "written in format {version}, and this version reads formats up to {known}: use a newer \
         inotify-trace"
    )]
    Newer {
        /// The file's format.
        version: u16,
        /// The latest that is known here.
        known: u16,
    },
    /// It cannot be read from here on.
    #[error("damaged at byte {offset}: {what}; what comes before was used")]
    Damaged {
        /// Where the frame begins that cannot be read, in bytes from the beginning of the file.
        offset: u64,
        /// What is wrong with it.
        what: Damage,
    },
    /// The file's system says no.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A file cannot be made or written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there already.
    #[error("{} exists: give another name, or a directory, in which each run gets a file", .0.display())]
    Exists(PathBuf),
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends in the middle of it.
    Truncated,
    /// It is not what was written.
    Checksum,
    /// It was never written by this tool.
    Nonsense,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the file ends in the middle of what was being written",
            Self::Checksum => "the checksum does not match",
            Self::Nonsense => "it makes no sense",
        })
    }
}
