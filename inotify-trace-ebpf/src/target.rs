//! Targets of watches.

use inotify_trace_common::{ABSENT, Kind, Record};

use crate::{
    emit::emit_with_name,
    instance::Instance,
    read::{blur_address, offset, pointer, value},
};

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The file type bits of `i_mode`, and a directory's (inode(7)).
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;

/// The number of an instance's newest watches that are read: the verifier walks the loop at load
/// time, and its work grows with the square of the rounds. A new watch is the first in the group's
/// list; one that changed its mask stays in place, and another thread may add one meanwhile. An
/// instance that watches a container's cgroups, such as that of containerd's shim, has one or two
/// watches.
const MARKS: u32 = 4;

/// The inode of watch `wd` of `instance`, if the watch is among the newest; an address that nothing
/// can be read at if not.
#[inline(always)]
pub(crate) fn inode_of_watch(instance: Instance, wd: i32) -> u64 {
    let mut marks = Marks::of(instance);
    let mut found = 0;
    for _ in 0..MARKS {
        let Some(mark) = marks.next() else { break };
        if value::<i32>(mark, offset!(mark_wd)) == wd {
            found = mark;
            break;
        }
    }
    // Once, after the loop: the verifier walks each path to its end.
    inode_of(blur_address(found))
}

/// What is watched.
pub(crate) struct Target {
    inode: u64,
    dev: u32,
    cgroup: u64,
}

impl Target {
    #[inline(always)]
    pub(crate) fn of(inode: u64) -> Self {
        Self {
            inode: value(inode, offset!(inode_i_ino)),
            dev: value(value(inode, offset!(inode_i_sb)), offset!(sb_s_dev)),
            cgroup: blur_address(cgroup_of(inode)),
        }
    }

    /// Sets the watched inode in `record`.
    #[inline(always)]
    pub(crate) fn describe(&self, record: &mut Record) {
        record.inode = self.inode;
        record.dev = self.dev;
        record.target_cgroup = self.cgroup;
    }
}

/// Sends a record for each cgroup that an existing instance watches.
#[inline(always)]
pub(crate) fn tell_cgroups(instance: Instance) {
    let mut marks = Marks::of(instance);
    for _ in 0..MARKS {
        let Some(mark) = marks.next() else { return };
        let inode = inode_of(mark);
        let cgroup = cgroup_of(inode);
        if cgroup != 0 {
            emit_with_name(Kind::CgroupWatchFound, name_of(inode), |record| {
                record.group = instance.group;
                record.file = instance.file;
                record.wd = value(mark, offset!(mark_wd));
                record.target_cgroup = cgroup;
            });
        }
    }
}

/// The marks of an instance, newest first. No iterator: the verifier wants to see the loop.
struct Marks {
    head: u64,
    link: u64,
}

impl Marks {
    #[inline(always)]
    fn of(instance: Instance) -> Self {
        // A kernel whose list is not known has an empty one.
        let known = offset!(mark_g_list) != ABSENT && offset!(group_marks_list) != ABSENT;
        let head = if known { instance.group + u64::from(offset!(group_marks_list)) } else { 0 };
        Self { head, link: pointer(head, 0).unwrap_or(head) }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<u64> {
        if self.link == self.head {
            return None;
        }
        let mark = self.link - u64::from(offset!(mark_g_list));
        self.link = pointer(self.link, 0).unwrap_or(self.head);
        Some(mark)
    }
}

/// The inode that a mark is on; an address that nothing can be read at if it is on none.
#[inline(always)]
fn inode_of(mark: u64) -> u64 {
    let connector = value(mark, offset!(mark_connector));
    value::<u64>(connector, offset!(connector_obj)).wrapping_sub(offset!(connector_obj_bias).into())
}

/// The address of the name of a file of cgroupfs, which is there even if the file is removed; 0 for a
/// directory.
#[inline(always)]
fn name_of(inode: u64) -> u64 {
    let mode: u16 = value(inode, offset!(inode_i_mode));
    let node: u64 = value(inode, offset!(inode_i_private));
    if mode & S_IFMT == S_IFDIR { 0 } else { value(node, offset!(kn_name)) }
}

/// The cgroup that a directory or file of cgroupfs belongs to: a directory's own, a file's parent.
/// 0 on other file systems.
#[inline(always)]
fn cgroup_of(inode: u64) -> u64 {
    let magic: u64 = value(value(inode, offset!(inode_i_sb)), offset!(sb_s_magic));
    let mode: u16 = value(inode, offset!(inode_i_mode));
    let node = value(inode, offset!(inode_i_private));
    if magic != CGROUP2_MAGIC {
        return 0;
    }
    let directory = if mode & S_IFMT == S_IFDIR { node } else { value(node, offset!(kn_parent)) };
    value(directory, offset!(kn_id))
}
