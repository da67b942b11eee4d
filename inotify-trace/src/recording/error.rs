//! Errors of reading and writing recordings.

use std::{fmt, io, path::PathBuf};

/// An error of reading or writing a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file is empty.
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
    /// A frame is damaged.
    #[error("damaged at byte {offset}: {what}; what comes before was used")]
    Damaged {
        /// The offset of the damaged frame, in bytes from the beginning of the file.
        offset: u64,
        /// The damage.
        what: Damage,
    },
    /// The file cannot be read.
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
    /// The file exists.
    #[error("{} exists: give another name, or a directory, in which each run gets a file", .0.display())]
    Exists(PathBuf),
}

/// The damage of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends in the middle of it.
    Truncated,
    /// It has a wrong checksum.
    Checksum,
    /// It has more messages than fit into one.
    TooMuch,
    /// It cannot be decoded: this tool did not write it.
    Nonsense,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the file ends in the middle of what was being written",
            Self::Checksum => "the checksum does not match",
            Self::TooMuch => {
                "it has more messages than this tool writes at once, and would take too much memory"
            }
            Self::Nonsense => "it makes no sense",
        })
    }
}
