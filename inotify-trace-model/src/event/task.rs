//! Who did something, and when: times, tasks, and the numbers of instances and cgroups.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::text::text_of;

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
