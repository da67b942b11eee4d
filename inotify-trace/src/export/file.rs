//! The output of an export: standard output, or a file that gets its name only when it is complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::{NamedTempFile, TempPath};

use super::ExportError;
use crate::output::Patient;

/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;

/// The suffix of incomplete files.
const PARTIAL: &str = ".partial";

/// The output of an export.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<Sink>,
    /// None for standard output.
    partial: Option<PartialFile>,
}

/// What happens to a file that has the name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the export fails.
    #[default]
    Kept,
    /// It is replaced, when the new one is complete.
    Replaced,
}

#[derive(Debug)]
enum Sink {
    Stdout(Patient<io::Stdout>),
    File(File),
}

/// A file under a temporary name: [`Self::complete`] renames it, dropping it removes it.
#[derive(Debug)]
pub(super) struct PartialFile {
    temporary: TempPath,
    path: PathBuf,
    existing: Existing,
}

/// Creates a file in the place of `path`, under a temporary name: whoever completes it renames it.
/// Watched paths are private: only its owner may read it.
///
/// # Errors
/// If it cannot be created, or `path` names no file.
fn partial(path: &Path) -> io::Result<NamedTempFile> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    // An error of its own for the usual mistake: the one below has the temporary name.
    fs::metadata(directory)?;
    let file = tempfile::Builder::new().prefix(&prefix).suffix(PARTIAL).tempfile_in(directory)?;
    // Where there are no locks, nobody finds it abandoned.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok(file)
}

/// Removes the temporary files in a directory whose writers were killed: others are locked.
#[cfg(feature = "parquet")]
pub(super) fn remove_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if !(name.starts_with(b".") && name.ends_with(PARTIAL.as_bytes())) {
            continue;
        }
        let is_abandoned = File::open(&path)
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if is_abandoned && let Err(error) = fs::remove_file(&path) {
            log::warn!("cannot remove {}, which an export left: {error}", path.display());
        }
    }
}

impl Output {
    /// To standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let writer = BufWriter::with_capacity(BUFFER, Sink::Stdout(Patient::stdout()));
        Self { writer, partial: None }
    }

    /// To a file.
    ///
    /// # Errors
    /// If it exists and is kept, or is no regular file, or cannot be made.
    pub fn create(path: &Path, existing: Existing) -> Result<Self, ExportError> {
        match fs::symlink_metadata(path) {
            Ok(_) if existing == Existing::Kept => {
                return Err(ExportError::Exists(path.to_owned()));
            }
            Ok(found) if !found.is_file() => return Err(ExportError::NoFile(path.to_owned())),
            _ => {}
        }
        let failed = |cause| ExportError::Write { path: path.to_owned(), cause };
        let (file, temporary) = partial(path).map_err(failed)?.into_parts();
        let writer = BufWriter::with_capacity(BUFFER, Sink::File(file));
        Ok(Self {
            writer,
            partial: Some(PartialFile { temporary, path: path.to_owned(), existing }),
        })
    }

    /// The error, with the file's name.
    pub(super) fn failed(&self, cause: io::Error) -> ExportError {
        match &self.partial {
            Some(partial) => ExportError::Write { path: partial.path.clone(), cause },
            None => ExportError::Stdout(cause),
        }
    }

    /// Writes `bytes` and nothing else.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn write_whole(mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.writer.write_all(bytes).map_err(|cause| self.failed(cause))?;
        self.complete()
    }

    /// Completes the output: a file gets its name.
    ///
    /// # Errors
    /// If it cannot be written, or another one has got that name.
    pub fn complete(self) -> Result<(), ExportError> {
        self.close()?.map_or(Ok(()), PartialFile::complete)
    }

    /// Completes the content. A file may get its name later, together with others.
    pub(super) fn close(mut self) -> Result<Option<PartialFile>, ExportError> {
        let flushed = self.writer.flush().and_then(|()| self.writer.get_ref().sync());
        flushed.map_err(|source| self.failed(source))?;
        Ok(self.partial)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl PartialFile {
    /// Gives the file its name, unless another file has got that name.
    pub(super) fn complete(self) -> Result<(), ExportError> {
        let Self { temporary, path, existing } = self;
        let persisted = match existing {
            Existing::Kept => temporary.persist_noclobber(&path),
            Existing::Replaced => temporary.persist(&path),
        };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(path),
            _ => ExportError::Write { path, cause: error.error },
        })
    }
}

impl Sink {
    /// The content survives a loss of power before the file gets its name.
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File(file) => file.sync_data(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let mut output = Output::create(&path, Existing::Kept).unwrap();
        output.write_all(b"half").unwrap();
        output.flush().unwrap();
        assert!(listed(directory.path()).iter().all(|it| it.ends_with(PARTIAL)));
        drop(output);
        assert_eq!(listed(directory.path()), [""; 0], "what was given up is removed");

        let mut output = Output::create(&path, Existing::Kept).unwrap();
        output.write_all(b"whole").unwrap();
        output.complete().unwrap();
        assert_eq!(listed(directory.path()), ["out.csv"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn what_the_killed_left_is_removed_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let open = partial(&directory.path().join("open.parquet")).unwrap();
        let (_, left) = partial(&directory.path().join("left.parquet")).unwrap().keep().unwrap();
        fs::write(directory.path().join("another.partial"), "").unwrap();
        remove_abandoned(directory.path());
        assert!(!left.exists());
        assert!(open.path().exists());
        assert_eq!(listed(directory.path()).len(), 2);
    }

    #[test]
    fn nothing_is_overwritten_whenever_it_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let output = Output::create(&path, Existing::Kept).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(matches!(output.complete(), Err(ExportError::Exists(_))));
        assert!(matches!(Output::create(&path, Existing::Kept), Err(ExportError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(listed(directory.path()), ["out.csv"]);
    }

    #[test]
    fn a_file_is_replaced_when_the_new_one_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        fs::write(&path, "another's").unwrap();
        let mut output = Output::create(&path, Existing::Replaced).unwrap();
        output.write_all(b"new").unwrap();
        output.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        output.complete().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(listed(directory.path()), ["out.csv"]);
        // A directory, or a link, is none of its business.
        assert!(Output::create(directory.path(), Existing::Replaced).is_err());
    }
}
