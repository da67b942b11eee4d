//! The columns of a listing: what they are called, and which are shown.

use inotify_trace_model::usage::By;

/// Makes the enum and what is known of each column from one list.
macro_rules! columns {
    ($(#[doc = $meaning:literal] $name:ident = $text:literal $heading:literal,)+) => {
        /// A column of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Column {
            $(#[doc = $meaning] $name,)+
        }

        impl Column {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As users type it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What is in it, for a help text.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning.trim_ascii(),)+
                }
            }

            /// Its heading.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $heading,)+
                }
            }
        }
    };
}

columns! {
    /// The instance's number in this listing
    Instance = "instance" "INSTANCE",
    /// Process id
    Pid = "pid" "PID",
    /// Command name
    Comm = "comm" "COMM",
    /// Who is charged
    User = "user" "USER",
    /// Container, or cgroup where there is none
    Container = "container" "CONTAINER",
    /// Instances held
    Instances = "instances" "INSTANCES",
    /// Their watches
    Watches = "watches" "WATCHES",
    /// Descriptors that lead to them
    Fds = "fds" "FDS",
    /// Processes that hold them
    Processes = "processes" "PROCESSES",
    /// Instances that others hold too
    Shared = "shared" "SHARED",
    /// Events that wait to be read
    Queued = "queued" "QUEUED",
    /// Pod
    Pod = "pod" "POD",
    /// Container runtime
    Runtime = "runtime" "RUNTIME",
    /// Path of the cgroup
    Cgroup = "cgroup" "CGROUP",
    /// Containers or cgroups whose files are watched
    Serves = "serves" "SERVES",
    /// Instances that serve the container and are held outside it
    Outside = "outside" "OUTSIDE",
    /// Where the processes that hold them run, if that is outside the container
    HeldIn = "held-in" "HELD-IN",
    /// User id
    Uid = "uid" "UID",
    /// User namespace, by inode number
    Userns = "userns" "USERNS",
    /// Instances charged, by the kernel's own count
    Used = "used" "USED",
    /// How many instances may be charged
    Limit = "limit" "LIMIT",
    /// Share of that limit
    Use = "use" "USE",
    /// Instances charged that nobody seen holds
    NotVisible = "not-visible" "NOT-VISIBLE",
    /// Watches charged, by the kernel's own count
    WatchesUsed = "watches-used" "WATCHES-USED",
    /// How many watches may be charged
    WatchLimit = "watch-limit" "WATCH-LIMIT",
    /// Share of that limit
    WatchUse = "watch-use" "WATCH-USE",
    /// Users of outer user namespaces who are charged too
    Payers = "payers" "PAYERS",
    /// Watch descriptor
    Wd = "wd" "WD",
    /// What the watch waits for
    Mask = "mask" "MASK",
    /// What is watched
    Target = "target" "TARGET",
}

impl Column {
    /// Those of a listing that is wide or not, and has a row for each watch or not.
    #[must_use]
    pub fn of(by: By, wide: bool, watches: bool) -> Vec<Self> {
        use Column as C;
        let (narrow, more): (&[C], &[C]) = match by {
            By::Process => (
                &[C::Pid, C::Comm, C::User, C::Instances, C::Watches, C::Fds, C::Container],
                &[C::Shared, C::Queued, C::Pod, C::Serves, C::Cgroup],
            ),
            By::Instance => (
                &[C::Instance, C::User, C::Watches, C::Fds, C::Pid, C::Comm, C::Container],
                &[C::Queued, C::Pod, C::Serves, C::Cgroup],
            ),
            By::Container => (
                &[C::Container, C::Instances, C::Watches, C::Fds, C::Processes, C::User, C::HeldIn],
                &[C::Outside, C::Shared, C::Queued, C::Runtime, C::Pod, C::Serves, C::Cgroup],
            ),
            By::User => (
                &[
                    C::User,
                    C::Used,
                    C::Limit,
                    C::Use,
                    C::NotVisible,
                    C::WatchesUsed,
                    C::WatchLimit,
                    C::WatchUse,
                    C::Processes,
                ],
                &[C::Uid, C::Userns, C::Payers, C::Instances, C::Watches, C::Fds],
            ),
        };
        let mut columns = narrow.to_vec();
        if wide {
            columns.extend(more);
        }
        if watches {
            columns.retain(|column| !matches!(column, C::Instances | C::Watches | C::Fds));
            columns.extend([C::Wd, C::Mask, C::Target]);
        }
        columns
    }

    /// Whether more comes first when it is sorted by.
    #[must_use]
    pub fn is_count(self) -> bool {
        use Column as C;
        matches!(
            self,
            C::Instances
                | C::Watches
                | C::Fds
                | C::Processes
                | C::Shared
                | C::Outside
                | C::Queued
                | C::Used
                | C::Limit
                | C::Use
                | C::NotVisible
                | C::WatchesUsed
                | C::WatchLimit
                | C::WatchUse
        )
    }
}
