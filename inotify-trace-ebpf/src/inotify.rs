//! Records inotify's events, the same for every backend.

use inotify_trace_common::{ABSENT, Kind};

use crate::{
    call::Call,
    descriptors,
    emit::{Path, emit, emit_levels, emit_with_path},
    instance::Instance,
    maps::hold,
    queue,
    quota::{self, Counted},
    read::{field, offset},
    target::{self, Target},
    task::{self, Table},
};

/// `inotify_init` or `inotify_init1` returned.
#[inline(always)]
pub(crate) fn init_returned(flags: u32, result: i32) {
    if result < 0 {
        create_failed(flags, result);
    } else if let Some(instance) = Instance::of_descriptor(result) {
        created(flags, result, instance);
    } else {
        // Another thread closed the descriptor before its creator even learned the number.
        hold(task::pid());
    }
}

/// An instance could not be created.
#[inline(always)]
pub(crate) fn create_failed(flags: u32, error: i32) {
    let quota = quota::of_current_user(Counted::Instances);
    let (nofile, full) = descriptors::in_use(error);
    emit(Kind::CreateFailed, |record| {
        record.result = error;
        record.mask = flags;
        record.quota = quota;
        record.nofile = nofile;
        record.nofile_full = full as u32;
    });
}

/// An instance was created with descriptor `fd`.
#[inline(always)]
pub(crate) fn created(flags: u32, fd: i32, instance: Instance) {
    // First, as it is long: the verifier walks what comes after a branch once for each way.
    let seen = instance.look(Counted::Instances);
    hold(task::pid());
    if let Some(payer) = instance.payer() {
        // Before the instance: who pays for it is known when it is.
        if quota::is_new(payer) {
            emit_levels(payer);
        }
        quota::remember(payer);
    }
    emit(Kind::InstanceCreated, |record| {
        record.result = fd;
        record.fd = fd;
        record.mask = flags;
        seen.describe(record);
    });
}

/// A descriptor of an instance that exists.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Id of the process.
    pub(crate) pid: u32,
    /// Id of a thread of it that has the descriptor.
    pub(crate) tid: u32,
    /// The descriptor table of that thread.
    pub(crate) table: Table,
    /// The descriptor.
    pub(crate) fd: i32,
    /// The number of the instance's references that are the agent's.
    pub(crate) own: u32,
}

/// An instance exists, with this descriptor.
#[inline(always)]
pub(crate) fn found(instance: Instance, descriptor: Found) {
    let Found { pid, tid, table, fd, own } = descriptor;
    let (creator_cgroup, seen) = (instance.creator_cgroup(), instance.look(Counted::Instances));
    hold(pid);
    if let Some(payer) = instance.payer() {
        quota::remember(payer);
    }
    emit(Kind::InstanceFound, |record| {
        seen.describe(record);
        record.cgroup = creator_cgroup;
        record.pid = pid;
        record.tid = tid;
        table.describe(record);
        record.fd = fd;
        record.refs = record.refs.saturating_sub(own);
    });
    target::tell_cgroups(instance);
}

/// `inotify_add_watch` returned. The path is read here, because the kernel has just read it itself:
/// at enter its page may not be in memory yet.
#[inline(always)]
pub(crate) fn add_watch_returned(call: &Call, result: i32) {
    let instance = Instance::of_descriptor(call.fd);
    let kind = if result < 0 { Kind::WatchFailed } else { Kind::WatchAdded };
    if instance.is_some() {
        // A process that uses an instance holds it, even if it got the descriptor unseen.
        hold(task::pid());
    }
    // Nothing can be read at these addresses, so of no instance all is unknown, without a branch.
    let instance = instance.unwrap_or(Instance { file: 0, group: 0 }).blurred();
    let seen = instance.look(Counted::Watches);
    let inode = if call.inode == 0 { target::inode_of_watch(instance, result) } else { call.inode };
    let target = Target::of(inode);
    emit_with_path(kind, Path::User(call.path), |record| {
        record.result = result;
        record.fd = call.fd;
        record.mask = call.mask;
        seen.describe(record);
        if result >= 0 {
            record.wd = result;
            target.describe(record);
        }
    });
}

/// `inotify_rm_watch` returned. A failed call changes nothing and is not recorded.
#[inline(always)]
pub(crate) fn rm_watch_returned(call: &Call, result: i32) {
    if result < 0 {
        return;
    }
    let Some(instance) = Instance::of_descriptor(call.fd) else { return };
    hold(task::pid());
    let seen = instance.look(Counted::Watches);
    emit(Kind::WatchRemoved, |record| {
        record.fd = call.fd;
        record.wd = call.wd;
        seen.describe(record);
    });
}

/// The kernel itself removes a watch: its target is gone, or it was for one event only.
#[inline(always)]
pub(crate) fn watch_vanishes(mark: u64, group: u64) {
    let seen = Instance { file: 0, group }.look(Counted::Watches);
    emit(Kind::WatchVanished, |record| {
        record.wd = field(mark, offset!(mark_wd)).unwrap_or(-1);
        seen.describe(record);
        // Read before the kernel returns the watch's charge; recorded as it is right after.
        one_less(&mut record.quota);
    });
}

/// The last reference to an instance's file is gone, and the instance ends.
#[inline(always)]
pub(crate) fn released(file: u64) {
    let Some(instance) = Instance::of_file(file) else { return };
    queue::forget(instance.group);
    let seen = instance.look(Counted::Instances);
    emit(Kind::InstanceReleased, |record| {
        seen.describe(record);
        one_less(&mut record.quota);
    });
}

/// The count as it is right after the kernel has returned the charge.
#[inline(always)]
pub(crate) fn one_less(quota: &mut inotify_trace_common::Quota) {
    if quota.used != ABSENT {
        quota.used = quota.used.saturating_sub(1);
    }
}
