//! A recording in progress, of a command that traces.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use inotify_trace_model::{clock::Clock, feed::Batch, story::Audience, tracker::Tracker};

use super::{Host, say::say};
use crate::{
    feed::Session,
    host,
    output::{Bytes, printable},
    recording::{Header, Progress, Recorder, RecordingError, Rotation, Store},
};

/// Default time until a batch is on disk.
const FLUSH: Duration = Duration::from_secs(1);

/// Fails if `path` is a file, before any work: a recording overwrites nothing.
pub(super) fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) if !path.is_dir() => Err(RecordingError::Exists(path.to_owned()).into()),
        _ => Ok(()),
    }
}

/// The header of a recording of this session that begins now.
pub(super) fn header(session: &Session, host: &Host, clock: &Clock) -> Header {
    let live = session.live();
    let mut header = host::header(&host.root(), clock, host::now());
    header.backend = live.backend().map(|it| it.to_string()).unwrap_or_default();
    header.unseen = live.unseen().iter().map(ToString::to_string).collect();
    header
}

/// A recording in progress. Callers call `finish` even after an error.
pub(super) struct Recording {
    recorder: Recorder,
    /// The first file.
    file: PathBuf,
}

impl Recording {
    /// Starts to record into one file, or a directory.
    pub(super) fn of_one_file(
        path: &Path,
        session: &Session,
        host: &Host,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        Self::start(Store::new(path, Rotation::default())?, FLUSH, session, host, clock)
    }

    /// Starts to record into `store`; an event is on disk after at most `flush`.
    pub(super) fn start(
        store: Store,
        flush: Duration,
        session: &Session,
        host: &Host,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let header = header(session, host, clock);
        let say = Box::new(|message: &str| {
            // If standard error is closed too, there is no place left to report to.
            let _ = say(format_args!("inotify-trace: {message}"));
        });
        let file = store.file(&header);
        Ok(Self { recorder: Recorder::start(store, header, flush, say)?, file })
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.recorder.progress()
    }

    /// Ends the recording, and prints its totals.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let (totals, result) = self.recorder.finish(host::now());
        let mut err = io::stderr().lock();
        writeln!(
            err,
            "Recorded {} event{} in {} file{} ({}){} {}",
            totals.events,
            if totals.events == 1 { "" } else { "s" },
            totals.files,
            if totals.files == 1 { "" } else { "s" },
            Bytes(totals.bytes),
            if totals.files == 1 { ":" } else { ", the first of them" },
            printable(&self.file.to_string_lossy()),
        )?;
        if totals.unrecorded > 0 {
            writeln!(err, "{} events could not be recorded, and are missing.", totals.unrecorded)?;
        }
        result.context("the end of the recording")
    }
}

impl Audience for Recording {
    type Error = io::Error;

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        self.recorder.batch(batch, tracker)
    }
}
