//! The task a hook runs in.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_ktime_get_boot_ns, generated::bpf_get_current_comm,
};
use inotify_trace_common::Record;

use crate::read::{offset, one_if_any, pointer, value};

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

/// A descriptor table.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// Address of the `files_struct`; 0 if there is none.
    pub(crate) files: u64,
    /// 1 if it is not that of its process's first thread, as after `unshare(CLONE_FILES)`, else 0.
    pub(crate) is_own: u32,
}

impl Table {
    /// The table of a task.
    #[inline(always)]
    pub(crate) fn of(task: u64) -> Self {
        let files: u64 = value(task, offset!(task_files));
        let leader = value(task, offset!(task_group_leader));
        // A first thread that has exited has none.
        let leader_files: u64 = value(leader, offset!(task_files));
        Self { files, is_own: one_if_any(leader_files) & one_if_any(files ^ leader_files) }
    }

    /// The number of tasks that share it.
    #[inline(always)]
    pub(crate) fn users(self) -> i32 {
        value(self.files, offset!(files_count))
    }

    /// Sets the table in `record`.
    #[inline(always)]
    pub(crate) fn describe(self, record: &mut Record) {
        record.files = self.files;
        record.has_own_table = self.is_own;
    }
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
    // SAFETY: the helper writes all of it, zeros if there is no name.
    unsafe {
        bpf_get_current_comm((&raw mut record.comm).cast(), size_of_val(&record.comm) as u32)
    };
    let leader = value(current(), offset!(task_group_leader));
    record.leader_comm = value(leader, offset!(task_comm));
    Table::of(current()).describe(record);
}
