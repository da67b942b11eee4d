//! Exports while tracing: what happens in an hour is a Parquet file when the hour is over.
//!
//! The event loop makes rows of events, since it has the state that they tell of; a thread encodes and
//! writes them, so that a slow disk delays no events. A file that cannot be written is given up, and the
//! agent goes on.

use std::{
    cell::RefCell,
    io, mem,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event, EventKind, Loss},
    feed::Batch,
    story::Audience,
    tracker::Tracker,
    verdict::Verdict,
};

use crate::{
    export::{Existing, ExportError, Exporter as _, Flat, Partitioned, Rows},
    output::{Record, Row},
    recording::{Header, Progress},
    threads,
};

/// Nanoseconds of an hour.
const HOUR: u64 = 3_600_000_000_000;

/// How long after an hour its last events may come. If there are later ones, their file follows when
/// the next hour is over.
const LATE: u64 = 5_000_000_000;

/// The most rows that wait to be written, of about 2 KiB each: a quarter of a minute of 50 containers a
/// second.
const WAITING: usize = 8 << 10;

/// The time from a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(60);

/// Reports an error, or its end, to the user.
pub type Say = Box<dyn Fn(&str) + Send>;

/// An audience that exports all events.
pub struct Exports {
    flat: Flat,
    /// What `flat` has made and is not sent yet.
    rows: Gathered,
    header: Header,
    clock: Clock,
    /// When the hour of the rows since the last file is over.
    due: Option<BootTime>,
    /// The events that did not fit into the queue and are not told of yet, and the time of the last.
    missed: Option<(BootTime, u64)>,
    jobs: Sender<Job>,
    /// How many rows wait.
    waiting: Arc<AtomicUsize>,
    progress: Arc<Progress>,
    thread: JoinHandle<()>,
}

type Gathered = Rc<RefCell<Vec<Row>>>;

impl Rows for Gathered {
    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        self.borrow_mut().push(row.to_row());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        Ok(())
    }
}

/// What the thread does.
#[derive(Debug)]
enum Job {
    /// It writes rows, before which so many events are missing.
    Write { rows: Vec<Row>, missed: u64 },
    /// It gives the files their names.
    Complete,
}

impl Exports {
    /// Begins to export below a directory.
    ///
    /// # Errors
    /// If the directory cannot be made, or there is no room for a thread.
    pub fn start(directory: &Path, header: Header, say: Say) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (progress, waiting) = <(Arc<Progress>, Arc<AtomicUsize>)>::default();
        let (jobs, work) = channel();
        let files = Files::new(directory.to_owned(), header.clone(), Arc::clone(&progress), say);
        let its = Arc::clone(&waiting);
        let thread = threads::spawn("export", move || run(&work, &its, files))?;
        let rows = Gathered::default();
        let mut flat = Flat::new(Box::new(Rc::clone(&rows)));
        flat.begin(&header).map_err(io::Error::other)?;
        let clock = header.clock();
        let (due, missed) = (None, None);
        Ok(Self { flat, rows, header, clock, due, missed, jobs, waiting, progress, thread })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Completes the files.
    ///
    /// # Errors
    /// None that it does not count.
    pub fn finish(mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        if self.due.is_some() {
            self.complete(tracker, now)?;
        }
        drop(self.jobs);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(())
    }

    /// Sends what is gathered, if there is room.
    fn send(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        let count = self.rows.borrow().len();
        if count == 0 {
            return Ok(());
        }
        // Even a batch that is larger than the queue fits if nothing waits.
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting + count > WAITING {
            let missed = self.missed.map_or(0, |(_, missed)| missed);
            self.missed = Some((now, missed + count as u64));
            self.rows.borrow_mut().clear();
            return Ok(());
        }
        let missed = self.missed.take();
        if let Some((time, count)) = missed {
            let kind = EventKind::Lost { count, what: Loss::Unrecorded };
            self.event(&Event { time, task: None, kind }, tracker)?;
        }
        let rows = mem::take(&mut *self.rows.borrow_mut());
        self.waiting.fetch_add(rows.len(), Ordering::Relaxed);
        // If the thread is gone, it has panicked, which joining it shows.
        let _ = self.jobs.send(Job::Write { rows, missed: missed.map_or(0, |(_, missed)| missed) });
        Ok(())
    }

    /// The hour is over.
    fn complete(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.flat.end(tracker, now).map_err(io::Error::other)?;
        self.send(tracker, now)?;
        let _ = self.jobs.send(Job::Complete);
        self.due = None;
        self.flat.begin(&self.header).map_err(io::Error::other)
    }
}

/// Never fails: events that cannot be exported are counted.
impl Audience for Exports {
    type Error = io::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        self.flat.event(event, tracker).map_err(io::Error::other)
    }

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.flat.verdict(verdict, tracker, now).map_err(io::Error::other)
    }

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.complete(tracker, now)
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        if self.due.is_none() && !self.rows.borrow().is_empty() {
            let time = batch.time.0;
            let into = self.clock.booted().cast_unsigned().wrapping_add(time) % HOUR;
            self.due = Some(BootTime(time.saturating_add(HOUR - into + LATE)));
        }
        self.send(tracker, batch.time)
    }
}

/// The loop of the thread. Without the other end it completes what there is: it has finished, or
/// panicked.
fn run(jobs: &Receiver<Job>, waiting: &AtomicUsize, mut files: Files) {
    Partitioned::remove_abandoned(&files.directory, &files.header);
    for job in jobs {
        match job {
            Job::Write { rows, missed } => {
                waiting.fetch_sub(rows.len(), Ordering::Relaxed);
                files.write(rows, missed);
            }
            Job::Complete => files.complete(),
        }
    }
    files.complete();
}

/// The files of the hours.
struct Files {
    directory: PathBuf,
    header: Header,
    open: Option<Open>,
    /// When the last attempt failed, if it did.
    failed: Option<Instant>,
    progress: Arc<Progress>,
    say: Say,
}

/// The files that are being written: the rows of an hour, and perhaps the first of the next one.
struct Open {
    files: Partitioned,
    rows: u64,
}

impl Files {
    fn new(directory: PathBuf, header: Header, progress: Arc<Progress>, say: Say) -> Self {
        Self { directory, header, open: None, failed: None, progress, say }
    }

    fn write(&mut self, rows: Vec<Row>, missed: u64) {
        self.progress.missed.add(missed);
        let count = rows.len() as u64;
        let is_resting = self.failed.is_some_and(|failed| failed.elapsed() < RETRY);
        if self.open.is_none() && !is_resting {
            self.begin();
        }
        let Some(open) = &mut self.open else { return self.progress.missed.add(count) };
        open.rows += count;
        let mut rows = rows.into_iter().map(Record::from_iter);
        if let Err(error) = rows.try_for_each(|row| open.files.row(&row)) {
            self.give_up(&error);
        }
    }

    fn begin(&mut self) {
        let begun = Partitioned::create(&self.directory, Existing::Kept)
            .and_then(|mut files| files.begin(&self.header).map(|()| files));
        // Each set of files of a run has names of its own.
        self.header.sequence += 1;
        match begun {
            Ok(files) => self.open = Some(Open { files, rows: 0 }),
            Err(error) => self.give_up(&error),
        }
    }

    /// Gives the files their names.
    fn complete(&mut self) {
        let Some(open) = self.open.take() else { return };
        match Box::new(open.files).finish() {
            Ok(()) => {
                self.progress.files.add(1);
                if self.failed.take().is_some() {
                    (self.say)("exporting goes on; events are missing in it");
                }
            }
            Err(error) => {
                self.progress.missed.add(open.rows);
                self.give_up(&error);
            }
        }
    }

    fn give_up(&mut self, error: &ExportError) {
        let lost = self.open.take().map_or(0, |it| it.rows);
        self.progress.missed.add(lost);
        self.progress.errors.add(1);
        if self.failed.replace(Instant::now()).is_none() {
            (self.say)(&format!(
                "exporting stopped: {error}; the events of this hour are missing, and it goes on when \
                 that works again"
            ));
        }
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
