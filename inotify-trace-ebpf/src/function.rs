//! Hooks on inotify's own functions, the same for trampolines and kprobes.

use crate::{
    call::Call,
    inotify,
    instance::{Instance, file_of_descriptor},
    maps::inotify_fops,
    read::{offset, value},
};

/// `anon_inode_getfd(name, fops, priv, flags)` returned: both system calls that make instances end
/// here, whatever the compiler inlined. Others pass as well: their `fops` differ.
#[inline(always)]
pub(crate) fn getfd_returned(fops: u64, group: u64, flags: u32, fd: i32) {
    if fops == inotify_fops() && fd >= 0 {
        let instance = Instance { file: file_of_descriptor(fd).unwrap_or(0), group };
        inotify::created(flags, fd, instance);
    }
}

/// `do_inotify_init(flags)` returned: recorded here only if it failed.
#[inline(always)]
pub(crate) fn init_returned(flags: u32, result: i32) {
    // The function around it must not record it again.
    let _ = Call::end();
    if result < 0 {
        inotify::create_failed(flags, result);
    }
}

/// `inotify_init()` returned, into which some compilers put a copy of `do_inotify_init`: its
/// failures are seen only here.
#[inline(always)]
pub(crate) fn legacy_init_returned(result: i32) {
    if Call::end().is_some() && result < 0 {
        inotify::create_failed(0, result);
    }
}

/// `inotify_update_watch(group, inode, mask)` runs within a call that is recorded when it returns.
#[inline(always)]
pub(crate) fn update_watch(inode: u64) {
    if let Some(call) = Call::current() {
        Call { inode, ..call }.update();
    }
}

/// `inotify_ignored_and_remove_idr(mark, group)`: a watch is removed. Removals by a system call are
/// recorded when that returns; those at the end of an instance are part of its end.
#[inline(always)]
pub(crate) fn watch_ignored(mark: u64, group: u64) {
    let ending = value::<u8>(group, offset!(group_shutdown)) != 0;
    if !ending && Call::current().is_none_or(|call| call.wd < 0) {
        inotify::watch_vanishes(mark, group);
    }
}
