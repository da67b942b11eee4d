//! Exports while tracing: what happens in an hour is a Parquet file when the hour is over.
//!
//! A thread of its own folds the events again and writes, so that a slow disk delays no events. A file
//! that cannot be written is given up, and the agent goes on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event, EventKind, Loss},
    feed::{Batch, Item},
    story::{Audience, Story},
    tracker::{Part, Tracker},
    verdict::Grace,
};

use crate::{
    export::{Existing, ExportError, Exporter, Flat, Partitioned},
    host,
    recording::{
        Header, Progress,
        queue::{Job, Jobs, Queue, queue},
    },
    threads,
};

/// Nanoseconds of an hour.
const HOUR: u64 = 3_600_000_000_000;

/// How long after an hour its last events may come. If there are later ones, their file follows when
/// the next hour is over.
const LATE: u64 = 5_000_000_000;

/// How long the thread sleeps if no file is open.
const IDLE: Duration = Duration::from_secs(3600);

/// The time from a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(60);

/// Reports an error, or its end, to the user.
pub type Say = Box<dyn Fn(&str) + Send>;

/// An audience that exports all events.
#[derive(Debug)]
pub struct Exports {
    queue: Queue,
    thread: JoinHandle<()>,
}

impl Exports {
    /// Begins to export below a directory.
    ///
    /// # Errors
    /// If the directory cannot be made, or there is no room for a thread.
    pub fn start(directory: &Path, header: Header, say: Say) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (queue, jobs) = queue();
        let directory = directory.to_owned();
        let thread = threads::spawn("export", move || {
            run(&jobs, Hours::new(directory, header, Arc::clone(&jobs.progress), say));
        })?;
        Ok(Self { queue, thread })
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(self.queue.progress())
    }

    /// Completes the files.
    pub fn finish(self, time: BootTime) {
        self.queue.finish(time);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Never fails: events that cannot be exported are counted.
impl Audience for Exports {
    type Error = io::Error;

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        if self.queue.hear(batch) {
            self.queue.add(batch.clone(), tracker);
        }
        Ok(())
    }
}

/// The loop of the thread.
fn run(jobs: &Jobs, mut hours: Hours) {
    loop {
        let late = hours.due().map(|due| BootTime(due.0.saturating_add(LATE)));
        match jobs.next(late.map_or(IDLE, |late| late.since(host::now()))) {
            Ok(Job::Batch(batch)) => hours.batch(batch),
            Ok(Job::State { time, parts, missed }) => hours.restart(time, parts, missed),
            Ok(Job::Finish { time, missed }) => {
                hours.miss(time, missed);
                return hours.complete();
            }
            Err(RecvTimeoutError::Timeout) => hours.complete(),
            // The other thread has panicked: keep what there is.
            Err(RecvTimeoutError::Disconnected) => return hours.complete(),
        }
    }
}

/// The events of hours, and the file of the current one.
struct Hours {
    directory: PathBuf,
    header: Header,
    clock: Clock,
    story: Story,
    open: Option<Open>,
    /// When the last attempt failed, if it did.
    failed: Option<Instant>,
    progress: Arc<Progress>,
    /// Sets of files that are complete.
    complete: u64,
    given_up: u64,
    /// Events that are in no file.
    missed: u64,
    say: Say,
}

/// The files that are being written: the rows of an hour, and perhaps the first of the next one.
struct Open {
    flat: Flat,
    /// The end of the hour.
    due: BootTime,
    events: u64,
}

impl Hours {
    fn new(directory: PathBuf, header: Header, progress: Arc<Progress>, say: Say) -> Self {
        Self {
            directory,
            clock: header.clock(),
            // The batches have what the agent forgets.
            story: Story::new(header.started, Grace::default()).within(None),
            header,
            open: None,
            failed: None,
            progress,
            complete: 0,
            given_up: 0,
            missed: 0,
            say,
        }
    }

    /// When the hour is over.
    fn due(&self) -> Option<BootTime> {
        self.open.as_ref().map(|it| it.due)
    }

    fn batch(&mut self, batch: Batch) {
        let first = batch.events.first().map_or(batch.time, |it| it.time);
        if self.due().is_some_and(|due| due <= first) {
            self.complete();
        }
        let events = batch.events.len() as u64;
        let is_resting = self.failed.is_some_and(|failed| failed.elapsed() < RETRY);
        if self.open.is_none() && !is_resting {
            self.begin(first);
        }
        let item = Item::Batch(batch);
        let Some(open) = &mut self.open else {
            let Ok(()) = self.story.take(item, &mut ());
            self.add_missed(events);
            return;
        };
        open.events += events;
        if let Err(error) = self.story.take(item, &mut open.flat) {
            self.give_up(&error);
        }
    }

    /// Continues from the state at `time`, before which events are missing.
    fn restart(&mut self, time: BootTime, parts: Vec<Part>, missed: u64) {
        let items = std::iter::once(Item::Restart).chain(parts.into_iter().map(Item::Part));
        for item in items {
            let Ok(()) = self.story.take(item, &mut ());
        }
        self.miss(time, missed);
    }

    /// Events before `time` are missing.
    fn miss(&mut self, time: BootTime, count: u64) {
        if count > 0 {
            self.add_missed(count);
            let kind = EventKind::Lost { count, what: Loss::Unrecorded };
            let events = vec![Event { time, task: None, kind }];
            self.batch(Batch { time, judged: false, events });
        }
    }

    fn begin(&mut self, first: BootTime) {
        let begun = Partitioned::create(&self.directory, Existing::Kept).and_then(|rows| {
            let mut flat = Flat::new(Box::new(rows));
            flat.begin(&self.header)?;
            Ok(flat)
        });
        // Each set of files of a run has names of its own.
        self.header.sequence += 1;
        let into = self.clock.booted().cast_unsigned().wrapping_add(first.0) % HOUR;
        let due = BootTime(first.0.saturating_add(HOUR - into));
        match begun {
            Ok(flat) => self.open = Some(Open { flat, due, events: 0 }),
            Err(error) => self.give_up(&error),
        }
    }

    /// Gives the files their names.
    fn complete(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let ended = self.story.end(&mut open.flat);
        match ended.and_then(|()| Box::new(open.flat).finish()) {
            Ok(()) => {
                self.complete += 1;
                self.progress.set_files(self.complete);
                if self.failed.take().is_some() {
                    (self.say)("exporting goes on; events are missing in it");
                }
            }
            Err(error) => {
                self.add_missed(open.events);
                self.give_up(&error);
            }
        }
    }

    fn give_up(&mut self, error: &ExportError) {
        let lost = self.open.take().map_or(0, |it| it.events);
        self.add_missed(lost);
        self.given_up += 1;
        self.progress.set_errors(self.given_up);
        if self.failed.replace(Instant::now()).is_none() {
            (self.say)(&format!(
                "exporting stopped: {error}; the events of this hour are missing, and it goes on when \
                 that works again"
            ));
        }
    }

    fn add_missed(&mut self, events: u64) {
        self.missed += events;
        self.progress.set_missed(self.missed);
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
