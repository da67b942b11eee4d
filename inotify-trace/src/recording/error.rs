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
    /// A frame is damaged, or some are missing.
    #[error("damaged at byte {offset}: {what}; {damage}")]
    Damaged {
        /// The offset of the damage, in bytes from the beginning of the file.
        offset: u64,
        /// The damage.
        what: Damage,
        /// How much it is.
        damage: Extent,
    },
    /// The header is damaged.
    #[error(
        "damaged at byte {offset}: {what}; that is the header, without which nothing in the file can \
         be used"
    )]
    NoHeader {
        /// The offset of the header.
        offset: u64,
        /// The damage.
        what: Damage,
    },
    /// The file has no end, and nobody is writing it.
    #[error(
        "the end is missing: the recorder was killed, the machine stopped, or the file was cut or \
         copied too early; what happened last may not be in it"
    )]
    NoEnd,
    /// Files before this one are missing.
    #[error(
        "{} before this one {} missing or cannot be read: give all files of the recording, or their \
         directory",
        files(*.0), if *.0 == 1 { "is" } else { "are" }
    )]
    FilesMissing(u32),
    /// The next file is missing.
    #[error("the file that goes on after this one is missing: the recording did not end there")]
    NextMissing,
    /// There is no such file.
    #[error("no such file: give a recording, or a directory of recordings")]
    NotThere,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// A file cannot be made or written.
    #[error("cannot write {}: {cause}{}", path.display(), remedy(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file exists.
    #[error("{} exists: give another name, or a directory, in which each run gets a file", .0.display())]
    Exists(PathBuf),
}

impl RecordingError {
    /// Damage of a frame, behind which nothing can be read.
    pub(super) fn damaged(offset: u64, what: Damage) -> Self {
        Self::Damaged { offset, what, damage: Extent { frames: 1, left_out: None } }
    }
}

/// What to do if a file cannot be written.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "; make the directory first, or give another path",
        io::ErrorKind::PermissionDenied => "; give another path, or run it with sudo",
        io::ErrorKind::ReadOnlyFilesystem => "; give a path elsewhere",
        _ => "",
    }
}

fn files(count: u32) -> String {
    if count == 1 { "the file".to_owned() } else { format!("{count} files") }
}

/// How much is lost by a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The number of frames that are missing, as far as it is known: at least one at the end of a file.
    pub frames: u16,
    /// The bytes that were left out; None if that is the rest of the file.
    pub left_out: Option<u64>,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left_out {
            None => f.write_str("what comes before was used"),
            Some(0) => f.write_str("what comes before and after was used"),
            Some(bytes) => write!(f, "{bytes} bytes are left out, what comes after was used"),
        }
    }
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
    /// This many frames are missing before it.
    Missing(u16),
    /// It was there before, or belongs before others.
    Repeated,
    /// It comes after the end.
    AfterEnd,
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
            Self::Missing(1) => "a frame is missing",
            Self::Missing(count) => return write!(f, "{count} frames are missing"),
            Self::Repeated => "it repeats what came before, or is not in its place",
            Self::AfterEnd => "there is more after the end of the recording",
        })
    }
}
