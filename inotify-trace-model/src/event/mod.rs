//! Events: the only input of the model.
//!
//! Feeds make events, the tracker turns them into state, and audiences show them. Events hold no
//! kernel addresses: an instance is a small number that is never reused.

mod loss;
mod name;
mod quota;
mod target;
mod task;

pub use self::{
    loss::{Loss, Silence},
    name::EventName,
    quota::{Charge, Files, Level, Quota},
    target::Target,
    task::{BootTime, CgroupId, Comm, InstanceId, Table, Task},
};

use crate::{
    identity::{Container, Names},
    resource::Resource,
};

/// `IN_CLOEXEC` of inotify_init1(2), among the flags of an instance's descriptor.
pub const IN_CLOEXEC: u32 = 0o2_000_000;

/// The error at the limit of instances: `EMFILE` of errno(3).
pub const EMFILE: i32 = 24;

/// The error at the limit of watches: `ENOSPC` of errno(3).
pub const ENOSPC: i32 = 28;

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
        /// The inotify descriptors that survived; None if that is not known.
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
