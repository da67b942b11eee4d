//! Tracepoint backend: the system calls that close a descriptor. They are hooked at enter, while
//! the descriptor still leads to its instance.
//!
//! Every `close` on the machine passes here, so a process that holds no instance must leave at
//! the first check.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use inotify_trace_common::Kind;

use super::syscall_inotify::argument;
use crate::{
    emit::emit,
    inotify::one_less,
    instance::{Instance, file_of_descriptor},
    maps::HOLDERS,
    quota::Counted,
    task::{self, Table},
};

/// `CLOSE_RANGE_UNSHARE` of close_range(2): closes the descriptors in a copy of a table that is shared
/// with other threads, which keep them.
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;

/// `CLOSE_RANGE_CLOEXEC` of close_range(2): marks the descriptors and closes none.
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// Whether the current process may hold an instance.
#[inline(always)]
fn is_holder() -> bool {
    // SAFETY: only whether there is a value counts; it is not read.
    unsafe { HOLDERS.get(task::pid()) }.is_some()
}

/// `close(unsigned int fd)`.
#[tracepoint]
pub fn enter_close(ctx: TracePointContext) -> u32 {
    if is_holder() {
        closing(argument(&ctx, 0) as i32);
    }
    0
}

/// `dup2(unsigned int oldfd, unsigned int newfd)`: closes `newfd` first.
#[tracepoint]
pub fn enter_dup2(ctx: TracePointContext) -> u32 {
    if is_holder() {
        replacing(argument(&ctx, 0) as i32, argument(&ctx, 1) as i32);
    }
    0
}

/// `dup3(unsigned int oldfd, unsigned int newfd, int flags)`: closes `newfd` first.
#[tracepoint]
pub fn enter_dup3(ctx: TracePointContext) -> u32 {
    if is_holder() {
        replacing(argument(&ctx, 0) as i32, argument(&ctx, 1) as i32);
    }
    0
}

/// `close_range(unsigned int first, unsigned int last, unsigned int flags)`. The agent knows the
/// descriptors in the range, and then asks which instances are gone.
#[tracepoint]
pub fn enter_close_range(ctx: TracePointContext) -> u32 {
    let flags = argument(&ctx, 2) as u32;
    if flags & CLOSE_RANGE_CLOEXEC != 0 || !is_holder() {
        return 0;
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 && Table::of(task::current()).users() > 1 {
        return 0;
    }
    let (first, last) = (argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    emit(Kind::RangeClosed, |record| {
        record.fd = first.min(i32::MAX as u32) as i32;
        record.wd = last.min(i32::MAX as u32) as i32;
        record.mask = flags;
    });
    0
}

/// `new` is closed by becoming a copy of `old`, if `old` is open and another one.
#[inline(always)]
fn replacing(old: i32, new: i32) {
    if old != new && file_of_descriptor(old).is_some() {
        closing(new);
    }
}

/// A holder closes `fd`.
#[inline(always)]
fn closing(fd: i32) {
    let Some(instance) = Instance::of_descriptor(fd) else { return };
    let seen = instance.look(Counted::Instances);
    emit(Kind::DescriptorClosed, |record| {
        record.fd = fd;
        seen.describe(record);
        if record.refs == 1 {
            // Read before the kernel frees the instance; recorded as it is right after.
            one_less(&mut record.quota);
        }
    });
}
