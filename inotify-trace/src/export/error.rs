//! What keeps a recording from being exported. Whoever shows an error shows its source as well.

use std::{io, path::PathBuf};

/// What keeps a recording from being exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output is there already.
    #[error("{} exists, and is not overwritten: remove it, or give another name", .0.display())]
    Exists(PathBuf),
    /// The output cannot be made or written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
}
