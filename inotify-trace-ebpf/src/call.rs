//! System calls in progress.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};
use inotify_trace_common::record::Loss;

use crate::maps::lost;

/// inotify system calls in progress, by `pid_tgid`. LRU: a task killed during a call leaves one.
#[map]
static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(8 << 10, 0);

/// The arguments of a call, and the inode found during it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// User address of the path argument.
    pub(crate) path: u64,
    /// Address of the inode to be watched; 0 if unknown.
    pub(crate) inode: u64,
    /// The descriptor argument.
    pub(crate) fd: i32,
    /// The watch descriptor argument.
    pub(crate) wd: i32,
    /// The mask or flags argument.
    pub(crate) mask: u32,
    /// Keeps the size a multiple of the alignment.
    pub(crate) pad: u32,
}

impl Call {
    /// No argument known.
    pub(crate) const EMPTY: Self = Self { path: 0, inode: 0, fd: -1, wd: -1, mask: 0, pad: 0 };

    /// Keeps the current task's call until it ends.
    #[inline(always)]
    pub(crate) fn begin(self) {
        if CALLS.insert(bpf_get_current_pid_tgid(), self, 0).is_err() {
            lost(Loss::CallsFull);
        }
    }

    /// The current task's call, if it is in one that is kept.
    #[inline(always)]
    pub(crate) fn current() -> Option<&'static mut Self> {
        let call = CALLS.get_ptr_mut(bpf_get_current_pid_tgid())?;
        // SAFETY: a live map value; only this task reads or writes its own entry.
        Some(unsafe { &mut *call })
    }

    /// Removes the current task's call, which ends. None if it began before tracing.
    #[inline(always)]
    pub(crate) fn end() -> Option<Self> {
        let call = *Self::current()?;
        // It may have been pushed out by newer calls meanwhile; it is not needed any more.
        let _ = CALLS.remove(bpf_get_current_pid_tgid());
        Some(call)
    }
}
