//! Records while tracing: a thread of its own writes, so that a slow disk does not delay events.

use std::{
    io,
    sync::{Arc, mpsc::RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

use inotify_trace_model::{event::BootTime, feed::Batch, story::Audience, tracker::Tracker};

use super::{
    Header, Progress, RecordingError, Store,
    queue::{Job, Jobs, Queue, queue},
    writer::{Totals, Writer},
};
use crate::threads;

/// How long the thread sleeps if nothing is to be written.
const IDLE: Duration = Duration::from_secs(3600);

/// Reports an error, or its end, to the user.
pub type Say = Box<dyn Fn(&str) + Send>;

/// Records events; an audience.
#[derive(Debug)]
pub struct Recorder {
    pub(super) queue: Queue,
    thread: JoinHandle<(Totals, Result<(), RecordingError>)>,
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
        let begun = header.started;
        let writer = Writer::new(store, header, flush)?;
        let (queue, jobs) = queue();
        // What was before is not missing in it: until its first batch it is up to date.
        queue.progress().keep(begun);
        let thread = threads::spawn("recorder", move || run(writer, &jobs, &say))
            .map_err(RecordingError::Read)?;
        Ok(Self { queue, thread })
    }

    /// Records a batch that `tracker` has applied.
    pub fn record(&mut self, batch: Batch, tracker: &Tracker) {
        self.queue.hear(&batch);
        self.queue.add(batch, tracker);
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(self.queue.progress())
    }

    /// The number of batches that wait to be written. If there are too many, the next is not recorded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Writes the rest, and returns the totals.
    ///
    /// # Errors
    /// If the end could not be written. The file is complete before that.
    pub fn finish(self, time: BootTime) -> (Totals, Result<(), RecordingError>) {
        self.queue.finish(time);
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Never fails: events that cannot be written are counted, and recorded as missing.
impl Audience for Recorder {
    type Error = io::Error;

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        if self.queue.hear(batch) {
            let events = std::mem::take(&mut batch.events);
            self.queue.add(Batch { events, ..*batch }, tracker);
        }
        Ok(())
    }
}

/// The loop of the thread.
fn run(mut writer: Writer, jobs: &Jobs, say: &Say) -> (Totals, Result<(), RecordingError>) {
    // The time of the last job.
    let mut now = BootTime::default();
    loop {
        let result = match jobs.next(writer.due().unwrap_or(IDLE)) {
            Ok(Job::Batch(batch)) => {
                now = batch.time;
                writer.batch(batch).and_then(|()| writer.flush())
            }
            Ok(Job::State { time, parts, missed }) => {
                now = time;
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
            jobs.want_state();
        }
        writer.tell(&jobs.progress);
        if writer.is_clean() {
            jobs.progress.keep(now);
        }
    }
}
