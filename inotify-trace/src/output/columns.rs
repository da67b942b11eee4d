//! The columns of a listing: their names, and the choice of columns to show.

use inotify_trace_model::usage::By;

/// Makes the enum and the names of each column from one list.
macro_rules! columns {
    ($(#[doc = $meaning:literal] $name:ident = $text:literal $heading:literal $field:literal,)+) => {
        /// A column of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Column {
            $(#[doc = $meaning] $name,)+
        }

        impl Column {
            /// All columns.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name that users type.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The column's meaning, for a help text.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning.trim_ascii(),)+
                }
            }

            /// Its name in CSV and JSON.
            #[must_use]
            pub fn field(self) -> &'static str {
                match self {
                    $(Self::$name => $field,)+
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
    Instance = "instance" "INSTANCE" "instance",
    /// Process id
    Pid = "pid" "PID" "pid",
    /// Command name
    Comm = "comm" "COMM" "comm",
    /// Who is charged
    User = "user" "USER" "user",
    /// Container, or cgroup where there is none
    Container = "container" "CONTAINER" "container",
    /// Instances held
    Instances = "instances" "INSTANCES" "instances",
    /// Their watches
    Watches = "watches" "WATCHES" "watches",
    /// Descriptors that lead to them
    Fds = "fds" "FDS" "fds",
    /// Processes that hold them
    Processes = "processes" "PROCESSES" "processes",
    /// Instances whose containers or cgroups are gone
    Leaked = "leaked" "LEAKED" "leaked",
    /// Instances that others hold too
    Shared = "shared" "SHARED" "shared",
    /// Events that wait to be read
    Queued = "queued" "QUEUED" "queued",
    /// Instances whose queue has overflowed: the kernel has dropped events
    Overflowed = "overflowed" "OVERFLOWED" "overflowed",
    /// Pod
    Pod = "pod" "POD" "pod",
    /// Container runtime
    Runtime = "runtime" "RUNTIME" "runtime",
    /// Path of the cgroup
    Cgroup = "cgroup" "CGROUP" "cgroup",
    /// Containers or cgroups whose files are watched
    Serves = "serves" "SERVES" "serves",
    /// Instances that serve the container and are held outside it
    Outside = "outside" "OUTSIDE" "outside",
    /// Where the processes that hold them run, if that is outside the container
    HeldIn = "held-in" "HELD-IN" "held_in",
    /// User id
    Uid = "uid" "UID" "uid",
    /// User namespace, by inode number
    Userns = "userns" "USERNS" "userns",
    /// Instances charged, by the kernel's own count
    Used = "used" "USED" "used",
    /// How many instances may be charged
    Limit = "limit" "LIMIT" "limit",
    /// Share of that limit
    Use = "use" "USE" "percent",
    /// Instances charged that nobody seen holds
    NotVisible = "not-visible" "NOT-VISIBLE" "not_visible",
    /// Watches charged, by the kernel's own count
    WatchesUsed = "watches-used" "WATCHES-USED" "watches_used",
    /// How many watches may be charged
    WatchLimit = "watch-limit" "WATCH-LIMIT" "watch_limit",
    /// Share of that limit
    WatchUse = "watch-use" "WATCH-USE" "watch_percent",
    /// Users of outer user namespaces who are charged too
    Payers = "payers" "PAYERS" "payers",
    /// Watch descriptor
    Wd = "wd" "WD" "wd",
    /// What the watch waits for
    Mask = "mask" "MASK" "mask",
    /// What is watched
    Target = "target" "TARGET" "target",
}

/// Kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One for each watch.
    Watches,
    /// One for each instance.
    Instances,
    /// One for each user.
    Users,
}

impl Column {
    /// The columns of a listing that is wide or not, and has a row for each watch or not.
    #[must_use]
    pub fn of(by: By, wide: bool, watches: bool) -> Vec<Self> {
        use Column as C;
        let (narrow, more): (&[C], &[C]) = match by {
            By::Process => (
                &[C::Pid, C::Comm, C::User, C::Instances, C::Watches, C::Fds, C::Container],
                &[C::Leaked, C::Shared, C::Queued, C::Overflowed, C::Pod, C::Serves, C::Cgroup],
            ),
            By::Instance => (
                &[C::Instance, C::User, C::Watches, C::Fds, C::Pid, C::Comm, C::Container],
                &[C::Queued, C::Overflowed, C::Pod, C::Serves, C::Cgroup],
            ),
            By::Container => (
                &[
                    C::Container,
                    C::Instances,
                    C::Leaked,
                    C::Watches,
                    C::Fds,
                    C::Processes,
                    C::User,
                    C::HeldIn,
                ],
                &[
                    C::Outside,
                    C::Shared,
                    C::Queued,
                    C::Overflowed,
                    C::Runtime,
                    C::Pod,
                    C::Serves,
                    C::Cgroup,
                ],
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
            // The mask may be long, and the path is what people look for.
            columns.extend([C::Wd, C::Target, C::Mask]);
        }
        columns
    }

    /// The rows that alone have a value in this column; None if all may.
    #[must_use]
    pub fn belongs_to(self) -> Option<Rows> {
        use Column as C;
        match self {
            C::Wd | C::Mask | C::Target => Some(Rows::Watches),
            C::Instance => Some(Rows::Instances),
            C::Uid
            | C::Userns
            | C::Used
            | C::Limit
            | C::Use
            | C::NotVisible
            | C::WatchesUsed
            | C::WatchLimit
            | C::WatchUse
            | C::Payers => Some(Rows::Users),
            _ => None,
        }
    }

    /// Whether the highest values come first when the table is sorted by this column.
    #[must_use]
    pub fn is_count(self) -> bool {
        use Column as C;
        matches!(
            self,
            C::Instances
                | C::Watches
                | C::Fds
                | C::Processes
                | C::Leaked
                | C::Shared
                | C::Outside
                | C::Queued
                | C::Overflowed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_a_row_is_documented() {
        let document = include_str!("../../../docs/json.md");
        let of_list =
            document.split("\n# ").find(|it| it.starts_with("`inotify-trace list -o json`"));
        let of_list = of_list.unwrap();
        // A watch of `targets` has these: the path and more in place of one text.
        let of_watches = [Column::Target];
        for column in Column::ALL.iter().filter(|it| !of_watches.contains(it)) {
            assert!(of_list.contains(&format!("`{}`", column.field())), "{column:?}");
        }
    }
}
