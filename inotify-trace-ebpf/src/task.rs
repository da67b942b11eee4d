//! The task a hook runs in.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_task, bpf_ktime_get_boot_ns,
};
use inotify_trace_common::Record;

use crate::read::{offset, pointer, value};

/// The process id (tgid) of the current task.
#[inline(always)]
pub(crate) fn pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Address of the current `task_struct`.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Address of the current task's effective credentials.
#[inline(always)]
pub(crate) fn credentials() -> Option<u64> {
    pointer(current(), offset!(task_cred))
}

/// Sets the time and the current task in `record`.
#[inline(always)]
pub(crate) fn describe(record: &mut Record) {
    let ids = bpf_get_current_pid_tgid();
    // SAFETY: these helpers have no preconditions.
    unsafe {
        record.time = bpf_ktime_get_boot_ns();
        record.cgroup = bpf_get_current_cgroup_id();
    }
    record.pid = (ids >> 32) as u32;
    record.tid = ids as u32;
    record.uid = value(value(current(), offset!(task_cred)), offset!(cred_euid));
    record.comm = bpf_get_current_comm().unwrap_or([0; 16]);
}
