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
    /// The agent asked for the charges of the user of `payer`: this many instances, at the level in
    /// `quota`.
    InstancesCharged,
    /// And this many watches.
    WatchesCharged,
    /// A cgroup of the v2 hierarchy was made; its id is `target_cgroup`, its path follows.
    CgroupCreated,
    /// A cgroup of the v2 hierarchy was removed.
    CgroupRemoved,
    /// A cgroup of the v2 hierarchy was renamed; the new path follows.
    CgroupRenamed,
    /// A holder forked; the child's process id is `result`.
    ProcessForked,
    /// A holder executed a new program; `result` is the id of the thread that did.
    ProcessExec,
    /// The last thread of a holder is exiting, or with `has_own_table` the last thread with that
    /// descriptor table; its descriptors close right after.
    ProcessExited,
}

impl Kind {
    /// Every kind, in the order of their values.
    pub const ALL: [Self; 21] = [
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
        Self::InstancesCharged,
        Self::WatchesCharged,
        Self::CgroupCreated,
        Self::CgroupRemoved,
        Self::CgroupRenamed,
        Self::ProcessForked,
        Self::ProcessExec,
        Self::ProcessExited,
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
}

impl Quota {
    /// An unknown quota.
    pub const UNKNOWN: Self =
        Self { used: ABSENT, limit: ABSENT, uid: ABSENT, userns: ABSENT, level: 0 };
}

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
    /// Bytes of the path after this record, without a terminating zero.
    pub path_len: u32,
    /// 1 if the task is a thread whose descriptor table is not its process's, else 0.
    pub has_own_table: u32,
    /// Keeps the size a multiple of the alignment.
    pub pad: u32,
    /// The thread's command name, padded with zeros.
    pub comm: [u8; 16],
    /// The command name of its process's first thread, padded with zeros; empty if unknown.
    pub leader_comm: [u8; 16],
}

/// A [`Record`] with room for a path of at most `N - 1` bytes.
#[repr(C)]
pub struct PathRecord<const N: usize> {
    /// The record; `path_len` says how much of `path` counts.
    pub record: Record,
    /// The path, with a terminating zero.
    pub path: [u8; N],
}

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
const _: () = assert!(size_of::<Record>() == 176 && size_of::<Record>().is_multiple_of(8));
