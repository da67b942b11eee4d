//! The output of an export: standard output, or a file that gets its name only when it is complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::{NamedTempFile, TempPath};

use super::ExportError;

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

#[derive(Debug)]
enum Sink {
    Stdout(io::Stdout),
    File(File),
}

/// A file under a temporary name: [`Self::complete`] renames it, dropping it removes it.
#[derive(Debug)]
pub(super) struct PartialFile {
    temporary: TempPath,
    path: PathBuf,
}

/// Creates a file in the place of `path`, under a temporary name: whoever completes it renames it.
/// Watched paths are private: only its owner may read it.
///
/// # Errors
/// If it cannot be created, or `path` names no file.
pub(crate) fn partial(path: &Path) -> io::Result<NamedTempFile> {
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
    tempfile::Builder::new().prefix(&prefix).suffix(PARTIAL).tempfile_in(directory)
}

impl Output {
    /// To standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let writer = BufWriter::with_capacity(BUFFER, Sink::Stdout(io::stdout()));
        Self { writer, partial: None }
    }

    /// To a file, which must not exist.
    ///
    /// # Errors
    /// If it exists, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(ExportError::Exists(path.to_owned()));
        }
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        let (file, temporary) = partial(path).map_err(failed)?.into_parts();
        let writer = BufWriter::with_capacity(BUFFER, Sink::File(file));
        Ok(Self { writer, partial: Some(PartialFile { temporary, path: path.to_owned() }) })
    }

    /// The error, with the file's name.
    pub(super) fn failed(&self, source: io::Error) -> ExportError {
        match &self.partial {
            Some(partial) => ExportError::Write { path: partial.path.clone(), source },
            None => ExportError::Stdout(source),
        }
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
        let Self { temporary, path } = self;
        temporary.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(path),
            _ => ExportError::Write { path, source: error.error },
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
        let mut output = Output::create(&path).unwrap();
        output.write_all(b"half").unwrap();
        output.flush().unwrap();
        assert!(listed(directory.path()).iter().all(|it| it.ends_with(PARTIAL)));
        drop(output);
        assert_eq!(listed(directory.path()), [""; 0], "what was given up is removed");

        let mut output = Output::create(&path).unwrap();
        output.write_all(b"whole").unwrap();
        output.complete().unwrap();
        assert_eq!(listed(directory.path()), ["out.csv"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn nothing_is_overwritten_whenever_it_came() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let output = Output::create(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(matches!(output.complete(), Err(ExportError::Exists(_))));
        assert!(matches!(Output::create(&path), Err(ExportError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(listed(directory.path()), ["out.csv"]);
    }
}
