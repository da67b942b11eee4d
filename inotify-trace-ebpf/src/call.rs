//! System calls in progress.

use aya_ebpf::{
    bindings::BPF_EXIST, helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap,
};
use inotify_trace_common::record::{self, Loss};

use crate::maps::lost;

/// inotify system calls in progress, by `pid_tgid`. LRU: a task that dies within a call leaves one
/// behind. When it is full, the kernel takes an entry for another call at any moment, also while a
/// program looks at it.
#[map]
static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(record::CALLS, 0);

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
    /// The thread that calls: whether the entry is still its own.
    pub(crate) tid: u32,
}

impl Call {
    /// No argument known.
    pub(crate) const EMPTY: Self = Self { path: 0, inode: 0, fd: -1, wd: -1, mask: 0, tid: 0 };

    /// Keeps the current task's call until it ends.
    #[inline(always)]
    pub(crate) fn begin(self) {
        // A map of this type does not refuse: it forgets another call, which is counted at its end.
        let _ = self.keep(0);
    }

    /// A copy of the current task's call, if it is in one that is kept.
    #[inline(always)]
    pub(crate) fn current() -> Option<Self> {
        // SAFETY: the value is copied at once, and any bytes are a valid `Call`. It may be another
        // call's by then, which the thread's id shows.
        let call = *unsafe { CALLS.get(bpf_get_current_pid_tgid()) }?;
        (call.tid == thread()).then_some(call)
    }

    /// Changes the current task's call, if it is still kept.
    #[inline(always)]
    pub(crate) fn update(self) {
        // Not by writing to the entry, which may be another call's by now.
        let _ = self.keep(u64::from(BPF_EXIST));
    }

    #[inline(always)]
    fn keep(self, flags: u64) -> Result<(), i32> {
        CALLS.insert(bpf_get_current_pid_tgid(), Self { tid: thread(), ..self }, flags)
    }

    /// Removes the current task's call, if one is kept.
    #[inline(always)]
    pub(crate) fn end() -> Option<Self> {
        let call = Self::current()?;
        // It may have been pushed out by newer calls meanwhile; it is not needed any more.
        let _ = CALLS.remove(bpf_get_current_pid_tgid());
        Some(call)
    }

    /// The same for a call that must have begun: if it is not kept, it was forgotten for others, or
    /// began before tracing, and its event is lost.
    #[inline(always)]
    pub(crate) fn finish() -> Option<Self> {
        let call = Self::end();
        if call.is_none() {
            lost(Loss::CallsFull);
        }
        call
    }
}

/// The current thread's id.
#[inline(always)]
fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}
