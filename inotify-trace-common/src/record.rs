//! The kernel programs' records: one [`Record`] for each event, in a ring buffer.

use crate::ABSENT;

/// Bytes of a path that fit behind a [`Record`] in the usual, small ring entry.
pub const SHORT_PATH: usize = 256;
/// Bytes of the longest path the kernel accepts, `PATH_MAX` of `limits.h`.
pub const LONG_PATH: usize = 4096;

/// The kind of a [`Record`]; the value of [`Record::kind`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `inotify_init` or `inotify_init1` made an instance.
    InstanceCreated = 1,
    /// `inotify_init` or `inotify_init1` failed with `result`.
    CreateFailed,
    /// `inotify_add_watch` added or changed a watch; the path as the program gave it follows.
    WatchAdded,
    /// `inotify_add_watch` failed with `result`; the path as the program gave it follows.
    WatchFailed,
    /// `inotify_rm_watch` removed a watch.
    WatchRemoved,
    /// The kernel removes a watch: its target is gone, or it was for one event only.
    WatchVanished,
    /// An instance ends, with its last reference.
    InstanceReleased,
    /// A descriptor of an instance is being closed; with `refs` 1 the instance ends with it.
    DescriptorClosed,
    /// `close_range` closes the descriptors `fd..=wd` of a holder.
    RangeClosed,
    /// The agent asked about a descriptor; this is its instance.
    InstanceFound,
    /// The instance of the `InstanceFound` before this watches a file of cgroupfs; its name follows,
    /// and nothing if it is a directory.
    CgroupWatchFound,
    /// The agent asked about an instance, and it is gone.
    InstanceGone,
    /// The agent asked about an instance, and it still has references, of known holders or others.
    InstanceHeld,
    /// The counters of the user of `payer`, in each user namespace from its own to the initial one:
    /// [`Level`]s. Sent when the agent asks, and before the first instance of a user in a
    /// user namespace.
    Charged,
    /// A cgroup of the v2 hierarchy was made; its id is `target_cgroup`, its path follows.
    CgroupCreated,
    /// A cgroup of the v2 hierarchy was removed.
    CgroupRemoved,
    /// A cgroup of the v2 hierarchy was renamed; the new path follows.
    CgroupRenamed,
    /// A holder forked; the child's process id is `result`.
    ProcessForked,
    /// A holder executed a new program; `result` is the id of the thread that did. The inotify
    /// descriptors that it kept follow, unless it has too many descriptors to tell.
    ProcessExec,
    /// The last thread of a holder is exiting, or with `has_own_table` the last thread with that
    /// descriptor table; its descriptors close right after.
    ProcessExited,
    /// The queue of an instance is full, and the kernel drops its events: seen as it happened, or
    /// the agent asked.
    QueueOverflowed,
    /// The agent asked about the queue of an instance: its owner has read that events were dropped.
    QueueRead,
}

impl Kind {
    /// Every kind, in the order of their values.
    pub const ALL: [Self; 22] = [
        Self::InstanceCreated,
        Self::CreateFailed,
        Self::WatchAdded,
        Self::WatchFailed,
        Self::WatchRemoved,
        Self::WatchVanished,
        Self::InstanceReleased,
        Self::DescriptorClosed,
        Self::RangeClosed,
        Self::InstanceFound,
        Self::CgroupWatchFound,
        Self::InstanceGone,
        Self::InstanceHeld,
        Self::Charged,
        Self::CgroupCreated,
        Self::CgroupRemoved,
        Self::CgroupRenamed,
        Self::ProcessForked,
        Self::ProcessExec,
        Self::ProcessExited,
        Self::QueueOverflowed,
        Self::QueueRead,
    ];

    /// The kind with this value, if there is one.
    #[must_use]
    pub fn from_u32(value: u32) -> Option<Self> {
        let index = usize::try_from(value.checked_sub(1)?).ok()?;
        Self::ALL.get(index).copied()
    }
}

/// The kernel's own count against its limit (`kernel/ucount.c`), as it was when the hook ran.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Instances or watches charged; [`ABSENT`] if unknown.
    pub used: u32,
    /// The limit they count against; [`ABSENT`] if unknown.
    pub limit: u32,
    /// The user the charge is for, as seen from the initial user namespace; [`ABSENT`] if unknown.
    pub uid: u32,
    /// The user namespace of that user, by inode number; [`ABSENT`] if unknown.
    pub userns: u32,
    /// The number of user namespaces from that one up to the counter and limit shown here: a charge
    /// counts in every parent too, and the tightest one binds.
    pub level: u32,
    /// The user who pays at that level, as seen from the initial user namespace: `uid` itself, or the
    /// owner of a namespace between; [`ABSENT`] if unknown.
    pub payer_uid: u32,
    /// The user namespace of that counter and limit, by inode number; [`ABSENT`] if unknown.
    pub payer_userns: u32,
}

impl Quota {
    /// An unknown quota.
    pub const UNKNOWN: Self = Self {
        used: ABSENT,
        limit: ABSENT,
        uid: ABSENT,
        userns: ABSENT,
        level: 0,
        payer_uid: ABSENT,
        payer_userns: ABSENT,
    };
}

/// A user's counters in one user namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The user, as seen from the initial user namespace.
    pub uid: u32,
    /// The user namespace, by inode number; 0 above the initial one, where there is none.
    pub userns: u32,
    /// Instances charged; [`ABSENT`] if unknown.
    pub instances: u32,
    /// The limit of instances.
    pub max_instances: u32,
    /// Watches charged; [`ABSENT`] if unknown.
    pub watches: u32,
    /// The limit of watches.
    pub max_watches: u32,
}

/// User namespaces from the deepest possible one to the initial one (`create_user_ns` in
/// `kernel/user_namespace.c` refuses a parent at level 33).
pub const LEVELS: usize = 34;

/// The most inotify descriptors kept through an exec that a record has room for.
pub const KEPT: usize = 64;

/// One event. Fields that a [`Kind`] does not use are zero.
///
/// Addresses (`group`, `file`, `payer`, `files`) are for the agent's bookkeeping and go no further than its
/// live source.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
    pub time: u64,
    /// The v2 cgroup id of the task; for `InstanceFound` of the instance's creator (0 if unknown).
    pub cgroup: u64,
    /// Address of the `fsnotify_group`: the instance.
    pub group: u64,
    /// Address of the `struct file` through which the group was reached.
    pub file: u64,
    /// Address of the `ucounts` that the instance is charged to.
    pub payer: u64,
    /// Inode number of a watch's target.
    pub inode: u64,
    /// The cgroup a watched cgroupfs file belongs to, or the cgroup of a cgroup event; 0 if none.
    pub target_cgroup: u64,
    /// Address of the task's descriptor table, its `files_struct`; 0 if unknown.
    pub files: u64,
    /// The count that this event changes: instances for instance events, watches for watch events.
    pub quota: Quota,
    /// A [`Kind`], as a number because it crosses from the kernel.
    pub kind: u32,
    /// Process id (the kernel's tgid) in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Effective user id, as seen from the initial user namespace.
    pub uid: u32,
    /// The result of the system call: a descriptor, a watch descriptor, or a negated errno.
    pub result: i32,
    /// The descriptor.
    pub fd: i32,
    /// The watch descriptor.
    pub wd: i32,
    /// The mask of a watch, or the flags of a creation.
    pub mask: u32,
    /// References to the `struct file` when the hook ran, this descriptor's included.
    pub refs: u32,
    /// Device of a watch's target, in the kernel's encoding (major << 20 | minor); 0 if unknown.
    pub dev: u32,
    /// Unread events in the instance's queue.
    pub queued: u32,
    /// How many may wait there before others are dropped; 0 if unknown.
    pub queue_limit: u32,
    /// 1 if the queue holds the event that says that others were dropped (`IN_Q_OVERFLOW`).
    pub overflowed: u32,
    /// Bytes of the path after this record, without a terminating zero, or those of its levels or
    /// descriptors; [`ABSENT`] if they could not be read.
    pub path_len: u32,
    /// How many descriptors the process may have (`RLIMIT_NOFILE`), if a creation failed for lack of
    /// one or of an instance; 0 if unknown.
    pub nofile: u32,
    /// Whether they were all open when the call returned: a [`Full`].
    pub nofile_full: u32,
    /// 1 if the task is a thread whose descriptor table is not its process's, else 0.
    pub has_own_table: u32,
    /// Keeps the size a multiple of the alignment.
    pub pad: u32,
    /// The thread's command name, padded with zeros.
    pub comm: [u8; 16],
    /// The command name of its process's first thread, padded with zeros; empty if unknown.
    pub leader_comm: [u8; 16],
}

/// Whether a process has as many descriptors as it may; the value of [`Record::nofile_full`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Not known.
    Unknown = 0,
    /// One was free.
    No,
    /// None was free.
    Yes,
}

/// A [`Record`] and what follows it, of which [`Record::path_len`] bytes count: a path, behind which is
/// a zero, the counters of its user at every [`Level`], innermost first, or the descriptors that a
/// process kept, in ascending order.
#[repr(C)]
pub struct Followed<T> {
    /// The record.
    pub record: Record,
    /// What follows.
    pub rest: T,
}

/// Places for processes that hold instances, unless the loader sets another number.
pub const HOLDERS: u32 = 32 << 10;
/// Places for system calls in progress, unless the loader sets another number.
pub const CALLS: u32 = 8 << 10;
/// Places for users who were charged, unless the loader sets another number.
pub const PAYERS: u32 = 4 << 10;

/// The number of CPUs with a counter of losses each.
pub const CPUS: u32 = 1024;

/// Kinds of losses counted in the kernel, one counter per CPU each.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The ring buffer was full: an event is missing.
    RingFull = 0,
    /// Too many processes hold instances: closes by one of them are not seen as they happen.
    HoldersFull,
    /// Too many system calls were in progress at once: a call's arguments are missing.
    CallsFull,
}

impl Loss {
    /// Every kind of loss, in the order of their values.
    pub const ALL: [Self; 3] = [Self::RingFull, Self::HoldersFull, Self::CallsFull];
}

// The two sides are compiled apart: what the ring buffer carries must not depend on padding.
const _: () = assert!(size_of::<Record>() == 200 && size_of::<Record>().is_multiple_of(8));
