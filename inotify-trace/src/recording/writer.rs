//! Writes a recording: flushes in time, rotates files, and recovers from write errors.

use std::{
    collections::HashSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use inotify_trace_model::{
    event::{BootTime, Event, EventKind, Loss},
    feed::Batch,
    tracker::Part,
};

use super::{
    Header, Progress, RecordingError, Store,
    encode::Encoder,
    frame::{Kind, MAGIC, Packer},
    store::Output,
    wire,
};

/// The time between two attempts after a write error; tests shorten it.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of frames collected per write of the state.
const GATHERED: usize = 1 << 20;

/// Writes a recording.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    header: Header,
    flush: Duration,
    packer: Packer,
    frame: Encoder,
    /// When the frame must be written.
    due: Option<Instant>,
    /// Events in the frame.
    pending: u64,
    pub(super) output: Option<Output>,
    /// The time between two attempts after a write error.
    pub(super) retry: Duration,
    /// When the last attempt to write failed, if it did: nothing is recorded until one succeeds.
    failed: Option<Instant>,
    /// Events that were not recorded, and that the recording does not count as missing yet.
    unrecorded: u64,
    pub(super) totals: Totals,
    /// The number of frames in the file.
    written: u16,
    /// Whether it was said that one file is too large.
    pub(super) has_exceeded: bool,
    /// Old files that could not be removed.
    pub(super) stuck: HashSet<PathBuf>,
}

/// The totals of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files begun.
    pub files: u64,
    /// Bytes, in all files.
    pub bytes: u64,
    /// Events.
    pub events: u64,
    /// Events that could not be recorded.
    pub unrecorded: u64,
    /// Attempts to write that failed.
    pub errors: u64,
}

impl Writer {
    /// Begins the first file.
    pub(super) fn new(
        store: Store,
        header: Header,
        flush: Duration,
    ) -> Result<Self, RecordingError> {
        let packer = Packer::new().map_err(RecordingError::Read)?;
        let mut writer = Self {
            store,
            header,
            flush,
            packer,
            frame: Encoder::default(),
            due: None,
            pending: 0,
            output: None,
            retry: RETRY,
            failed: None,
            unrecorded: 0,
            totals: Totals::default(),
            written: 0,
            has_exceeded: false,
            stuck: HashSet::new(),
        };
        writer.begin()?;
        Ok(writer)
    }

    /// The time until the next write, or the next attempt.
    pub(super) fn due(&self) -> Option<Duration> {
        let retry = self.failed.map(|failed| failed + self.retry).filter(|&at| at > Instant::now());
        let due = [self.due, retry].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Whether the state is needed to continue: for the next file, or after a failure.
    pub(super) fn wants_state(&self) -> bool {
        match (self.failed, &self.output) {
            (Some(failed), _) => failed.elapsed() >= self.retry,
            (None, Some(output)) => self.store.is_over(output),
            (None, None) => true,
        }
    }

    /// Whether everything that it was given is on disk.
    pub(super) fn is_clean(&self) -> bool {
        self.failed.is_none() && self.due.is_none() && self.unrecorded == 0
    }

    /// Tells how far it is.
    pub(super) fn tell(&self, progress: &Progress) {
        progress.bytes.raise(self.totals.bytes);
        progress.files.raise(self.totals.files);
        progress.errors.raise(self.totals.errors);
        progress.missed.raise(self.totals.unrecorded);
    }

    /// Adds a batch. Of several errors in succession, only the first is returned.
    pub(super) fn batch(&mut self, mut batch: Batch) -> Result<(), RecordingError> {
        loop {
            let before = batch.events.len() as u64;
            if self.failed.is_some() {
                self.miss(before);
                return Ok(());
            }
            self.frame.batch(&mut batch);
            self.pending += before - batch.events.len() as u64;
            self.due.get_or_insert_with(|| Instant::now() + self.flush);
            if self.frame.is_full()
                && let Err(error) = self.write_frame()
            {
                // The rest cannot be understood without the lost part before it.
                self.miss(batch.events.len() as u64);
                return Err(error);
            }
            if batch.events.is_empty() {
                return Ok(());
            }
        }
    }

    /// Counts events as missing in the recording.
    pub(super) fn miss(&mut self, events: u64) {
        self.unrecorded += events;
        self.totals.unrecorded += events;
    }

    /// Writes the frame, if it is due.
    pub(super) fn flush(&mut self) -> Result<(), RecordingError> {
        if self.due.is_some_and(|due| due <= Instant::now()) { self.write_frame() } else { Ok(()) }
    }

    /// Continues from `parts`, the state at `time`: in the next file if rotation is due, otherwise,
    /// after a failure, in the same one. Returns whether that ended a failure.
    pub(super) fn restart(
        &mut self,
        time: BootTime,
        parts: Vec<Part>,
    ) -> Result<bool, RecordingError> {
        if self.failed.is_none() && self.unrecorded == 0 && !self.wants_state() {
            // The state was requested twice before the first one arrived. The recording is complete,
            // and must not look as if events were missing.
            return Ok(false);
        }
        if self.failed.is_none() {
            self.write_frame()?;
        }
        let had_failed = self.failed.is_some();
        let result = self.try_restart(time, parts);
        match &result {
            Ok(()) => self.failed = None,
            Err(_) => self.fail(),
        }
        match result {
            // The error was already returned.
            Err(_) if had_failed => Ok(false),
            result => result.map(|()| had_failed),
        }
    }

    fn try_restart(&mut self, time: BootTime, parts: Vec<Part>) -> Result<(), RecordingError> {
        if self.output.as_ref().is_none_or(|output| self.store.is_over(output)) {
            if self.output.is_some() {
                // The old file is complete even without its `End`.
                let _ = self.end(time, true);
            }
            self.output = None;
            self.header.started = time;
            self.header.sequence = u32::try_from(self.totals.files).unwrap_or(u32::MAX);
            self.header.continues = self.failed.is_none() && self.unrecorded == 0;
            self.begin()?;
        }
        let start = self.output.as_ref().map_or(0, |output| output.length);
        let before = self.written;
        let result = self.write_state(time, parts);
        if result.is_err() {
            // An incomplete state is of no use.
            self.frame = Encoder::default();
            if let Some(output) = &mut self.output {
                self.totals.bytes -= output.length - start;
                output.shorten(start);
            }
            (self.written, self.packer.number) = (before, before);
        } else if let Some(output) = &mut self.output {
            output.state = output.length - start;
            self.prune();
        }
        result
    }

    fn write_state(&mut self, time: BootTime, parts: Vec<Part>) -> Result<(), RecordingError> {
        let mut out = BytesMut::new();
        self.frame.restart();
        for part in parts {
            self.frame.part(part);
            if self.frame.is_full() {
                self.pack(&mut out)?;
            }
            if out.len() > GATHERED {
                self.append(&out.split())?;
            }
        }
        self.add_unrecorded(time);
        self.pack(&mut out)?;
        self.append(&out)?;
        self.unrecorded = 0;
        Ok(())
    }

    /// Adds a loss for the missing events to the frame, if there are any.
    fn add_unrecorded(&mut self, time: BootTime) {
        if self.unrecorded > 0 {
            let kind = EventKind::Lost { count: self.unrecorded, what: Loss::Unrecorded };
            let lost = Event { time, task: None, kind };
            self.frame.batch(&mut Batch { time, judged: false, events: vec![lost] });
        }
    }

    /// Writes the rest, and closes the file properly at `time`; without a time, it is left without
    /// its end.
    pub(super) fn finish(mut self, time: Option<BootTime>) -> (Totals, Result<(), RecordingError>) {
        let had_failed = self.failed.take().is_some();
        let mut result = self.write_frame();
        if let (Ok(()), Some(time)) = (&result, time) {
            // After a failure there may be space again for two small frames.
            self.add_unrecorded(time);
            result = self.write_frame().and_then(|()| self.end(time, false));
        }
        // The error was already returned.
        (self.totals, if had_failed { Ok(()) } else { result })
    }

    /// Begins a file.
    fn begin(&mut self) -> Result<(), RecordingError> {
        let output = self.store.create(&self.header)?;
        let mut out = BytesMut::from(&MAGIC[..]);
        let path = output.path.clone();
        self.output = Some(output);
        (self.written, self.packer.number) = (0, 0);
        let packed = self.packer.pack(Kind::Header, &self.header.to_wire(), &mut out);
        packed.map_err(|cause| RecordingError::Write { path, cause })?;
        let result = self.append(&out);
        match &result {
            Ok(()) => {
                self.totals.files += 1;
                self.prune();
            }
            // An empty file is of no use.
            Err(_) => drop(self.output.take().map(Output::discard)),
        }
        result
    }

    /// Removes the oldest files beyond the limits.
    fn prune(&mut self) {
        let Some(output) = &self.output else { return };
        if let Some(most) = self.store.exceeded(output).filter(|_| !self.has_exceeded) {
            self.has_exceeded = true;
            log::warn!(
                "{} has {} bytes, more than --max-total {most}: the state of this machine, with which \
                 each file begins, is too large for it; give more",
                output.path.display(),
                output.length
            );
        }
        let stuck = self.store.prune(&self.header, output);
        // Each is reported once, and again if it could be removed meanwhile.
        for (path, error) in &stuck {
            if !self.stuck.contains(path) {
                log::warn!(
                    "{} cannot be removed, and stays beyond the limits of the recording: {error}",
                    path.display()
                );
            }
        }
        self.stuck = stuck.into_iter().map(|(path, _)| path).collect();
    }

    /// Closes the file; `goes_on` says that the run does, in another one.
    fn end(&mut self, time: BootTime, goes_on: bool) -> Result<(), RecordingError> {
        let mut out = BytesMut::new();
        let end = wire::End { time: time.0, goes_on };
        let path = self.output.as_ref().map(|output| output.path.clone()).unwrap_or_default();
        let packed = self.packer.pack(Kind::End, &end, &mut out);
        packed.map_err(|cause| RecordingError::Write { path, cause })?;
        self.append(&out)
    }

    /// Writes the frame. If that fails, its events and the later ones are not recorded.
    fn write_frame(&mut self) -> Result<(), RecordingError> {
        self.due = None;
        let events = std::mem::take(&mut self.pending);
        if self.frame.is_empty() {
            return Ok(());
        }
        let mut out = BytesMut::new();
        let result = self.pack(&mut out).and_then(|()| self.append(&out));
        match &result {
            Ok(()) => self.totals.events += events,
            Err(_) => {
                self.fail();
                self.miss(events);
            }
        }
        result
    }

    /// An attempt to write has failed.
    fn fail(&mut self) {
        self.failed = Some(Instant::now());
        self.totals.errors += 1;
    }

    fn pack(&mut self, out: &mut BytesMut) -> Result<(), RecordingError> {
        let frame = self.frame.take();
        self.packer.pack(Kind::Frame, &frame, out).map_err(|cause| {
            let path = self.output.as_ref().map(|output| output.path.clone());
            RecordingError::Write { path: path.unwrap_or_default(), cause }
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let result = output.append(bytes);
        if result.is_err() {
            // The next frames take the place of these.
            self.packer.number = self.written;
            return result;
        }
        self.written = self.packer.number;
        self.totals.bytes += bytes.len() as u64;
        Ok(())
    }
}
