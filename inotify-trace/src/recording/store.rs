//! The files of a recording: one, or several of which the oldest go.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{EXTENSION, Header, RecordingError};

/// When a file has had enough, and how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which the next file is begun.
    pub size: Option<u64>,
    /// Time after which the next file is begun.
    pub time: Option<Duration>,
    /// How many files are kept, the one being written included.
    pub keep: Option<usize>,
    /// How many bytes are kept, the file being written included.
    pub max_total: Option<u64>,
}

/// Where recordings go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// One file.
    File(PathBuf),
    /// A directory, in which each run has one or several files.
    Directory(PathBuf, Rotation),
}

impl Store {
    /// A directory if there is one, or the path ends with a slash; otherwise a file.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(path: &Path, rotation: Rotation) -> Result<Self, RecordingError> {
        let is_named_so = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if !is_named_so && !path.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        fs::create_dir_all(path)
            .map_err(|source| RecordingError::Write { path: path.to_owned(), source })?;
        Ok(Self::Directory(path.to_owned(), rotation))
    }

    /// Makes the file that `header` is for. None is ever overwritten.
    pub(super) fn create(&self, header: &Header) -> Result<Output, RecordingError> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Directory(directory, _) => directory.join(file_name(header)),
        };
        // What programs watch is nobody else's business.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file {
            Ok(file) => Ok(Output { file, path, length: 0, begun: Instant::now() }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordingError::Exists(path))
            }
            Err(source) => Err(RecordingError::Write { path, source }),
        }
    }

    /// Whether a file has had enough.
    pub(super) fn is_over(&self, output: &Output) -> bool {
        let Self::Directory(_, rotation) = self else { return false };
        rotation.size.is_some_and(|size| output.length >= size)
            || rotation.time.is_some_and(|time| output.begun.elapsed() >= time)
    }

    /// Removes the oldest files of this machine beyond what is to be kept, but not `current`.
    pub(super) fn prune(&self, header: &Header, current: &Path) -> Result<(), RecordingError> {
        let Self::Directory(directory, rotation) = self else { return Ok(()) };
        let failed = |source| RecordingError::Write { path: directory.clone(), source };
        let mut files = Vec::new();
        let prefix = format!("{}-", host(header));
        for entry in fs::read_dir(directory).map_err(failed)?.flatten() {
            let path = entry.path();
            let is_own = entry.file_name().to_string_lossy().starts_with(&prefix);
            if is_own && path.extension().is_some_and(|it| it == EXTENSION) {
                files.push((path, entry.metadata().map_or(0, |it| it.len())));
            }
        }
        // Names begin with the time: newest first.
        files.sort_by(|a, b| b.0.cmp(&a.0));
        let mut total = 0;
        for (count, (path, size)) in files.into_iter().enumerate() {
            total += size;
            let is_one_too_many = rotation.keep.is_some_and(|keep| count >= keep)
                || rotation.max_total.is_some_and(|most| total > most);
            if is_one_too_many && path != current {
                fs::remove_file(&path)
                    .map_err(|source| RecordingError::Write { path: path.clone(), source })?;
            }
        }
        Ok(())
    }
}

/// Host, time at which the file begins in UTC, and its number in the run: in this order, files of a
/// machine sort by time.
fn file_name(header: &Header) -> String {
    let begun = header.clock().utc(header.started);
    // 2026-01-31T23:59:59.123456789Z without what file names are better without.
    let begun: String = begun.chars().filter(char::is_ascii_alphanumeric).take(18).collect();
    format!("{}-{begun}-{:04}.{EXTENSION}", host(header), header.sequence)
}

fn host(header: &Header) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    header.host.chars().map(safe).collect()
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    pub(super) path: PathBuf,
    /// Bytes written whole.
    pub(super) length: u64,
    begun: Instant,
}

impl Output {
    /// Appends all of it, so that it survives a loss of power; or, where that fails, nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let written = self.file.write_all_at(bytes, self.length);
        if let Err(source) = written.and_then(|()| self.file.sync_data()) {
            self.shorten(self.length);
            return Err(RecordingError::Write { path: self.path.clone(), source });
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Takes back what was appended after the first `length` bytes.
    pub(super) fn shorten(&mut self, length: u64) {
        // Where even this fails, a reader finds half a frame, and says so.
        let _ = self.file.set_len(length);
        self.length = self.length.min(length);
    }

    /// Removes the file.
    pub(super) fn discard(self) {
        // Nothing depends on it.
        let _ = fs::remove_file(&self.path);
    }
}
