//! Descriptor tables. The threads of a process usually share one; after `unshare(CLONE_FILES)` a thread
//! has its own, in which the same number is another descriptor.

use std::path::{Path, PathBuf};

use inotify_trace_model::event::Table;

use super::{exit::has_ended, numbered_entries};

/// `KCMP_FILES` of `enum kcmp_type` (kcmp(2)).
const KCMP_FILES: libc::c_long = 2;

/// The most tables of a process beside its own: each thread is compared with all of them.
const MOST: usize = 64;

/// A descriptor table of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableId {
    /// The process.
    pub pid: u32,
    /// A thread with a table of its own; None for the process's.
    pub owner: Table,
}

impl TableId {
    /// The tables of a process: its own, and those of threads that do not share it. Where kcmp(2) is
    /// refused, all threads seem to share it.
    #[must_use]
    pub fn of_process(pid: u32) -> Vec<Self> {
        let mut tables = vec![Self { pid, owner: None }];
        for tid in numbered_entries::<u32>(&tasks(pid)).filter(|&tid| tid != pid) {
            if tables.len() > MOST {
                break;
            }
            if tables.iter().all(|table| table.is_of(tid) == Some(false)) {
                tables.push(Self { pid, owner: Some(tid) });
            }
        }
        tables
    }

    /// The directory in /proc with its `fd` and `fdinfo`.
    #[must_use]
    pub fn directory(self) -> PathBuf {
        match self {
            Self { pid, owner: None } => format!("/proc/{pid}").into(),
            Self { pid, owner: Some(tid) } => format!("/proc/{pid}/task/{tid}").into(),
        }
    }

    /// The same of its other threads, if the first one has ended: then only they list what they share.
    pub(super) fn of_other_threads(self) -> impl Iterator<Item = PathBuf> {
        let tasks = tasks(self.pid);
        let has_ended = self.owner.is_none() && has_ended(self.pid);
        let others = has_ended.then(|| numbered_entries::<u32>(&tasks));
        others.into_iter().flatten().map(move |tid| tasks.join(tid.to_string()))
    }

    /// Whether a thread has this table; None if that cannot be compared.
    fn is_of(self, tid: u32) -> Option<bool> {
        let own = self.owner.unwrap_or(self.pid);
        // SAFETY: only numbers are passed.
        let result = unsafe { libc::syscall(libc::SYS_kcmp, own, tid, KCMP_FILES, 0, 0) };
        match result {
            0 => Some(true),
            1..=3 => Some(false),
            _ => None,
        }
    }
}

fn tasks(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("task")
}
