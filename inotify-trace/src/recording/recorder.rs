//! Records while tracing: a thread of its own writes, so that a slow disk does not delay events.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use inotify_trace_model::{
    event::BootTime,
    feed::Batch,
    story::Audience,
    tracker::{Part, Tracker},
};

use super::{
    Header, RecordingError, Store,
    writer::{Totals, Writer},
};
use crate::threads;

/// The most batches that wait to be written. A batch has a few thousand events at most.
const WAITING: usize = 64;

/// How long the thread sleeps if nothing is to be written.
const IDLE: Duration = Duration::from_secs(3600);

/// Reports an error, or its end, to the user.
pub type Say = Box<dyn Fn(&str) + Send>;

/// Records events; an audience.
#[derive(Debug)]
pub struct Recorder {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
    /// Events that did not fit into the queue, and must be recorded as missing.
    pub(super) missed: u64,
    thread: JoinHandle<(Totals, Result<(), RecordingError>)>,
}

#[derive(Debug)]
enum Job {
    Batch(Batch),
    /// The state, and the number of events missing before it.
    State {
        time: BootTime,
        parts: Vec<Part>,
        missed: u64,
    },
    /// The end, and the number of events missing before it.
    Finish {
        time: BootTime,
        missed: u64,
    },
}

/// State shared by both threads.
#[derive(Debug, Default)]
struct Shared {
    wants_state: AtomicBool,
    waiting: AtomicUsize,
}

impl Recorder {
    /// Begins a recording; each batch is on disk after `flush` at the latest.
    ///
    /// # Errors
    /// If the first file cannot be created.
    pub fn start(
        store: Store,
        header: Header,
        flush: Duration,
        say: Say,
    ) -> Result<Self, RecordingError> {
        let writer = Writer::new(store, header, flush)?;
        let shared = Arc::new(Shared::default());
        let (jobs, receiver) = sync_channel(WAITING);
        let its = Arc::clone(&shared);
        let thread = threads::spawn("recorder", move || run(writer, &receiver, &its, &say))
            .map_err(RecordingError::Read)?;
        Ok(Self { jobs, shared, missed: 0, thread })
    }

    /// Records a batch that `tracker` has applied.
    pub fn record(&mut self, batch: Batch, tracker: &Tracker) {
        let time = batch.time;
        if self.missed > 0 {
            // Without the missing events before it, a reader would misinterpret it.
            self.missed += batch.events.len() as u64;
        } else if let Err(Job::Batch(batch)) = self.send(Job::Batch(batch)) {
            self.missed = batch.events.len() as u64;
        }
        let is_wanted = self.missed > 0 || self.shared.wants_state.load(Ordering::Relaxed);
        // Copying the state is expensive, and in vain if it does not fit into the queue.
        if is_wanted && self.shared.waiting.load(Ordering::Relaxed) < WAITING / 2 {
            let job = Job::State { time, parts: tracker.parts(), missed: self.missed };
            if self.send(job).is_ok() {
                self.missed = 0;
                self.shared.wants_state.store(false, Ordering::Relaxed);
            }
        }
    }

    /// The number of batches that wait to be written. If there are too many, the next is not recorded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Writes the rest, and returns the totals.
    ///
    /// # Errors
    /// If the end could not be written. The file is complete before that.
    pub fn finish(self, time: BootTime) -> (Totals, Result<(), RecordingError>) {
        // If the thread is gone, it has panicked, which joining it shows.
        let _ = self.jobs.send(Job::Finish { time, missed: self.missed });
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Queues a job; returns it if the queue is full.
    fn send(&self, job: Job) -> Result<(), Job> {
        // Counted first: the other thread decrements as soon as it receives the job.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }
        })
    }
}

/// Never fails: events that cannot be written are counted, and recorded as missing.
impl Audience for Recorder {
    type Error = io::Error;

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        if batch.judged || !batch.events.is_empty() {
            let events = std::mem::take(&mut batch.events);
            self.record(Batch { events, ..*batch }, tracker);
        }
        Ok(())
    }
}

/// The loop of the thread.
fn run(
    mut writer: Writer,
    jobs: &Receiver<Job>,
    shared: &Shared,
    say: &Say,
) -> (Totals, Result<(), RecordingError>) {
    loop {
        let job = jobs.recv_timeout(writer.due().unwrap_or(IDLE));
        if job.is_ok() {
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        let result = match job {
            Ok(Job::Batch(batch)) => writer.batch(batch).and_then(|()| writer.flush()),
            Ok(Job::State { time, parts, missed }) => {
                writer.miss(missed);
                let before = writer.totals.unrecorded;
                writer.restart(time, parts).map(|is_over| {
                    if is_over {
                        say(&format!("recording goes on; {before} events are missing in it"));
                    }
                })
            }
            Ok(Job::Finish { time, missed }) => {
                writer.miss(missed);
                return writer.finish(Some(time));
            }
            Err(RecvTimeoutError::Timeout) => writer.flush(),
            // The other thread has panicked: keep what is recorded.
            Err(RecvTimeoutError::Disconnected) => return writer.finish(None),
        };
        if let Err(error) = result {
            say(&format!(
                "recording stopped: {error}; what was recorded is kept, and it goes on when that \
                 works again"
            ));
        }
        if writer.wants_state() {
            shared.wants_state.store(true, Ordering::Relaxed);
        }
    }
}
