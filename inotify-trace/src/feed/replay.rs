//! Recordings as a feed.

use std::{
    cmp::Reverse,
    collections::HashSet,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, Loss},
    feed::{Batch, Item},
};

use crate::recording::{self, EXTENSION, End, Header, Reader, RecordingError, is_being_written};

/// An error of a file. The rest of the file was used, as far as it can be read.
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
        for path in paths {
            // Of a directory everything is wanted; of a file that is named, only itself.
            let wants_all = path.is_dir();
            for path in recordings.expand(path) {
                match Reader::open(&path) {
                    Ok(reader) => {
                        files.push((size(&path), path, wants_all, reader.header().clone()));
                    }
                    Err(source) => recordings.problems.push(Problem { path, source }),
                }
            }
        }
        let age = |header: &Header| header.booted.saturating_add_unsigned(header.started.0);
        // Of several copies of a file, the largest is the latest.
        files.sort_by_key(|(size, .., header)| (age(header), header.sequence, Reverse(*size)));
        let mut seen = HashSet::new();
        files.retain(|(.., header)| seen.insert((header.run, header.sequence)));
        for (_, path, wants_all, header) in files {
            let is_known = |run: &&mut Replay| run.header.run == header.run;
            let run = match recordings.runs.iter_mut().find(is_known) {
                Some(run) => run,
                None => {
                    recordings.runs.push(Replay::new(header));
                    let Some(run) = recordings.runs.last_mut() else { continue };
                    run
                }
            };
            run.wants_all |= wants_all;
            run.files.push(path);
        }
        recordings.blame();
        recordings
    }

    /// Makes files that cannot be read a loss of the runs that they may be of: those of the machine in
    /// the file's name, or else all.
    fn blame(&mut self) {
        for problem in &self.problems {
            let name = problem.path.file_name().unwrap_or_default().to_string_lossy();
            let is_named = |run: &Replay| {
                let host = &run.header.host;
                !host.is_empty() && name.strip_prefix(&**host).is_some_and(|it| it.starts_with('-'))
            };
            let is_of_one = self.runs.iter().any(is_named);
            let runs = self.runs.iter_mut().filter(|run| !is_of_one || is_named(run));
            runs.for_each(|run| run.lose(Loss::Files, 1));
        }
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

/// One run of the recorder, from its first event to its last. What cannot be read is a problem, and a
/// loss before the next event.
#[derive(Debug)]
pub struct Replay {
    header: Header,
    /// The files not opened yet, oldest first.
    files: Vec<PathBuf>,
    /// Whether all files of the run were asked for.
    wants_all: bool,
    current: Option<Opened>,
    /// The sequence number after that of the last file.
    next_sequence: Option<u32>,
    /// Whether the last file was read up to its end.
    is_complete: bool,
    again: Again,
    /// Whether the last item was a part of the state.
    is_in_state: bool,
    /// Whether frames are missing since the state was last replaced.
    is_stale: bool,
    /// Whether a gap was yielded for that.
    is_gap_told: bool,
    /// Whether one ever was.
    has_gaps: bool,
    problems: Vec<Problem>,
    /// Losses that come before the next event.
    losses: Vec<(Loss, u64)>,
    /// An item that comes after losses.
    held: Option<Item>,
    /// The time of the last item.
    now: BootTime,
    /// Bytes of files that are read.
    done: u64,
}

/// A file that is being read.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    /// Whether a recorder was writing it when it was opened: its end may be missing yet.
    is_growing: bool,
    /// Whether what it ends with is damaged.
    is_cut: bool,
    /// Whether nothing in it is damaged.
    is_sound: bool,
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
    fn new(header: Header) -> Self {
        Self {
            now: header.started,
            header,
            files: Vec::new(),
            wants_all: false,
            current: None,
            next_sequence: None,
            is_complete: false,
            again: Again::No,
            is_in_state: false,
            is_stale: false,
            is_gap_told: false,
            has_gaps: false,
            problems: Vec::new(),
            losses: Vec::new(),
            held: None,
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

    /// Whether the state lacks what was in missing frames: none of later frames replaces it.
    #[must_use]
    pub fn has_stale_state(&self) -> bool {
        self.is_stale
    }

    /// Whether something that was read comes after missing frames, without a state in between.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.has_gaps
    }

    /// Whether all is read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.files.is_empty() && self.current.is_none()
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn size(&self) -> u64 {
        let current = self.current.iter().map(|file| &file.path);
        self.done + self.files.iter().chain(current).map(|path| size(path)).sum::<u64>()
    }

    /// The bytes read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.done + self.current.as_ref().map_or(0, |file| file.reader.offset())
    }

    /// The next item; None at the end. What cannot be read becomes a problem, and a loss in the next
    /// batch.
    pub fn next_item(&mut self) -> Option<Item> {
        let item = self.held.take().or_else(|| self.read());
        // At the end of what can be read, nothing that could be wrong follows a gap.
        let is_affected = matches!(item, Some(Item::Batch(_) | Item::End(_)));
        if is_affected && self.is_stale && !std::mem::replace(&mut self.is_gap_told, true) {
            self.held = item;
            self.has_gaps = true;
            return Some(Item::Gap);
        }
        let losses = match &item {
            Some(Item::Restart) => {
                self.is_gap_told = false;
                return item;
            }
            // The state has no time, and comes before the next batch.
            Some(Item::Part(_) | Item::Gap) => return item,
            _ => std::mem::take(&mut self.losses),
        };
        let lost = |time| {
            let event = |&(what, count): &(Loss, u64)| {
                let kind = EventKind::Lost { count, what };
                Event { time, task: None, kind }
            };
            losses.iter().map(event).collect::<Vec<_>>()
        };
        Some(match item {
            Some(Item::Batch(mut batch)) => {
                let time = batch.events.first().map_or(batch.time, |event| event.time);
                batch.events.splice(0..0, lost(time));
                self.now = self.now.max(batch.time);
                Item::Batch(batch)
            }
            item if losses.is_empty() => return item,
            item => {
                // Nothing is known up to a proper end.
                if let Some(Item::End(time)) = item {
                    self.now = self.now.max(time);
                }
                self.held = item;
                Item::Batch(Batch { time: self.now, judged: false, events: lost(self.now) })
            }
        })
    }

    /// The next item that can be read; None at the end.
    fn read(&mut self) -> Option<Item> {
        loop {
            if self.current.is_none() && !self.open() {
                return None;
            }
            let file = self.current.as_mut()?;
            match file.reader.next_item() {
                Ok(Some(Item::End(time))) => {
                    self.is_complete = file.is_sound;
                    return Some(Item::End(time));
                }
                Ok(Some(Item::Restart)) if self.again == Again::Expected => {
                    self.again = Again::PassedOver;
                }
                Ok(Some(Item::Part(_))) if self.again == Again::PassedOver => {}
                Ok(Some(Item::Part(part))) if !self.is_in_state => {
                    // The frame in which the state begins is missing.
                    self.is_in_state = true;
                    self.held = Some(Item::Part(part));
                    return Some(Item::Restart);
                }
                Ok(Some(item)) => {
                    self.again = Again::No;
                    self.is_in_state = matches!(item, Item::Restart | Item::Part(_));
                    self.is_stale &= item != Item::Restart;
                    file.is_cut = false;
                    return Some(item);
                }
                Ok(None) => self.close(),
                Err(source) => self.fail(source),
            }
        }
    }

    /// Takes note of what cannot be read of the current file.
    fn fail(&mut self, source: RecordingError) {
        let Some(file) = &mut self.current else { return };
        let frames = match &source {
            RecordingError::Damaged { damage, .. } => {
                file.is_cut = damage.left_out.is_none();
                // What is being written at this moment is there in part.
                if file.is_cut && file.is_growing {
                    return;
                }
                damage.frames
            }
            _ => 1,
        };
        file.is_sound = false;
        let is_readable = matches!(source, RecordingError::Damaged { .. });
        self.problems.push(Problem { path: file.path.clone(), source });
        if frames > 0 {
            self.lose(Loss::Frames, frames.into());
            self.is_stale = true;
        }
        // The state that is known includes that with which this file begins.
        if self.again == Again::Expected {
            self.again = Again::PassedOver;
        }
        if !is_readable {
            self.done = self.position();
            self.current = None;
        }
    }

    fn lose(&mut self, what: Loss, count: u64) {
        match self.losses.iter_mut().find(|(known, _)| *known == what) {
            Some((_, all)) => *all = all.saturating_add(count),
            None => self.losses.push((what, count)),
        }
    }

    fn open(&mut self) -> bool {
        while !self.files.is_empty() {
            let path = self.files.remove(0);
            // Asked first: a recorder may finish it at any time.
            let is_growing = is_being_written(&path);
            match Reader::open(&path) {
                Ok(reader) => {
                    let (sequence, continues) =
                        (reader.header().sequence, reader.header().continues);
                    let missing =
                        self.next_sequence.map_or(0, |next| sequence.saturating_sub(next));
                    if missing > 0 {
                        let source = RecordingError::FilesMissing(missing);
                        self.problems.push(Problem { path: path.clone(), source });
                        self.lose(Loss::Files, missing.into());
                        self.is_stale = true;
                    }
                    let is_next = self.next_sequence == Some(sequence);
                    let goes_on = continues && is_next && self.is_complete;
                    self.again = if goes_on { Again::Expected } else { Again::No };
                    self.is_complete = false;
                    self.is_in_state = false;
                    self.next_sequence = sequence.checked_add(1);
                    self.current =
                        Some(Opened { path, reader, is_growing, is_cut: false, is_sound: true });
                    return true;
                }
                Err(source) => self.problems.push(Problem { path, source }),
            }
        }
        false
    }

    /// Closes the current file, which was read as far as possible.
    fn close(&mut self) {
        self.done = self.position();
        let Some(file) = self.current.take() else { return };
        let is_last = self.files.is_empty();
        let (what, source) = match file.reader.goes_on() {
            _ if file.is_growing || file.is_cut => return,
            None => (Loss::End, RecordingError::NoEnd),
            Some(true) if is_last && self.wants_all => (Loss::Files, RecordingError::NextMissing),
            Some(_) => return,
        };
        self.problems.push(Problem { path: file.path, source });
        self.lose(what, 1);
    }
}
