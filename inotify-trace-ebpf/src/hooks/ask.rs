//! Programs that are attached to nothing: the agent runs them itself, with `BPF_PROG_TEST_RUN`,
//! to ask the kernel something. They run in the agent's own task. Their answers take the ring
//! buffer too, which puts them in order with what the hooks saw.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use aya_log_ebpf::{info, warn};
use inotify_trace_common::Kind;

use crate::{
    emit::{emit, emit_levels},
    inotify::{Found, found},
    instance::{Instance, operations_of_descriptor},
    maps::{learn_inotify_fops, learn_inotify_operations},
    queue,
    quota::{self, Counted},
    read::{field, offset, pointer, value},
    task::Table,
};

/// `(fd)`: this descriptor of the agent is an inotify instance. From now on the programs recognize
/// instances.
#[raw_tracepoint]
pub fn ask_learn(ctx: RawTracePointContext) -> i32 {
    let fd = ctx.arg::<u64>(0) as i32;
    match operations_of_descriptor(fd) {
        Some(address) => {
            learn_inotify_fops(address);
            let group = Instance::of_descriptor(fd).map_or(0, |instance| instance.group);
            learn_inotify_operations(value(group, offset!(group_ops)));
            info!(&ctx, "learned from descriptor {} what an instance looks like", fd);
        }
        None => warn!(&ctx, "descriptor {} leads to no file operations", fd),
    }
    0
}

/// `(fd, pid, tid, holder_fd)`: identifies the instance of this descriptor of the agent, which is a
/// copy of `holder_fd` of process `pid`, or of its thread `tid` if that has a descriptor table of its
/// own and is another number. Answers with `InstanceFound`.
#[raw_tracepoint]
pub fn ask_identify(ctx: RawTracePointContext) -> i32 {
    let (fd, pid) = (ctx.arg::<u64>(0) as i32, ctx.arg::<u64>(1) as u32);
    let (tid, holder_fd) = (ctx.arg::<u64>(2) as u32, ctx.arg::<u64>(3) as i32);
    let Some(instance) = Instance::of_descriptor(fd) else {
        warn!(&ctx, "descriptor {} of process {} is no inotify instance", holder_fd, pid);
        return 0;
    };
    // The agent's copy is a reference of its own.
    let table = Table { files: 0, is_own: u32::from(tid != pid) };
    found(instance, Found { pid, tid, table, fd: holder_fd, own: 1 });
    0
}

/// `(payer, uid)`: reads the charges of the user of these counters, if that is still `uid`, at every
/// level of user namespaces. Answers with `Charged`.
#[raw_tracepoint]
pub fn ask_charged(ctx: RawTracePointContext) -> i32 {
    let (payer, uid) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1) as u32);
    if quota::is_of(payer, uid) {
        emit_levels(payer);
    }
    0
}

/// Whether a group whose file is gone still exists: the kernel removes its watches, which can take
/// milliseconds, before it returns the user's charge.
#[inline(always)]
fn is_ending(group: u64, payer: u64) -> bool {
    field::<i32>(group, offset!(group_refcnt)).is_some_and(|references| references > 0)
        && pointer(group, offset!(group_ucounts)) == Some(payer)
}

/// `(file, group, payer, uid, tell_held)`: checks whether this instance still exists. If not,
/// answers with `InstanceGone`, and the remaining charge of its user (`uid`, charged through
/// `payer`); if it has references, with `InstanceHeld` if `tell_held` is not 0. Otherwise, also
/// while the kernel frees it, there is no answer.
#[raw_tracepoint]
pub fn ask_gone(ctx: RawTracePointContext) -> i32 {
    let (file, group) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    let (payer, uid) = (ctx.arg::<u64>(2), ctx.arg::<u64>(3) as u32);
    // A `struct file` is only ever reused for another one (`filp_cachep`), whose fields differ
    // until it is itself an instance, whose creation is recorded.
    let alive = Instance::of_file(file)
        .is_some_and(|instance| instance.group == group && instance.references() > 0);
    if alive {
        if ctx.arg::<u64>(4) != 0 {
            let seen = Instance { file, group }.look(Counted::Instances);
            emit(Kind::InstanceHeld, |record| seen.describe(record));
        }
        return 0;
    }
    if is_ending(group, payer) {
        return 0;
    }
    let quota = quota::after_an_end(payer, uid);
    emit(Kind::InstanceGone, |record| {
        record.file = file;
        record.group = group;
        record.quota = quota;
    });
    0
}

/// `(file, group, tell_read)`: looks whether the queue of this instance has overflowed, if it still
/// exists. If so, answers with `QueueOverflowed`; if not, with `QueueRead` if `tell_read` is not 0.
#[raw_tracepoint]
pub fn ask_queue(ctx: RawTracePointContext) -> i32 {
    let (file, group) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    if Instance::of_file(file)
        .is_some_and(|instance| instance.group == group && instance.references() > 0)
    {
        queue::look(file, group, ctx.arg::<u64>(2) != 0);
    }
    0
}
