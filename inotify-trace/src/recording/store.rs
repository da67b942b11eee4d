//! The files of a recording: one, or several of which the oldest go.

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
    /// How many bytes are kept, the file being written included: what it may yet grow to counts.
    pub max_total: Option<u64>,
}

/// Where nothing else says when a file has had enough, it is this part of what is kept in all.
const FILES_IN_TOTAL: u64 = 8;

impl Rotation {
    /// Bytes after which the next file is begun.
    fn limit(&self) -> Option<u64> {
        self.size.or_else(|| Some((self.max_total? / FILES_IN_TOTAL).max(1)))
    }
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
            Ok(file) => Ok(Output::new(file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordingError::Exists(path))
            }
            Err(source) => Err(RecordingError::Write { path, source }),
        }
    }

    /// Whether a file has had enough.
    pub(super) fn is_over(&self, output: &Output) -> bool {
        let Self::Directory(_, rotation) = self else { return false };
        // Each file begins with the state: where that is most of it, one would follow the other.
        let is_worth_it = |size: u64| output.length >= size.max(2 * output.state);
        rotation.limit().is_some_and(is_worth_it)
            || rotation.time.is_some_and(|time| output.begun.elapsed() >= time)
    }

    /// Removes the oldest files of this machine beyond what is to be kept, but none that is being
    /// written, by `current` or another recorder.
    pub(super) fn prune(&self, header: &Header, current: &Output) -> Result<(), RecordingError> {
        let Self::Directory(directory, rotation) = self else { return Ok(()) };
        let failed = |source| RecordingError::Write { path: directory.clone(), source };
        let mut files = Vec::new();
        let host = host(header);
        for entry in fs::read_dir(directory).map_err(failed)?.flatten() {
            let path = entry.path();
            let is_own = entry.file_name().to_str().is_some_and(|name| is_name_of(name, &host));
            if is_own && path != current.path {
                files.push((path, entry.metadata().map_or(0, |it| it.len())));
            }
        }
        // Names begin with the time: newest first.
        files.sort_by(|a, b| b.0.cmp(&a.0));
        let mut count = 1;
        let mut total = current.length.max(rotation.limit().unwrap_or(0));
        for (path, size) in files {
            (count, total) = (count + 1, total + size);
            let is_one_too_many = rotation.keep.is_some_and(|keep| count > keep)
                || rotation.max_total.is_some_and(|most| total > most);
            if is_one_too_many && !is_being_written(&path) {
                fs::remove_file(&path)
                    .map_err(|source| RecordingError::Write { path: path.clone(), source })?;
            }
        }
        Ok(())
    }
}

/// Whether `name` is one that [`file_name`] gives for `host`. Hosts may be called alike: `node` and
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

/// Whether a recorder holds the lock of a file. Where there are no locks, none does.
pub(super) fn is_being_written(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
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
    /// How many of them are the state it began with, or went on from.
    pub(super) state: u64,
    begun: Instant,
}

impl Output {
    fn new(file: File, path: PathBuf) -> Self {
        // Keeps other recorders from removing it. Not every file system has locks, and it is as
        // good a recording without.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        // Without this, a loss of power could take the name, and what is in the file with it.
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let _ = File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all());
        Self { file, path, length: 0, state: 0, begun: Instant::now() }
    }

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

    /// Exchanges the file for another, such as one that has no room.
    #[cfg(test)]
    pub(super) fn exchange(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// Removes the file.
    pub(super) fn discard(self) {
        // Nothing depends on it.
        let _ = fs::remove_file(&self.path);
    }
}
