//! The queue between the event loop, which waits for nobody, and a thread that writes.
//!
//! If the queue is full, batches are left out, and the state comes before any later one: so a gap
//! never makes a reader misinterpret the events after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use inotify_trace_model::{
    event::BootTime,
    feed::Batch,
    tracker::{Part, Tracker},
};

use super::Progress;

/// The most batches that wait to be written. A batch has a few thousand events at most.
const WAITING: usize = 64;

/// Something to write.
#[derive(Debug)]
pub(crate) enum Job {
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

/// The end of the queue that the event loop has.
#[derive(Debug)]
pub(crate) struct Queue {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    /// Events that did not fit into the queue, and must be written as missing.
    missed: u64,
}

/// The end of the queue that the writing thread has.
#[derive(Debug)]
pub(crate) struct Jobs {
    jobs: Receiver<Job>,
    shared: Arc<Shared>,
    pub(crate) progress: Arc<Progress>,
}

pub(crate) fn queue() -> (Queue, Jobs) {
    let (sender, jobs) = sync_channel(WAITING);
    let (shared, progress) = <(Arc<Shared>, Arc<Progress>)>::default();
    let queue = Queue {
        jobs: sender,
        shared: Arc::clone(&shared),
        progress: Arc::clone(&progress),
        missed: 0,
    };
    (queue, Jobs { jobs, shared, progress })
}

impl Queue {
    /// Whether there is something to write in a batch. Others need not be added.
    pub(crate) fn hear(&self, batch: &Batch) -> bool {
        let has_work = batch.judged || !batch.events.is_empty();
        self.progress.hear(batch.time, has_work);
        has_work
    }

    /// Adds a batch that `tracker` has applied.
    pub(crate) fn add(&mut self, batch: Batch, tracker: &Tracker) {
        let time = batch.time;
        if self.missed > 0 {
            // Without the missing events before it, a reader would misinterpret it.
            self.missed += batch.events.len() as u64;
        } else if let Err(Job::Batch(batch)) = self.send(Job::Batch(batch)) {
            self.missed = batch.events.len() as u64;
        }
        let is_wanted = self.missed > 0 || self.shared.wants_state.load(Ordering::Relaxed);
        // Copying the state is expensive, and in vain if it does not fit into the queue.
        if is_wanted && self.waiting() < WAITING / 2 {
            let job = Job::State { time, parts: tracker.parts(), missed: self.missed };
            if self.send(job).is_ok() {
                self.missed = 0;
                self.shared.wants_state.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Adds the end, and waits until there is room for it.
    pub(crate) fn finish(self, time: BootTime) {
        // If the thread is gone, it has panicked, which joining it shows.
        let _ = self.jobs.send(Job::Finish { time, missed: self.missed });
    }

    /// The number of batches that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Events that did not fit, and are not told of yet.
    #[cfg(test)]
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
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

impl Jobs {
    /// The next job; an error if there is none for this long, or will be none.
    pub(crate) fn next(&self, patience: Duration) -> Result<Job, RecvTimeoutError> {
        let job = self.jobs.recv_timeout(patience);
        // The last job does not count as waiting.
        if matches!(job, Ok(Job::Batch(_) | Job::State { .. })) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }

    /// Asks for the state, which comes with one of the next batches.
    pub(crate) fn want_state(&self) {
        self.shared.wants_state.store(true, Ordering::Relaxed);
    }
}
