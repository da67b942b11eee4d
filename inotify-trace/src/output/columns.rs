//! The columns of a listing: what they are called, and which are shown.

use crate::usage::By;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Column {
    /// The instance's number in this listing
    Instance,
    /// Process id
    Pid,
    /// Command name
    Comm,
    /// Who is charged
    User,
    /// Container, or cgroup where there is none
    Container,
    /// Instances held
    Instances,
    /// Their watches
    Watches,
    /// Descriptors that lead to them
    Fds,
    /// Processes that hold them
    Processes,
    /// Instances that others hold too
    Shared,
    /// Events that wait to be read
    Queued,
    /// Pod
    Pod,
    /// Container runtime
    Runtime,
    /// Path of the cgroup
    Cgroup,
    /// Containers or cgroups whose files are watched
    Serves,
    /// Instances that serve the container and are held outside it
    Outside,
    /// Where the processes that hold them run, if that is outside the container
    HeldIn,
    /// User id
    Uid,
    /// User namespace, by inode number
    Userns,
    /// Instances charged, by the kernel's own count
    Used,
    /// How many instances may be charged
    Limit,
    /// Share of that limit
    Use,
    /// Instances charged that nobody seen holds
    NotVisible,
    /// Watches charged, by the kernel's own count
    WatchesUsed,
    /// How many watches may be charged
    WatchLimit,
    /// Share of that limit
    WatchUse,
    /// Users of outer user namespaces who are charged too
    Payers,
    /// Watch descriptor
    Wd,
    /// What the watch waits for
    Mask,
    /// What is watched
    Target,
}

impl Column {
    /// Its heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instance => "INSTANCE",
            Self::Pid => "PID",
            Self::Comm => "COMM",
            Self::User => "USER",
            Self::Container => "CONTAINER",
            Self::Instances => "INSTANCES",
            Self::Watches => "WATCHES",
            Self::Fds => "FDS",
            Self::Processes => "PROCESSES",
            Self::Shared => "SHARED",
            Self::Queued => "QUEUED",
            Self::Pod => "POD",
            Self::Runtime => "RUNTIME",
            Self::Cgroup => "CGROUP",
            Self::Serves => "SERVES",
            Self::Outside => "OUTSIDE",
            Self::HeldIn => "HELD-IN",
            Self::Uid => "UID",
            Self::Userns => "USERNS",
            Self::Used => "USED",
            Self::Limit => "LIMIT",
            Self::Use => "USE",
            Self::NotVisible => "NOT-VISIBLE",
            Self::WatchesUsed => "WATCHES-USED",
            Self::WatchLimit => "WATCH-LIMIT",
            Self::WatchUse => "WATCH-USE",
            Self::Payers => "PAYERS",
            Self::Wd => "WD",
            Self::Mask => "MASK",
            Self::Target => "TARGET",
        }
    }

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
