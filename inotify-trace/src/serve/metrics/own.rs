//! What the agent says of itself.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use inotify_trace_model::clock::Clock;

use crate::{
    counter::Counter,
    feed::Live,
    host::{procfs::OwnUse, runtimes::CriCounts},
    kernel::Meter,
    limits::{Sysctl, files::Root},
    recording::Progress,
};

use super::{page::Numbers, registry as of};

/// Reads what the state does not have: of this process, its kernel programs, and the sysctls.
#[derive(Debug)]
pub struct Sources {
    meter: Meter,
    root: Root,
    backend: String,
    kernel: String,
    began: Option<Duration>,
    /// Whether each overflow of a queue is seen.
    sees_overflows: bool,
    /// Whether the run time of programs is measured.
    measures: bool,
    cri: Arc<CriCounts>,
    clock: Clock,
    /// How far the recorder is, if there is one.
    pub recording: Option<Arc<Progress>>,
    /// How far the exporter is, if there is one.
    pub export: Option<Arc<Progress>>,
}

impl Sources {
    /// Those of this machine.
    #[must_use]
    pub fn new(live: &Live, root: Root, clock: &Clock, measures: bool) -> Self {
        Self {
            meter: live.meter(),
            root,
            backend: live.backend().map(|it| it.to_string()).unwrap_or_default(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            began: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok(),
            sees_overflows: live.sees_overflows(),
            measures,
            cri: live.cri_counts(),
            clock: clock.clone(),
            recording: None,
            export: None,
        }
    }

    /// The facts of this moment.
    #[must_use]
    pub fn read(&self) -> Facts {
        let programs = self.meter.programs();
        Facts {
            own: OwnUse::now(),
            began: self.began.map(|it| it.as_secs_f64()),
            ring: self.meter.ring(),
            ring_capacity: self.meter.ring_capacity(),
            map_memory: self.meter.map_memory(),
            programs: programs.map(|(name, it)| (name.to_owned(), it)).collect(),
            sysctls: Sysctl::ALL.map(|sysctl| self.root.live(sysctl).ok()),
            backend: self.backend.clone(),
            kernel: self.kernel.clone(),
            sees_overflows: self.sees_overflows,
            measures: self.measures,
            cri: Some([self.cri.requests.get(), self.cri.errors.get()]),
            recording: self.recording.as_deref().map(|it| Recorded {
                bytes: it.bytes.get(),
                errors: it.errors.get(),
                missed: it.missed.get(),
                synced: self.clock.timestamp(it.safe()).as_duration().as_secs_f64(),
            }),
            export: self
                .export
                .as_deref()
                .map(|it| [&it.files, &it.errors, &it.missed].map(Counter::get)),
        }
    }
}

/// What the state does not have.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub own: OwnUse,
    /// When the agent began, in seconds since 1970.
    pub began: Option<f64>,
    pub ring: Option<u64>,
    pub ring_capacity: u64,
    pub map_memory: u64,
    pub programs: Vec<(String, crate::kernel::Figures)>,
    /// In the order of [`Sysctl::ALL`].
    pub sysctls: [Option<u64>; 3],
    pub backend: String,
    pub kernel: String,
    pub sees_overflows: bool,
    pub measures: bool,
    /// Requests to runtimes, and how many of them failed.
    pub cri: Option<[u64; 2]>,
    pub recording: Option<Recorded>,
    /// Files, errors and missed events of the exporter.
    pub export: Option<[u64; 3]>,
}

/// What the recorder has done.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub bytes: u64,
    pub errors: u64,
    pub missed: u64,
    /// Until when all is on disk, in seconds since 1970.
    pub synced: f64,
}

impl Facts {
    /// Adds them.
    pub fn add(&self, numbers: &mut Numbers) {
        let number = |value: Option<u64>| value.map(|it| it as f64);
        let sysctls = [&of::MAX_INSTANCES, &of::MAX_WATCHES, &of::MAX_QUEUED];
        for (metric, value) in sysctls.into_iter().zip(self.sysctls) {
            numbers.add_one(metric, number(value));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        numbers.add(&of::BUILD, vec![(vec![version], 1.0)]);
        let backend = vec![self.backend.clone(), self.kernel.clone()];
        numbers.add(&of::BACKEND, vec![(backend, 1.0)]);
        let each = |value: fn(&crate::kernel::Figures) -> Option<f64>| {
            let programs = self.programs.iter();
            programs
                .filter_map(|(name, it)| Some((vec![name.clone()], value(it)?)))
                .collect::<Vec<_>>()
        };
        numbers.add(&of::PROGRAM_MISSES, each(|it| it.misses.map(|it| it as f64)));
        if self.measures {
            numbers.add(&of::PROGRAM_RUNS, each(|it| Some(it.runs as f64)));
            numbers.add(&of::PROGRAM_SECONDS, each(|it| Some(it.run_time as f64 / 1e9)));
        }
        numbers.add_one(&of::RING, number(self.ring));
        numbers.add_one(&of::RING_CAPACITY, Some(self.ring_capacity as f64));
        numbers.add_one(&of::MAP_MEMORY, Some(self.map_memory as f64));
        let recording = self.recording;
        numbers.add_one(&of::RECORDING_BYTES, number(recording.map(|it| it.bytes)));
        numbers.add_one(&of::RECORDING_ERRORS, number(recording.map(|it| it.errors)));
        numbers.add_one(&of::RECORDING_MISSED, number(recording.map(|it| it.missed)));
        numbers.add_one(&of::RECORDING_SYNCED, recording.map(|it| it.synced));
        let metrics = [&of::EXPORT_FILES, &of::EXPORT_ERRORS, &of::EXPORT_MISSED];
        for (metric, value) in metrics.into_iter().zip(self.export.into_iter().flatten()) {
            numbers.add_one(metric, number(Some(value)));
        }
        for (metric, value) in
            [&of::CRI_REQUESTS, &of::CRI_ERRORS].into_iter().zip(self.cri.into_iter().flatten())
        {
            numbers.add_one(metric, number(Some(value)));
        }
        numbers.add_one(&of::CPU, Some(self.own.cpu));
        numbers.add_one(&of::RESIDENT, number(self.own.resident));
        numbers.add_one(&of::VIRTUAL, number(self.own.virtual_memory));
        numbers.add_one(&of::OPEN, number(self.own.descriptors));
        numbers.add_one(&of::MAY_OPEN, number(self.own.most_descriptors));
        numbers.add_one(&of::THREADS, number(self.own.threads));
        numbers.add_one(&of::BEGAN, self.began);
    }
}
