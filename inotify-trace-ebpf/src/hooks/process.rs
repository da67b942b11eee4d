//! fork, exec and exit of holders. Every backend uses these.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use inotify_trace_common::Kind;

use crate::{
    emit::{emit, emit_exec},
    maps::{HOLDERS, hold, may_hold},
    read::{field, offset, pointer},
    task::{self, Table},
};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`, in the parent.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    let parent = task::pid();
    if !may_hold(parent) {
        return 0;
    }
    let child = ctx.arg::<u64>(1);
    let Some(child) = field::<u32>(child, offset!(task_tgid)) else { return 0 };
    // A new thread shares its process's descriptors.
    if child != parent {
        hold(child);
        emit(Kind::ProcessForked, |record| record.result = child as i32);
    }
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, after
/// the descriptors marked close-on-exec are gone (`fs/exec.c`).
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    let pid = task::pid();
    if may_hold(pid) && emit_exec(ctx.arg::<u64>(1) as i32) == Some(0) {
        // It has one thread, so nobody adds it meanwhile.
        let _ = HOLDERS.remove(pid);
    }
    0
}

/// `sched_process_exit(struct task_struct *p)`, before the descriptors are closed
/// (`kernel/exit.c`).
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_ctx: RawTracePointContext) -> i32 {
    let pid = task::pid();
    if !may_hold(pid) {
        return 0;
    }
    let signal = pointer(task::current(), offset!(task_signal));
    let threads = signal.and_then(|signal| field::<i32>(signal, offset!(signal_live)));
    // The descriptors live until the last thread has gone. Of threads that exit at the same
    // moment several may see none left: the agent takes the first for the process's end.
    if threads.is_none_or(|live| live == 0) {
        // Gone already if a sibling was first.
        let _ = HOLDERS.remove(pid);
        // All of its tables end, whichever this thread has.
        emit(Kind::ProcessExited, |record| Table { files: 0, is_own: 0 }.describe(record));
        return 0;
    }
    let table = Table::of(task::current());
    if table.is_own != 0 && table.users() == 1 {
        emit(Kind::ProcessExited, |_| {});
    }
    0
}
