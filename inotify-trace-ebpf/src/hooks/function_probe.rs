//! Kprobe backend: the same functions as the trampoline backend's, on kernels without trampolines.
//! A kretprobe sees no arguments: they wait where the calls do.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::registers::{self, Convention};
use crate::{call::Call, function, inotify, maps::inotify_fops, queue};

/// `do_inotify_init(flags)`.
#[kprobe]
pub fn kprobe_do_inotify_init(ctx: ProbeContext) -> u32 {
    Call { mask: ctx.arg::<u32>(0).unwrap_or(0), ..Call::EMPTY }.begin();
    0
}

/// Its end.
#[kretprobe]
pub fn kretprobe_do_inotify_init(ctx: RetProbeContext) -> u32 {
    if let Some(call) = Call::current() {
        function::init_returned(call.mask, ctx.ret::<i32>());
    }
    0
}

/// `inotify_init()`.
#[kprobe]
pub fn kprobe_legacy_init(_ctx: ProbeContext) -> u32 {
    Call::EMPTY.begin();
    0
}

/// Its end.
#[kretprobe]
pub fn kretprobe_legacy_init(ctx: RetProbeContext) -> u32 {
    function::legacy_init_returned(ctx.ret::<i32>());
    0
}

/// `anon_inode_getfd(name, fops, priv, flags)`, within the above or within `inotify_init`.
#[kprobe]
pub fn kprobe_anon_inode_getfd(ctx: ProbeContext) -> u32 {
    if ctx.arg::<u64>(1) != Some(inotify_fops()) {
        return 0;
    }
    // The group waits where an inode would.
    let group = ctx.arg::<u64>(2).unwrap_or(0);
    Call { inode: group, mask: ctx.arg::<u32>(3).unwrap_or(0), ..Call::EMPTY }.begin();
    0
}

/// Its end.
#[kretprobe]
pub fn kretprobe_anon_inode_getfd(ctx: RetProbeContext) -> u32 {
    // Most calls are not inotify's, and were not kept. This one stays, for the function around it.
    if let Some(call) = Call::current()
        && call.inode != 0
        && call.path == 0
    {
        let (group, flags) = (call.inode, call.mask);
        Call { inode: 0, ..call }.update();
        function::getfd_returned(inotify_fops(), group, flags, ctx.ret::<i32>());
    }
    0
}

/// `inotify_release(ignored, file)`.
#[kprobe]
pub fn kprobe_inotify_release(ctx: ProbeContext) -> u32 {
    inotify::released(ctx.arg::<u64>(1).unwrap_or(0));
    0
}

/// `inotify_update_watch(group, inode, arg)`.
#[kprobe]
pub fn kprobe_inotify_update_watch(ctx: ProbeContext) -> u32 {
    function::update_watch(ctx.arg::<u64>(1).unwrap_or(0));
    0
}

/// `inotify_ignored_and_remove_idr(fsn_mark, group)`.
#[kprobe]
pub fn kprobe_inotify_ignored(ctx: ProbeContext) -> u32 {
    function::watch_ignored(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u64>(1).unwrap_or(0));
    0
}

/// `fsnotify_insert_event(group, event, merge, insert)`.
#[kprobe]
pub fn kprobe_insert_event(ctx: ProbeContext) -> u32 {
    queue::adding(ctx.arg::<u64>(0).unwrap_or(0));
    0
}

/// Its end.
#[kretprobe]
pub fn kretprobe_insert_event(ctx: RetProbeContext) -> u32 {
    queue::added(ctx.ret::<i32>());
    0
}

/// `inotify_add_watch` of a 64-bit program.
#[kprobe]
pub fn kprobe_add_watch(ctx: ProbeContext) -> u32 {
    registers::add_watch(ctx.arg::<u64>(0).unwrap_or(0), Convention::Native).begin();
    0
}

/// `inotify_add_watch` of a 32-bit program.
#[kprobe]
pub fn kprobe_add_watch_compat(ctx: ProbeContext) -> u32 {
    registers::add_watch(ctx.arg::<u64>(0).unwrap_or(0), Convention::Compat).begin();
    0
}

/// The end of either.
#[kretprobe]
pub fn kretprobe_add_watch(ctx: RetProbeContext) -> u32 {
    if let Some(call) = Call::finish() {
        inotify::add_watch_returned(&call, ctx.ret::<i32>());
    }
    0
}

/// `inotify_rm_watch` of a 64-bit program.
#[kprobe]
pub fn kprobe_rm_watch(ctx: ProbeContext) -> u32 {
    registers::rm_watch(ctx.arg::<u64>(0).unwrap_or(0), Convention::Native).begin();
    0
}

/// `inotify_rm_watch` of a 32-bit program.
#[kprobe]
pub fn kprobe_rm_watch_compat(ctx: ProbeContext) -> u32 {
    registers::rm_watch(ctx.arg::<u64>(0).unwrap_or(0), Convention::Compat).begin();
    0
}

/// The end of either.
#[kretprobe]
pub fn kretprobe_rm_watch(ctx: RetProbeContext) -> u32 {
    if let Some(call) = Call::finish() {
        inotify::rm_watch_returned(&call, ctx.ret::<i32>());
    }
    0
}
