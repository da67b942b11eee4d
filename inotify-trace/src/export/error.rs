//! The reasons why a recording cannot be exported. Print an error together with its source.

use std::{io, path::PathBuf};

/// The reason why a recording cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output exists already.
    #[error("{} exists, and is not overwritten: remove it, or give another name", .0.display())]
    Exists(PathBuf),
    /// What is there is replaced by no file.
    #[error("{} exists, and is no regular file: give another path with -o", .0.display())]
    NoFile(PathBuf),
    /// The output cannot be made or written.
    #[error("cannot write {}: {cause}; give another path with -o", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
}
