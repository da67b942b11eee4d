//! Events: the only input of the model.
//!
//! Feeds make events, the tracker turns them into state, and audiences show them. Events hold no
//! kernel addresses: an instance is a small number that is never reused.

mod name;

use std::{fmt, time::Duration};

use serde::Serialize;

pub use name::EventName;

use crate::{
    identity::{Container, Names},
    resource::Resource,
    text::text_of,
};

/// `IN_CLOEXEC` of inotify_init1(2), among the flags of an instance's descriptor.
pub const IN_CLOEXEC: u32 = 0o2_000_000;

/// The error at the limit of instances: `EMFILE` of errno(3).
pub const EMFILE: i32 = 24;

/// The error at the limit of watches: `ENOSPC` of errno(3).
pub const ENOSPC: i32 = 28;

/// Time since boot, suspended time included (`CLOCK_BOOTTIME`), in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BootTime(pub u64);

impl BootTime {
    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One inotify instance (a kernel `fsnotify_group`) for as long as it is traced. Numbers count up
/// from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct InstanceId(pub u64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A cgroup of the v2 hierarchy: the inode number of its directory. 0 if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CgroupId(pub u64);

impl CgroupId {
    /// None if the id is unknown.
    #[must_use]
    pub fn known(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }
}

/// The name of a command as the kernel keeps it: at most 15 bytes (`TASK_COMM_LEN`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comm([u8; 16]);

impl Comm {
    /// Takes the kernel's bytes up to the first zero.
    #[must_use]
    pub fn new(mut bytes: [u8; 16]) -> Self {
        // Older kernels leave the rest of the previous name there; equal names must compare equal.
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        bytes[end..].fill(0);
        Self(bytes)
    }

    /// The kernel's bytes, without the zeros at the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// The name as text, see [`text_of`].
    #[must_use]
    pub fn to_str(&self) -> std::borrow::Cow<'_, str> {
        text_of(self.as_bytes())
    }

    /// Whether there is no name: it is unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl From<&[u8]> for Comm {
    /// The first 15 bytes, up to a zero.
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(name.iter().take(15)) {
            *to = *from;
        }
        Self::new(bytes)
    }
}

impl From<&str> for Comm {
    fn from(name: &str) -> Self {
        name.as_bytes().into()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_str())
    }
}

/// The thread that caused an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Task {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Effective user id as seen from the initial user namespace.
    pub uid: u32,
    /// Command name of the process: its first thread's.
    pub comm: Comm,
    /// Command name of the thread; None if it is the same, or unknown.
    pub thread: Option<Comm>,
    /// The descriptor table of the thread; None if it is that of the process.
    pub table: Table,
    /// The cgroup it runs in.
    pub cgroup: CgroupId,
}

impl Task {
    /// The command name of the thread; that of the process if no other is known.
    #[must_use]
    pub fn thread_name(&self) -> Comm {
        self.thread.unwrap_or(self.comm)
    }
}

/// A descriptor table of a process: None for the one that its threads share; or else a thread with a
/// table of its own, as after `unshare(CLONE_FILES)`, the first one known if several share it. A
/// descriptor's number means something else in each table.
pub type Table = Option<u32>;

/// The kernel's own count (`kernel/ucount.c`) of a user's charges, right after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
    /// The charged user, as seen from the initial user namespace.
    pub uid: u32,
    /// The user namespace of that user, by inode number.
    pub userns: u32,
    /// The number of user namespaces from the user's own up to the one whose limit binds; 0 is its
    /// own.
    pub level: u32,
    /// The user who pays there, as seen from the initial user namespace: the charged user itself at
    /// level 0, above that the owner of a namespace between.
    pub payer_uid: u32,
    /// The user namespace whose limit binds, by inode number.
    pub payer_userns: u32,
}

impl Quota {
    /// A count in the namespace of the charged user.
    #[must_use]
    pub const fn own(used: u32, limit: u32, uid: u32, userns: u32) -> Self {
        Self { used, limit, uid, userns, level: 0, payer_uid: uid, payer_userns: userns }
    }

    /// Whether nothing more can be charged.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// How many more can be charged.
    #[must_use]
    pub fn left(self) -> u32 {
        Level::from(self).left()
    }
}

/// Open files when a call failed: with `EMFILE` the descriptors of the process (`RLIMIT_NOFILE`), with
/// `ENFILE` all files of the machine (`fs.file-max`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// How many are open; None if fewer than `limit`, and not counted.
    pub used: Option<u64>,
    /// How many may be.
    pub limit: u64,
}

impl Files {
    /// Whether no more can be opened.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used.is_some_and(|used| used >= self.limit)
    }

    /// Whether at least this share is known to be used.
    #[must_use]
    pub fn reaches(&self, percent: u32) -> bool {
        let share = u128::from(self.limit) * u128::from(percent);
        self.used.is_some_and(|used| u128::from(used) * 100 >= share)
    }
}

/// A counter of the kernel's against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
}

impl Level {
    /// How many more can be charged.
    #[must_use]
    pub fn left(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

impl From<Quota> for Level {
    fn from(quota: Quota) -> Self {
        Self { used: quota.used, limit: quota.limit }
    }
}

/// The kernel's counters of a user in one user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The user, as seen from the initial user namespace.
    pub uid: u32,
    /// The user namespace, by inode number.
    pub userns: u32,
    /// Instances; None if the count could not be read.
    pub instances: Option<Level>,
    /// Watches; None if the count could not be read.
    pub watches: Option<Level>,
}

impl Charge {
    /// The count of one resource; None if it could not be read.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<Level> {
        match resource {
            Resource::Instances => self.instances,
            Resource::Watches => self.watches,
        }
    }
}

/// One change of instances, watches, processes or cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub time: BootTime,
    /// The thread that caused it; None if unknown, or if no thread did.
    pub task: Option<Task>,
    /// Its kind, with the kind's data.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An instance existed before tracing began; the task holds a descriptor of it. There is one
    /// event for each descriptor found.
    InstanceFound {
        /// The instance.
        instance: InstanceId,
        /// The descriptor.
        fd: i32,
        /// Flags of the descriptor (`IN_NONBLOCK`, `IN_CLOEXEC`).
        flags: u32,
        /// The cgroup of its creator, if the kernel still knows it.
        creator_cgroup: CgroupId,
        /// Events that wait to be read.
        queued: u32,
        /// Instances charged to its user.
        quota: Option<Quota>,
    },
    /// A watch existed before tracing began.
    WatchFound {
        /// The instance.
        instance: InstanceId,
        /// The watch descriptor.
        wd: i32,
        /// What is watched.
        target: Target,
        /// What it waits for (`IN_*`).
        mask: u32,
    },
    /// An instance was made.
    InstanceCreated {
        /// The instance.
        instance: InstanceId,
        /// Its first descriptor.
        fd: i32,
        /// Flags given (`IN_NONBLOCK`, `IN_CLOEXEC`).
        flags: u32,
        /// Instances charged to its user.
        quota: Option<Quota>,
    },
    /// No instance could be made.
    CreateFailed {
        /// Flags given.
        flags: u32,
        /// The error, as a positive errno.
        errno: i32,
        /// Instances charged to the user of the call.
        quota: Option<Quota>,
        /// Open files of the process, or of the machine, if the error is about these.
        files: Option<Files>,
    },
    /// A watch was added, or an existing one changed.
    WatchAdded {
        /// The instance.
        instance: InstanceId,
        /// The descriptor used.
        fd: i32,
        /// The watch descriptor.
        wd: i32,
        /// What is watched.
        target: Target,
        /// What it waits for (`IN_*`).
        mask: u32,
        /// Watches charged to the instance's user.
        quota: Option<Quota>,
    },
    /// A watch could not be added.
    WatchFailed {
        /// The instance, if the descriptor was one.
        instance: Option<InstanceId>,
        /// The descriptor used.
        fd: i32,
        /// The path as the program gave it; None if the kernel could not read it either.
        path: Option<Box<str>>,
        /// The mask given (`IN_*`).
        mask: u32,
        /// The error, as a positive errno.
        errno: i32,
        /// Watches charged to the instance's user.
        quota: Option<Quota>,
    },
    /// A watch was removed: by a program, with its target, or after its only event (`IN_ONESHOT`).
    WatchRemoved {
        /// The instance.
        instance: InstanceId,
        /// The descriptor used; None if the kernel removed the watch itself.
        fd: Option<i32>,
        /// The watch descriptor.
        wd: i32,
        /// Watches charged to the instance's user.
        quota: Option<Quota>,
    },
    /// A descriptor was closed, and other references to the instance remain.
    DescriptorClosed {
        /// The instance.
        instance: InstanceId,
        /// The descriptor.
        fd: i32,
        /// Remaining references: descriptors, and system calls in progress in other threads.
        left: u32,
        /// Instances charged to its user.
        quota: Option<Quota>,
    },
    /// Every known holder has given the instance up, and it still exists: in flight through a
    /// socket, or held by a process that received it unseen.
    InstanceHeld {
        /// The instance.
        instance: InstanceId,
        /// References to it: descriptors, and system calls in progress.
        left: u32,
        /// Instances charged to its user.
        quota: Option<Quota>,
    },
    /// The instance is gone.
    InstanceReleased {
        /// The instance.
        instance: InstanceId,
        /// The descriptor whose closing ended it; None if that was not seen.
        fd: Option<i32>,
        /// Instances charged to its user, without this one.
        quota: Option<Quota>,
    },
    /// Events of an instance were dropped, since as many as it may have were unread
    /// (`IN_Q_OVERFLOW`). Told once, until its owner has read of it.
    QueueOverflowed {
        /// The instance.
        instance: InstanceId,
        /// Events that wait to be read, the one that says so included.
        queued: u32,
        /// How many may wait; 0 if unknown.
        limit: u32,
        /// Whether it was seen as it happened. If not, the queue was looked at: it had happened
        /// before.
        was_seen: bool,
    },
    /// A process closed a range of descriptors.
    RangeClosed {
        /// The first.
        first: i32,
        /// The last.
        last: i32,
    },
    /// A holder forked: the child holds what the parent does.
    ProcessForked {
        /// The child's process id.
        child: u32,
    },
    /// A holder executed a new program. The table in its task is the one that is now the process's.
    ProcessExec {
        /// The inotify descriptors that survived; None if they could not be read.
        kept: Option<Vec<i32>>,
    },
    /// A holder ended, and its descriptors were closed. If its task has a table of its own, only the
    /// threads with that table ended.
    ProcessExited,
    /// The kernel's counters of a user were read, and those of the users in the namespaces above,
    /// who are charged as well.
    Charged {
        /// One for each level, outermost last; never empty.
        charges: Box<[Charge]>,
    },
    /// A cgroup existed before tracing began.
    CgroupFound {
        /// The cgroup.
        cgroup: CgroupId,
        /// Its path from the root of the hierarchy.
        path: Box<str>,
    },
    /// A container's names were read.
    ContainerNamed {
        /// The container's own cgroup.
        cgroup: CgroupId,
        /// The container, if it cannot be derived from the cgroup's path.
        container: Option<Box<Container>>,
        /// Its names.
        names: Box<Names>,
    },
    /// A holder is one of containerd's shims, by its arguments.
    ShimIdentified {
        /// The container that it was started for: of a pod, the one that keeps its namespaces.
        id: Box<str>,
        /// containerd's namespace of that container.
        namespace: Box<str>,
        /// The version of containerd, if the shim's executable carries it.
        version: Option<Box<str>>,
    },
    /// The program of a process that holds many instances was read.
    ProgramIdentified {
        /// The name of its file, without the folder; None if unknown.
        exe: Option<Box<str>>,
        /// Those of its arguments that name a known program.
        arguments: Vec<Box<str>>,
    },
    /// A cgroup was made.
    CgroupCreated {
        /// The cgroup.
        cgroup: CgroupId,
        /// Its path from the root of the hierarchy.
        path: Box<str>,
    },
    /// A cgroup was renamed.
    CgroupRenamed {
        /// The cgroup.
        cgroup: CgroupId,
        /// Its new path from the root of the hierarchy.
        path: Box<str>,
    },
    /// A cgroup was removed.
    CgroupRemoved {
        /// The cgroup.
        cgroup: CgroupId,
    },
    /// Something was lost.
    Lost {
        /// The number lost since the last such event.
        count: u64,
        /// The kind of loss.
        what: Loss,
    },
}

/// The target of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path as the program gave it. For a watch of the snapshot: the target's path at that
    /// time, if it was looked up.
    pub path: Option<Box<str>>,
    /// The path from the root, where the program gave one that only it understands: a relative one,
    /// or one of its descriptors.
    pub resolved: Option<Box<str>>,
    /// Why the path is unknown, if that is due to the file system.
    pub silence: Option<Silence>,
    /// Whether the target no longer existed when it was looked up.
    pub is_gone: bool,
    /// Inode number; 0 if unknown.
    pub inode: u64,
    /// Device in the kernel's own encoding (major << 20 | minor); 0 if unknown.
    pub dev: u32,
    /// The cgroup whose directory or file it is.
    pub cgroup: CgroupId,
    /// Its name, if it is a file of a cgroup and was found by the snapshot: known even if the cgroup
    /// is gone.
    pub file: Option<Box<str>>,
}

impl Target {
    /// The name of the file, without the folder; None if unknown.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        let of_path = || self.path.as_deref()?.rsplit('/').find(|part| !part.is_empty());
        self.file.as_deref().or_else(of_path)
    }

    /// The path that leads to it from the root, or else as the program gave it.
    #[must_use]
    pub fn best_path(&self) -> Option<&str> {
        self.resolved.as_deref().or(self.path.as_deref())
    }
}

/// Why a file system has not told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// It was not asked: it waits for a program or another machine, or too many others do not answer.
    NotAsked,
    /// It does not answer.
    NoAnswer,
}

impl Silence {
    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// Kinds of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Events: the agent was too slow, and the ring buffer full.
    Events,
    /// Processes that hold instances: the kernel programs' map of holders was full.
    Holders,
    /// System calls: the kernel programs' map of calls in progress was full.
    Calls,
    /// Runs of kernel programs, which the kernel skipped.
    Runs,
    /// Records that this version does not understand.
    Records,
    /// Events that could not be written to a recording; later events continue from the state that
    /// is written after the gap.
    Unrecorded,
    /// Instances that were forgotten, since the state took too much memory: of these, nothing is
    /// known any more.
    Instances,
    /// The same for cgroups, with the names of their containers.
    Cgroups,
    /// Frames of a recording, each of several events: damaged or missing.
    Frames,
    /// Files of a recording.
    Files,
    /// The end of a recording.
    End,
}

impl Loss {
    /// The name in counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Holders => "holders",
            Self::Calls => "calls",
            Self::Records => "records",
            Self::Runs => "runs",
            Self::Unrecorded => "unrecorded",
            Self::Instances => "instances",
            Self::Cgroups => "cgroups",
            Self::Frames => "frames",
            Self::Files => "files",
            Self::End => "end",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events (ring buffer full: try a larger --buffer)",
            Self::Holders => "holders (more processes hold instances than can be remembered)",
            Self::Calls => "calls (more system calls at once than can be remembered)",
            Self::Runs => "runs of kernel programs (others were running on that CPU)",
            Self::Records => "records (of another version)",
            Self::Unrecorded => "events that could not be recorded",
            Self::Instances => "instances (forgotten: too much for --memory)",
            Self::Cgroups => "cgroups (forgotten: too much for --memory)",
            Self::Frames => "frames of the recording, with all events in them (damaged or missing)",
            Self::Files => "files of the recording (missing, or not readable)",
            Self::End => "end of the recording (the recorder was killed, or the file was cut)",
        })
    }
}

impl EventKind {
    /// The event's instance.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        match *self {
            Self::InstanceFound { instance, .. }
            | Self::WatchFound { instance, .. }
            | Self::InstanceCreated { instance, .. }
            | Self::WatchAdded { instance, .. }
            | Self::WatchRemoved { instance, .. }
            | Self::DescriptorClosed { instance, .. }
            | Self::InstanceHeld { instance, .. }
            | Self::QueueOverflowed { instance, .. }
            | Self::InstanceReleased { instance, .. } => Some(instance),
            Self::WatchFailed { instance, .. } => instance,
            _ => None,
        }
    }

    /// The event's quota.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        match *self {
            Self::InstanceFound { quota, .. }
            | Self::InstanceCreated { quota, .. }
            | Self::CreateFailed { quota, .. }
            | Self::WatchAdded { quota, .. }
            | Self::WatchFailed { quota, .. }
            | Self::WatchRemoved { quota, .. }
            | Self::DescriptorClosed { quota, .. }
            | Self::InstanceHeld { quota, .. }
            | Self::InstanceReleased { quota, .. } => quota,
            _ => None,
        }
    }

    /// The resource of the event's quota.
    #[must_use]
    pub fn counts(&self) -> Resource {
        match self {
            Self::WatchAdded { .. } | Self::WatchFailed { .. } | Self::WatchRemoved { .. } => {
                Resource::Watches
            }
            _ => Resource::Instances,
        }
    }

    /// Whether the event is a failed system call.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.name().is_failure()
    }
}
