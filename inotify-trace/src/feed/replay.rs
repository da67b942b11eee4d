//! Recordings as a feed.

use std::{
    cmp::Reverse,
    collections::HashSet,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use inotify_trace_model::feed::Item;

use crate::recording::{self, EXTENSION, End, Header, Reader, RecordingError};

/// An error of a file. The part before it was used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The error.
    pub source: RecordingError,
}

/// Recordings, and the files that cannot be read.
#[derive(Debug, Default)]
pub struct Recordings {
    /// Runs of the recorder, oldest first. Each begins with an empty state.
    pub runs: Vec<Replay>,
    /// Files that cannot be read at all.
    pub problems: Vec<Problem>,
}

impl Recordings {
    /// Opens files, and all recordings in directories.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let mut recordings = Self::default();
        let mut files = Vec::new();
        for path in paths.iter().flat_map(|path| recordings.expand(path)).collect::<Vec<_>>() {
            match Reader::open(&path) {
                Ok(reader) => files.push((size(&path), path, reader.header().clone())),
                Err(source) => recordings.problems.push(Problem { path, source }),
            }
        }
        let age = |header: &Header| header.booted.saturating_add_unsigned(header.started.0);
        // Of several copies of a file, the largest is the latest.
        files.sort_by_key(|(size, _, header)| (age(header), header.sequence, Reverse(*size)));
        let mut seen = HashSet::new();
        files.retain(|(_, _, header)| seen.insert((header.run, header.sequence)));
        for (_, path, header) in files {
            let is_known = |run: &&mut Replay| run.header.run == header.run;
            match recordings.runs.iter_mut().find(is_known) {
                Some(run) => run.files.push(path),
                None => recordings.runs.push(Replay::new(header, path)),
            }
        }
        recordings
    }

    /// The file, or the recordings in the directory, of a path.
    fn expand(&mut self, path: &Path) -> Vec<PathBuf> {
        if !path.is_dir() {
            return vec![path.to_owned()];
        }
        match fs::read_dir(path) {
            Ok(entries) => {
                let files = entries.flatten().map(|entry| entry.path());
                let is_one = |it: &PathBuf| it.extension().is_some_and(|it| it == EXTENSION);
                let files: Vec<_> = files.filter(is_one).collect();
                if files.is_empty() {
                    let path = path.to_owned();
                    self.problems.push(Problem { path, source: RecordingError::NoneInside });
                }
                files
            }
            Err(error) => {
                let source = RecordingError::Read(error);
                self.problems.push(Problem { path: path.to_owned(), source });
                Vec::new()
            }
        }
    }
}

/// The size in bytes; 0 if it cannot be read.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |it| it.len())
}

/// One run of the recorder, from its first event to its last.
#[derive(Debug)]
pub struct Replay {
    header: Header,
    /// The files not opened yet, oldest first.
    files: Vec<PathBuf>,
    current: Option<(PathBuf, Reader<BufReader<File>>)>,
    /// The sequence number of the file that continues the last one, if that was closed properly.
    next_sequence: Option<u32>,
    again: Again,
    problems: Vec<Problem>,
    /// Bytes of files that are read.
    done: u64,
}

/// Whether to skip the state at the beginning of a file. If it continues the file before, the current
/// state includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Skip the state, which has yet to come.
    Expected,
    /// The state is being skipped.
    PassedOver,
    /// Skip nothing.
    No,
}

impl Replay {
    fn new(header: Header, path: PathBuf) -> Self {
        Self {
            header,
            files: vec![path],
            current: None,
            next_sequence: None,
            again: Again::No,
            problems: Vec::new(),
            done: 0,
        }
    }

    /// The header of the first file.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The end of the run, from its last file. Call it before reading; afterwards, or if that file
    /// cannot be read, it is the beginning of the run.
    #[must_use]
    pub fn end(&self) -> End {
        let end = self.files.last().and_then(|path| recording::end(path).ok());
        end.unwrap_or(End { time: self.header.started, is_being_written: false })
    }

    /// The errors until now.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether all is read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.files.is_empty() && self.current.is_none()
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn size(&self) -> u64 {
        let current = self.current.iter().map(|(path, _)| path);
        self.done + self.files.iter().chain(current).map(|path| size(path)).sum::<u64>()
    }

    /// The bytes read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.done + self.current.as_ref().map_or(0, |(_, reader)| reader.offset())
    }

    /// The next item; None at the end. A file that cannot be read any further becomes a problem, and
    /// the next file is read.
    pub fn next_item(&mut self) -> Option<Item> {
        loop {
            if self.current.is_none() && !self.open() {
                return None;
            }
            let (path, reader) = self.current.as_mut()?;
            match reader.next_item() {
                Ok(Some(Item::End(time))) => {
                    self.next_sequence = reader.header().sequence.checked_add(1);
                    return Some(Item::End(time));
                }
                Ok(Some(Item::Restart)) if self.again == Again::Expected => {
                    self.again = Again::PassedOver;
                }
                Ok(Some(Item::Part(_))) if self.again == Again::PassedOver => {}
                Ok(Some(item)) => {
                    self.again = Again::No;
                    return Some(item);
                }
                Ok(None) => self.close(),
                Err(source) => {
                    self.problems.push(Problem { path: path.clone(), source });
                    self.next_sequence = None;
                    self.close();
                }
            }
        }
    }

    fn open(&mut self) -> bool {
        while !self.files.is_empty() {
            let path = self.files.remove(0);
            match Reader::open(&path) {
                Ok(reader) => {
                    let header = reader.header();
                    let goes_on = header.continues && self.next_sequence == Some(header.sequence);
                    self.again = if goes_on { Again::Expected } else { Again::No };
                    self.next_sequence = None;
                    self.current = Some((path, reader));
                    return true;
                }
                Err(source) => self.problems.push(Problem { path, source }),
            }
        }
        false
    }

    fn close(&mut self) {
        self.done = self.position();
        self.current = None;
    }
}
