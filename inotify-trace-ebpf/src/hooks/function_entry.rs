//! Trampoline backend: fentry and fexit on inotify's own functions. Other system calls have no
//! added cost.
//!
//! A fexit program's context holds the arguments and then the result: `arg(n)` after `n` of them.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::registers::{self, Convention};
use crate::{call::Call, function, inotify, queue};

/// `static int do_inotify_init(int flags)`.
#[fexit(function = "do_inotify_init")]
pub fn fexit_do_inotify_init(ctx: FExitContext) -> i32 {
    function::init_returned(ctx.arg::<u32>(0), ctx.arg::<i32>(1));
    0
}

/// `long __x64_sys_inotify_init(const struct pt_regs *unused)`, and a 32-bit program's.
#[fentry]
pub fn fentry_legacy_init(_ctx: FEntryContext) -> i32 {
    Call::EMPTY.begin();
    0
}

/// The same, at its end.
#[fexit]
pub fn fexit_legacy_init(ctx: FExitContext) -> i32 {
    function::legacy_init_returned(ctx.arg::<i32>(1));
    0
}

/// `int anon_inode_getfd(const char *name, const struct file_operations *fops, void *priv,
/// int flags)`.
#[fexit(function = "anon_inode_getfd")]
pub fn fexit_anon_inode_getfd(ctx: FExitContext) -> i32 {
    let (fops, group) = (ctx.arg::<u64>(1), ctx.arg::<u64>(2));
    function::getfd_returned(fops, group, ctx.arg::<u32>(3), ctx.arg::<i32>(4));
    0
}

/// `static int inotify_release(struct inode *ignored, struct file *file)`.
#[fentry(function = "inotify_release")]
pub fn fentry_inotify_release(ctx: FEntryContext) -> i32 {
    inotify::released(ctx.arg::<u64>(1));
    0
}

/// `static int inotify_update_watch(struct fsnotify_group *group, struct inode *inode, u32 arg)`.
#[fentry(function = "inotify_update_watch")]
pub fn fentry_inotify_update_watch(ctx: FEntryContext) -> i32 {
    function::update_watch(ctx.arg::<u64>(1));
    0
}

/// `void inotify_ignored_and_remove_idr(struct fsnotify_mark *fsn_mark,
/// struct fsnotify_group *group)`.
#[fentry(function = "inotify_ignored_and_remove_idr")]
pub fn fentry_inotify_ignored(ctx: FEntryContext) -> i32 {
    function::watch_ignored(ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    0
}

/// `int fsnotify_insert_event(struct fsnotify_group *group, struct fsnotify_event *event, merge,
/// insert)`.
#[fexit(function = "fsnotify_insert_event")]
pub fn fexit_insert_event(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(4) == queue::DROPPED {
        queue::dropped(ctx.arg::<u64>(0));
    }
    0
}

/// `long __x64_sys_inotify_add_watch(const struct pt_regs *regs)`.
#[fentry]
pub fn fentry_add_watch(ctx: FEntryContext) -> i32 {
    registers::add_watch(ctx.arg::<u64>(0), Convention::Native).begin();
    0
}

/// The same, at its end.
#[fexit]
pub fn fexit_add_watch(ctx: FExitContext) -> i32 {
    add_watch_returned(&ctx)
}

/// `long __ia32_sys_inotify_add_watch(const struct pt_regs *regs)`: a 32-bit program's.
#[fentry]
pub fn fentry_add_watch_compat(ctx: FEntryContext) -> i32 {
    registers::add_watch(ctx.arg::<u64>(0), Convention::Compat).begin();
    0
}

/// The same, at its end.
#[fexit]
pub fn fexit_add_watch_compat(ctx: FExitContext) -> i32 {
    add_watch_returned(&ctx)
}

/// `long __x64_sys_inotify_rm_watch(const struct pt_regs *regs)`.
#[fentry]
pub fn fentry_rm_watch(ctx: FEntryContext) -> i32 {
    registers::rm_watch(ctx.arg::<u64>(0), Convention::Native).begin();
    0
}

/// The same, at its end.
#[fexit]
pub fn fexit_rm_watch(ctx: FExitContext) -> i32 {
    rm_watch_returned(&ctx)
}

/// `long __ia32_sys_inotify_rm_watch(const struct pt_regs *regs)`: a 32-bit program's.
#[fentry]
pub fn fentry_rm_watch_compat(ctx: FEntryContext) -> i32 {
    registers::rm_watch(ctx.arg::<u64>(0), Convention::Compat).begin();
    0
}

/// The same, at its end.
#[fexit]
pub fn fexit_rm_watch_compat(ctx: FExitContext) -> i32 {
    rm_watch_returned(&ctx)
}

#[inline(always)]
fn add_watch_returned(ctx: &FExitContext) -> i32 {
    if let Some(call) = Call::finish() {
        inotify::add_watch_returned(&call, ctx.arg::<i32>(1));
    }
    0
}

#[inline(always)]
fn rm_watch_returned(ctx: &FExitContext) -> i32 {
    if let Some(call) = Call::finish() {
        inotify::rm_watch_returned(&call, ctx.arg::<i32>(1));
    }
    0
}
