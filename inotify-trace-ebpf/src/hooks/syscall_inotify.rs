//! Tracepoint backend: the inotify system calls. Arguments are only there at enter and results
//! only at exit, so each call's arguments wait in `CALLS`.

use aya_ebpf::{
    EbpfContext as _, helpers::bpf_get_current_pid_tgid, macros::tracepoint,
    programs::TracePointContext,
};
use inotify_trace_common::{Kind, record::Loss};

use crate::{
    emit::{Path, emit, emit_with_path},
    instance::Instance,
    maps::{CALLS, Call, hold, lost},
    quota::{self, Counted},
    target, task,
};

/// The `n`th argument of a system call at its enter tracepoint; see the `format` file of any
/// `events/syscalls/sys_enter_*` in tracefs.
#[inline(always)]
pub(super) fn argument(ctx: &TracePointContext, n: usize) -> u64 {
    // SAFETY: every enter tracepoint used here has more than `n` arguments, so this stays within
    // the context; the verifier checks it again.
    unsafe { ctx.as_ptr().cast::<u64>().add(2 + n).read() }
}

/// The result of a system call at its exit tracepoint.
#[inline(always)]
fn result(ctx: &TracePointContext) -> i32 {
    argument(ctx, 0) as i32
}

/// Keeps the arguments of a call until it returns.
#[inline(always)]
fn enter(call: Call) {
    if CALLS.insert(bpf_get_current_pid_tgid(), call, 0).is_err() {
        lost(Loss::CallsFull);
    }
}

/// The arguments of the call that returns now. None if it began before tracing did.
#[inline(always)]
fn leave() -> Option<Call> {
    let id = bpf_get_current_pid_tgid();
    // SAFETY: copied at once; only this task reads or writes its own entry.
    let call = unsafe { CALLS.get(id) }.copied()?;
    // It may have been pushed out by newer calls meanwhile; it is not needed any more.
    let _ = CALLS.remove(id);
    Some(call)
}

/// `inotify_init1(int flags)`.
#[tracepoint]
pub fn enter_inotify_init1(ctx: TracePointContext) -> u32 {
    enter(Call { path: 0, fd: -1, wd: -1, mask: argument(&ctx, 0) as u32, pad: 0 });
    0
}

/// The result of `inotify_init1`.
#[tracepoint]
pub fn exit_inotify_init1(ctx: TracePointContext) -> u32 {
    created(leave().map_or(0, |call| call.mask), result(&ctx));
    0
}

/// The result of `inotify_init(void)`.
#[tracepoint]
pub fn exit_inotify_init(ctx: TracePointContext) -> u32 {
    created(0, result(&ctx));
    0
}

/// An instance was made, or could not be.
#[inline(always)]
fn created(flags: u32, result: i32) {
    if result < 0 {
        let quota = quota::of_current_user(Counted::Instances);
        emit(Kind::CreateFailed, |record| {
            record.result = result;
            record.mask = flags;
            record.quota = quota;
        });
        return;
    }
    hold(task::pid());
    // None if another thread closed the descriptor before its creator even learned the number.
    let Some(instance) = Instance::of_descriptor(result) else { return };
    if let Some(payer) = instance.payer() {
        quota::remember(payer);
    }
    emit(Kind::InstanceCreated, |record| {
        record.result = result;
        record.fd = result;
        record.mask = flags;
        instance.describe(record, Counted::Instances);
    });
}

/// `inotify_add_watch(int fd, const char *pathname, u32 mask)`.
#[tracepoint]
pub fn enter_inotify_add_watch(ctx: TracePointContext) -> u32 {
    enter(Call {
        path: argument(&ctx, 1),
        fd: argument(&ctx, 0) as i32,
        wd: -1,
        mask: argument(&ctx, 2) as u32,
        pad: 0,
    });
    0
}

/// The result of `inotify_add_watch`. The path is read here, because the kernel has just read it
/// itself: at enter its page may not be in memory yet.
#[tracepoint]
pub fn exit_inotify_add_watch(ctx: TracePointContext) -> u32 {
    let Some(call) = leave() else { return 0 };
    let result = result(&ctx);
    let instance = Instance::of_descriptor(call.fd);
    let kind = if result < 0 { Kind::WatchFailed } else { Kind::WatchAdded };
    if instance.is_some() {
        // Whoever uses an instance holds it, however the descriptor came to them.
        hold(task::pid());
    }
    emit_with_path(kind, Path::User(call.path), |record| {
        record.result = result;
        record.fd = call.fd;
        record.mask = call.mask;
        if let Some(instance) = instance {
            instance.describe(record, Counted::Watches);
            if result >= 0 {
                record.wd = result;
                target::describe(record, instance, result);
            }
        }
    });
    0
}

/// `inotify_rm_watch(int fd, __s32 wd)`.
#[tracepoint]
pub fn enter_inotify_rm_watch(ctx: TracePointContext) -> u32 {
    let (fd, wd) = (argument(&ctx, 0) as i32, argument(&ctx, 1) as i32);
    enter(Call { path: 0, fd, wd, mask: 0, pad: 0 });
    0
}

/// The result of `inotify_rm_watch`. A failed one changes nothing and is not told.
#[tracepoint]
pub fn exit_inotify_rm_watch(ctx: TracePointContext) -> u32 {
    let Some(call) = leave() else { return 0 };
    if result(&ctx) < 0 {
        return 0;
    }
    let Some(instance) = Instance::of_descriptor(call.fd) else { return 0 };
    hold(task::pid());
    emit(Kind::WatchRemoved, |record| {
        record.fd = call.fd;
        record.wd = call.wd;
        instance.describe(record, Counted::Watches);
    });
    0
}
