//! Tracepoint backend: the inotify system calls. Arguments are available only at enter and results
//! only at exit, so each call's arguments are kept in between.

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};

use crate::{call::Call, inotify};

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

/// `inotify_init1(int flags)`.
#[tracepoint]
pub fn enter_inotify_init1(ctx: TracePointContext) -> u32 {
    Call { mask: argument(&ctx, 0) as u32, ..Call::EMPTY }.begin();
    0
}

/// The result of `inotify_init1`.
#[tracepoint]
pub fn exit_inotify_init1(ctx: TracePointContext) -> u32 {
    // Without it only the flags are unknown.
    inotify::init_returned(Call::end().map_or(0, |call| call.mask), result(&ctx));
    0
}

/// The result of `inotify_init(void)`.
#[tracepoint]
pub fn exit_inotify_init(ctx: TracePointContext) -> u32 {
    inotify::init_returned(0, result(&ctx));
    0
}

/// `inotify_add_watch(int fd, const char *pathname, u32 mask)`.
#[tracepoint]
pub fn enter_inotify_add_watch(ctx: TracePointContext) -> u32 {
    let (fd, path) = (argument(&ctx, 0) as i32, argument(&ctx, 1));
    Call { fd, path, mask: argument(&ctx, 2) as u32, ..Call::EMPTY }.begin();
    0
}

/// The result of `inotify_add_watch`.
#[tracepoint]
pub fn exit_inotify_add_watch(ctx: TracePointContext) -> u32 {
    if let Some(call) = Call::finish() {
        inotify::add_watch_returned(&call, result(&ctx));
    }
    0
}

/// `inotify_rm_watch(int fd, __s32 wd)`.
#[tracepoint]
pub fn enter_inotify_rm_watch(ctx: TracePointContext) -> u32 {
    let (fd, wd) = (argument(&ctx, 0) as i32, argument(&ctx, 1) as i32);
    Call { fd, wd, ..Call::EMPTY }.begin();
    0
}

/// The result of `inotify_rm_watch`.
#[tracepoint]
pub fn exit_inotify_rm_watch(ctx: TracePointContext) -> u32 {
    if let Some(call) = Call::finish() {
        inotify::rm_watch_returned(&call, result(&ctx));
    }
    0
}
