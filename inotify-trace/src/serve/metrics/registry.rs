//! The one table of metrics: their names, labels, bounds and meanings. docs/metrics.md is made from it.

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name; that of a counter without `_total`, that of an info without `_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// The most series that it has.
    pub most: usize,
    /// Its meaning.
    pub about: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A number that only goes up while the agent runs.
    Counter,
    /// 1, with facts as labels.
    Info,
}

impl Kind {
    /// Its name in OpenMetrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Info => "info",
        }
    }
}

impl Metric {
    /// The name of its series.
    #[must_use]
    pub fn series(&self) -> String {
        let suffix = match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        };
        format!("{}{suffix}", self.name)
    }
}

/// The most users.
pub const USERS: usize = 100;

/// The most holders, beside the one for all others.
pub const HOLDERS: usize = 256;

/// The most groups of leaks, beside the one for all others.
pub const LEAKS: usize = 64;

/// The name of a holder, or a group of leaks, that stands for all that have no series of their own.
pub const OTHER: &str = "~other";

/// Makes the constants and the list of all from one table.
macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $most:expr, $about:literal;)+) => {
        $(
            #[doc = $about]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                most: $most,
                about: $about,
            };
        )+

        /// All metrics.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    INSTANCES_USED Gauge "inotify_instances_used" ["user", "userns"] USERS,
        "inotify instances charged to the user, by the kernel's own count";
    INSTANCES_LIMIT Gauge "inotify_instances_limit" ["user", "userns"] USERS,
        "The most inotify instances that may be charged to the user";
    WATCHES_USED Gauge "inotify_watches_used" ["user", "userns"] USERS,
        "inotify watches charged to the user, by the kernel's own count";
    WATCHES_LIMIT Gauge "inotify_watches_limit" ["user", "userns"] USERS,
        "The most inotify watches that may be charged to the user";
    NOT_VISIBLE Gauge "inotify_instances_not_visible" ["user", "userns"] USERS,
        "Instances charged to the user that no known process holds";
    MAX_INSTANCES Gauge "inotify_sysctl_max_user_instances" [] 1,
        "The sysctl fs.inotify.max_user_instances";
    MAX_WATCHES Gauge "inotify_sysctl_max_user_watches" [] 1,
        "The sysctl fs.inotify.max_user_watches";
    MAX_QUEUED Gauge "inotify_sysctl_max_queued_events" [] 1,
        "The sysctl fs.inotify.max_queued_events";
    FAILURES Counter "inotify_failures" ["call", "cause"] 12,
        "Calls that the kernel refused: instance_limit, watch_limit, rlimit_nofile and file_max are the limits that did, unknown_limit is one of them, other is none";
    EVENTS Counter "inotify_events" ["event"] 24,
        "Events of each kind, those of the snapshot at start included";
    HOLDER_INSTANCES Gauge "inotify_holder_instances" ["namespace", "pod", "container", "unit"] HOLDERS + 1,
        "inotify instances that the holder's processes hold; a shared one counts for each holder";
    HOLDER_WATCHES Gauge "inotify_holder_watches" ["namespace", "pod", "container", "unit"] HOLDERS + 1,
        "inotify watches of these instances";
    HOLDER_FAILURES Counter "inotify_holder_failures" ["namespace", "pod", "container", "unit"] HOLDERS + 1,
        "Calls of the holder's processes that the kernel refused";
    HOLDER_QUEUE Gauge "inotify_holder_queue_length_max" ["namespace", "pod", "container", "unit"] HOLDERS + 1,
        "Unread events in the longest of the holder's queues that have overflowed, when it last did; absent if none has";
    QUEUE_OVERFLOWS Counter "inotify_queue_overflows" ["namespace", "pod", "container", "unit"] HOLDERS + 1,
        "Overflows of the holder's queues, after which the kernel drops events; absent if the backend does not see each of them";
    LEAKED Gauge "inotify_leaked_instances" ["pattern", "namespace", "pod"] LEAKS + 1,
        "Leaked inotify instances by known bug, or else kind of leak; absent if there are none";
    BUILD Info "inotify_trace_build" ["version"] 1,
        "The version of inotify-trace";
    BACKEND Info "inotify_trace_backend" ["backend", "kernel"] 1,
        "How inotify is hooked, and the kernel's release";
    LOST Counter "inotify_trace_lost" ["what"] 8,
        "What the agent has lost, so that other numbers may be too small";
    PROGRAM_MISSES Counter "inotify_trace_program_misses" ["program"] 64,
        "Runs of the agent's kernel programs that the kernel skipped; absent before Linux 5.12";
    PROGRAM_RUNS Counter "inotify_trace_program_runs" ["program"] 64,
        "Runs of the agent's kernel programs; with --program-stats only";
    PROGRAM_SECONDS Counter "inotify_trace_program_run_seconds" ["program"] 64,
        "Time that these runs took; with --program-stats only";
    RING Gauge "inotify_trace_ring_bytes" [] 1,
        "Bytes that wait in the ring buffer between kernel and agent";
    RING_CAPACITY Gauge "inotify_trace_ring_capacity_bytes" [] 1,
        "The size of that ring buffer";
    MAP_MEMORY Gauge "inotify_trace_map_memory_bytes" [] 1,
        "Kernel memory of the agent's BPF maps, the ring buffer included";
    RECORDING_BYTES Counter "inotify_trace_recording_bytes" [] 1,
        "Bytes of recordings written; as all about recordings, with --record only";
    RECORDING_ERRORS Counter "inotify_trace_recording_errors" [] 1,
        "Attempts to write a recording that failed: one a second as long as it is not possible";
    RECORDING_MISSED Counter "inotify_trace_recording_missed_events" [] 1,
        "Events that could not be recorded, and are missing";
    RECORDING_SYNCED Gauge "inotify_trace_recording_last_sync_timestamp_seconds" [] 1,
        "The time, in seconds since 1970, until which all events are on disk; it goes on without events, too";
    EXPORT_FILES Counter "inotify_trace_export_files" [] 1,
        "Parquet files completed; as all about exports, with --export only";
    EXPORT_ERRORS Counter "inotify_trace_export_errors" [] 1,
        "Parquet files given up, since they could not be written";
    EXPORT_MISSED Counter "inotify_trace_export_missed_events" [] 1,
        "Events that are in no Parquet file: those of files given up, and those that came too fast";
    CRI_REQUESTS Counter "inotify_trace_cri_requests" [] 1,
        "Times that a container runtime was asked, by CRI, for names that are not on disk";
    CRI_ERRORS Counter "inotify_trace_cri_errors" [] 1,
        "Those of them that failed, or were not answered within two seconds";
    OMITTED Gauge "inotify_trace_series_omitted" ["metric"] 3,
        "Users, holders and groups of leaks that have no series of their own";
    CPU Counter "process_cpu_seconds" [] 1,
        "Processor time of the agent";
    RESIDENT Gauge "process_resident_memory_bytes" [] 1,
        "Memory of the agent";
    VIRTUAL Gauge "process_virtual_memory_bytes" [] 1,
        "Address space of the agent";
    OPEN Gauge "process_open_fds" [] 1,
        "Open descriptors of the agent";
    MAY_OPEN Gauge "process_max_fds" [] 1,
        "The most descriptors that the agent may open";
    THREADS Gauge "process_threads" [] 1,
        "Threads of the agent";
    BEGAN Gauge "process_start_time_seconds" [] 1,
        "When the agent began, in seconds since 1970";
}
