//! What a watch is on.

use inotify_trace_common::{ABSENT, Kind, Record};

use crate::{
    emit::emit,
    instance::Instance,
    read::{field, offset, pointer},
};

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The file type bits of `i_mode`, and a directory's (inode(7)).
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;

/// A new watch is the first in the group's list. One that changed its mask stays where it was,
/// and a neighbour may add one meanwhile: so a few are tried.
const MARKS: u32 = 4;

/// Of an instance that exists already, this many of the newest watches are looked at: the verifier
/// walks the loop at load time, and its work grows with the square of the rounds. What watches
/// cgroups for a container, such as containerd's shim, has one or two.
const MARKS_FOUND: u32 = 4;

/// Says in `record` which inode the watch `wd` of `instance` is on, if it is among the newest.
#[inline(always)]
pub(crate) fn describe_watch(record: &mut Record, instance: Instance, wd: i32) {
    let mut marks = Marks::of(instance);
    for _ in 0..MARKS {
        let Some(mark) = marks.next() else { return };
        if field::<i32>(mark, offset!(mark_wd)) == Some(wd) {
            if let Some(inode) = inode_of(mark) {
                describe_inode(record, inode);
            }
            return;
        }
    }
}

/// Says in `record` which inode is watched.
#[inline(always)]
pub(crate) fn describe_inode(record: &mut Record, inode: u64) {
    record.inode = field(inode, offset!(inode_i_ino)).unwrap_or(0);
    if let Some(superblock) = pointer(inode, offset!(inode_i_sb)) {
        record.dev = field(superblock, offset!(sb_s_dev)).unwrap_or(0);
    }
    record.target_cgroup = cgroup_of(inode).unwrap_or(0);
}

/// Tells which cgroups an instance that exists already watches.
#[inline(always)]
pub(crate) fn tell_cgroups(instance: Instance) {
    let mut marks = Marks::of(instance);
    for _ in 0..MARKS_FOUND {
        let Some(mark) = marks.next() else { return };
        if let Some(cgroup) = inode_of(mark).and_then(cgroup_of) {
            emit(Kind::CgroupWatchFound, |record| {
                record.group = instance.group;
                record.file = instance.file;
                record.wd = field(mark, offset!(mark_wd)).unwrap_or(-1);
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

/// The inode that a mark is on.
#[inline(always)]
fn inode_of(mark: u64) -> Option<u64> {
    let connector = pointer(mark, offset!(mark_connector))?;
    let object = pointer(connector, offset!(connector_obj))?;
    Some(object - u64::from(offset!(connector_obj_bias)))
}

/// The cgroup that a directory or file of cgroupfs belongs to: a directory's own, a file's parent.
/// None for what is on another file system.
#[inline(always)]
fn cgroup_of(inode: u64) -> Option<u64> {
    let superblock = pointer(inode, offset!(inode_i_sb))?;
    if field::<u64>(superblock, offset!(sb_s_magic)) != Some(CGROUP2_MAGIC) {
        return None;
    }
    let node = pointer(inode, offset!(inode_i_private))?;
    if field::<u16>(inode, offset!(inode_i_mode))? & S_IFMT == S_IFDIR {
        return field(node, offset!(kn_id));
    }
    field(pointer(node, offset!(kn_parent))?, offset!(kn_id))
}
