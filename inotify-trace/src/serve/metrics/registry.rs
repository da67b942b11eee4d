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
        "inotify instances charged to the user in this user namespace, by the kernel's own count";
    INSTANCES_LIMIT Gauge "inotify_instances_limit" ["user", "userns"] USERS,
        "The most instances that may be charged to the user there";
    WATCHES_USED Gauge "inotify_watches_used" ["user", "userns"] USERS,
        "inotify watches charged to the user in this user namespace, by the kernel's own count";
    WATCHES_LIMIT Gauge "inotify_watches_limit" ["user", "userns"] USERS,
        "The most watches that may be charged to the user there";
    EVENTS Counter "inotify_events" ["event"] 24,
        "Events of each kind that the agent has handled";
}
