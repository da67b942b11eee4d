//! Recording beside the tracing: a thread of its own writes, so that a slow disk delays nothing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
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

/// Batches that may wait to be written. A batch has a few thousand events at most.
const WAITING: usize = 64;

/// How long to sleep where nothing is to be written.
const IDLE: Duration = Duration::from_secs(3600);

/// Says what went wrong, or is right again, to whoever runs the recording.
pub type Say = Box<dyn Fn(&str) + Send>;

/// Records what is handed to it.
#[derive(Debug)]
pub struct Recorder {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
    /// Events that found no place to wait, and must be told as missing.
    pub(super) missed: u64,
    thread: JoinHandle<(Totals, Result<(), RecordingError>)>,
}

#[derive(Debug)]
enum Job {
    Batch(Batch),
    /// All that is known, and how many events never came.
    State {
        time: BootTime,
        parts: Vec<Part>,
        missed: u64,
    },
    /// It is over, and so many events never came.
    Finish {
        time: BootTime,
        missed: u64,
    },
}

/// What both threads look at.
#[derive(Debug, Default)]
struct Shared {
    wants_state: AtomicBool,
    waiting: AtomicUsize,
}

impl Recorder {
    /// Begins a recording, of which each batch is on disk after `flush` at the latest.
    ///
    /// # Errors
    /// If the first file cannot be made.
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
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || run(writer, &receiver, &its, &say))
            .map_err(RecordingError::Read)?;
        Ok(Self { jobs, shared, missed: 0, thread })
    }

    /// Records a batch that `tracker` has taken in.
    pub fn record(&mut self, batch: Batch, tracker: &Tracker) {
        let time = batch.time;
        if self.missed > 0 {
            // Without what came before, it would be misunderstood.
            self.missed += batch.events.len() as u64;
        } else if let Err(Job::Batch(batch)) = self.send(Job::Batch(batch)) {
            self.missed = batch.events.len() as u64;
        }
        let is_wanted = self.missed > 0 || self.shared.wants_state.load(Ordering::Relaxed);
        // Taking the state apart is work, and for nothing if it finds no place.
        if is_wanted && self.shared.waiting.load(Ordering::Relaxed) < WAITING / 2 {
            let job = Job::State { time, parts: tracker.parts(), missed: self.missed };
            if self.send(job).is_ok() {
                self.missed = 0;
                self.shared.wants_state.store(false, Ordering::Relaxed);
            }
        }
    }

    /// How many batches wait to be written. Where there are too many, the next is not recorded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Writes what is left, and says what was written.
    ///
    /// # Errors
    /// If the end could not be written. What was written before is there.
    pub fn finish(self, time: BootTime) -> (Totals, Result<(), RecordingError>) {
        // If the thread is gone, it has panicked, which joining it tells.
        let _ = self.jobs.send(Job::Finish { time, missed: self.missed });
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Hands over a job; gives it back if there is no place.
    fn send(&self, job: Job) -> Result<(), Job> {
        // Counted first: the other thread counts down as soon as it has it.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }
        })
    }
}

/// It keeps what it is told, and never fails: what cannot be written is counted, and told as
/// missing.
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

/// What the thread does.
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
            // Whoever recorded has panicked: what there is is kept.
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
