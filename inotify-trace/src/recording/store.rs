//! The files of a recording: one, or several in rotation.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::regular;

use super::{EXTENSION, Header, RecordingError};

/// When a new file begins, and which old files are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The size in bytes at which a new file begins.
    pub size: Option<u64>,
    /// The time after which a new file begins.
    pub time: Option<Duration>,
    /// The most files that are kept, including the one being written.
    pub keep: Option<usize>,
    /// The most bytes that are kept, including the file being written at its final size.
    pub max_total: Option<u64>,
}

/// Without `size`, a new file begins at `max_total` divided by this.
const FILES_IN_TOTAL: u64 = 8;

impl Rotation {
    /// The size in bytes at which a new file begins.
    fn limit(&self) -> Option<u64> {
        self.size.or_else(|| Some((self.max_total? / FILES_IN_TOTAL).max(1)))
    }
}

/// The destination of a recording.
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
    /// If the directory cannot be created.
    pub fn new(path: &Path, rotation: Rotation) -> Result<Self, RecordingError> {
        let is_named_so = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if !is_named_so && !path.is_dir() {
            return Ok(Self::File(path.to_owned()));
        }
        fs::create_dir_all(path)
            .map_err(|cause| RecordingError::Write { path: path.to_owned(), cause })?;
        Ok(Self::Directory(path.to_owned(), rotation))
    }

    /// The path of the file of `header`.
    #[must_use]
    pub fn file(&self, header: &Header) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Directory(directory, _) => directory.join(file_name(header)),
        }
    }

    /// Creates the file of `header`. Existing files are never overwritten.
    pub(super) fn create(&self, header: &Header) -> Result<Output, RecordingError> {
        let path = self.file(header);
        // For the owner only: it has the paths that programs watch.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file {
            Ok(file) => Ok(Output::new(file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordingError::Exists(path))
            }
            Err(cause) => Err(RecordingError::Write { path, cause }),
        }
    }

    /// Whether a new file should begin.
    pub(super) fn is_over(&self, output: &Output) -> bool {
        let Self::Directory(_, rotation) = self else { return false };
        // Each file begins with the state: a large state must not make each batch begin a new file.
        let is_worth_it = |size: u64| output.length >= size.max(2 * output.state);
        rotation.limit().is_some_and(is_worth_it)
            || rotation.time.is_some_and(|time| output.begun.elapsed() >= time)
    }

    /// The most bytes that are kept, if `current` alone has more.
    pub(super) fn exceeded(&self, current: &Output) -> Option<u64> {
        let Self::Directory(_, rotation) = self else { return None };
        rotation.max_total.filter(|&most| current.length > most)
    }

    /// Removes the oldest files of this machine beyond the limits, but none that is being written, by
    /// `current` or another recorder. Returns those that could not be removed, with the reason: they
    /// don't keep the others.
    pub(super) fn prune(&self, header: &Header, current: &Output) -> Vec<(PathBuf, io::Error)> {
        let Self::Directory(directory, rotation) = self else { return Vec::new() };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return vec![(directory.clone(), error)],
        };
        let mut files = Vec::new();
        let host = host(header);
        for entry in entries.flatten() {
            let path = entry.path();
            let is_own = entry.file_name().to_str().is_some_and(|name| is_name_of(name, &host));
            // What is no file was not made by a recorder.
            let metadata = entry.metadata().ok().filter(|it| it.is_file());
            if let Some(metadata) = metadata.filter(|_| is_own && path != current.path) {
                files.push((path, metadata.len()));
            }
        }
        // Names begin with the time: newest first.
        files.sort_by(|a, b| b.0.cmp(&a.0));
        let mut count = 1;
        let mut total = current.length.max(rotation.limit().unwrap_or(0));
        let mut kept = Vec::new();
        for (path, size) in files {
            (count, total) = (count + 1, total + size);
            let is_one_too_many = rotation.keep.is_some_and(|keep| count > keep)
                || rotation.max_total.is_some_and(|most| total > most);
            if is_one_too_many && !is_being_written(&path) {
                kept.extend(fs::remove_file(&path).err().map(|error| (path, error)));
            }
        }
        kept
    }
}

/// Whether `name` is a name by [`file_name`] for `host`. Host names may share a prefix: `node` and
/// `node-2`.
fn is_name_of(name: &str, host: &str) -> bool {
    let rest = || name.strip_prefix(host)?.strip_prefix('-')?.strip_suffix(EXTENSION);
    let Some((time, number)) = rest().and_then(|rest| rest.strip_suffix('.')?.split_once('-'))
    else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = time.len() == 18
        && time.split_once('T').is_some_and(|(day, time)| is_number(day) && is_number(time));
    is_time && number.len() >= 4 && is_number(number)
}

/// Whether a recorder holds the lock of a file; false on file systems without locks.
#[must_use]
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = regular::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Host, time at which the file begins in UTC, and its number in the run: in this order, files of a
/// machine sort by time.
fn file_name(header: &Header) -> String {
    let begun = header.clock().utc(header.started);
    // 2026-01-31T23:59:59.123456789Z without punctuation, to milliseconds.
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
    /// Bytes of complete writes.
    pub(super) length: u64,
    /// The bytes of these that are state, at the beginning or after a failure.
    pub(super) state: u64,
    begun: Instant,
}

impl Output {
    fn new(file: File, path: PathBuf) -> Self {
        // Keeps other recorders from removing it. Not every file system has locks, and the recording
        // works without.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        // Without this, a power failure could lose the name, and with it the file.
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let _ = File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all());
        Self { file, path, length: 0, state: 0, begun: Instant::now() }
    }

    /// Appends `bytes`, so that they survive a power failure; if that fails, appends nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let written = self.file.write_all_at(bytes, self.length);
        if let Err(cause) = written.and_then(|()| self.file.sync_data()) {
            self.shorten(self.length);
            return Err(RecordingError::Write { path: self.path.clone(), cause });
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Cuts the file to `length` bytes.
    pub(super) fn shorten(&mut self, length: u64) {
        // If this fails as well, a reader reports an incomplete frame.
        let _ = self.file.set_len(length);
        self.length = self.length.min(length);
    }

    /// Replaces the file by another, such as one without space.
    #[cfg(test)]
    pub(super) fn exchange(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// Removes the file.
    pub(super) fn discard(self) {
        // A failure has no consequence.
        let _ = fs::remove_file(&self.path);
    }
}
