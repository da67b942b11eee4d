//! What a watch is on.

use inotify_trace_common::Record;

use crate::{
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

/// Says in `record` which inode the watch `wd` of `instance` is on, if it is among the newest.
#[inline(always)]
pub(crate) fn describe_watch(record: &mut Record, instance: Instance, wd: i32) {
    if let Some(inode) = inode_of_watch(instance, wd) {
        describe_inode(record, inode);
    }
}

/// Says in `record` which inode is watched.
#[inline(always)]
pub(crate) fn describe_inode(record: &mut Record, inode: u64) {
    record.inode = field(inode, offset!(inode_i_ino)).unwrap_or(0);
    let Some(superblock) = pointer(inode, offset!(inode_i_sb)) else { return };
    record.dev = field(superblock, offset!(sb_s_dev)).unwrap_or(0);
    if field::<u64>(superblock, offset!(sb_s_magic)) == Some(CGROUP2_MAGIC) {
        record.target_cgroup = cgroup_of_inode(inode).unwrap_or(0);
    }
}

/// The inode that the watch `wd` is on.
#[inline(always)]
fn inode_of_watch(instance: Instance, wd: i32) -> Option<u64> {
    if offset!(mark_g_list) == inotify_trace_common::ABSENT {
        return None;
    }
    let head = instance.group + u64::from(offset!(group_marks_list));
    let mut link = pointer(instance.group, offset!(group_marks_list))?;
    for _ in 0..MARKS {
        if link == head {
            return None;
        }
        let mark = link - u64::from(offset!(mark_g_list));
        if field::<i32>(mark, offset!(mark_wd)) == Some(wd) {
            let connector = pointer(mark, offset!(mark_connector))?;
            let object = pointer(connector, offset!(connector_obj))?;
            return Some(object - u64::from(offset!(connector_obj_bias)));
        }
        link = pointer(link, 0)?;
    }
    None
}

/// The cgroup that a directory or file of cgroupfs belongs to: a directory's own, a file's parent.
#[inline(always)]
fn cgroup_of_inode(inode: u64) -> Option<u64> {
    let node = pointer(inode, offset!(inode_i_private))?;
    if field::<u16>(inode, offset!(inode_i_mode))? & S_IFMT == S_IFDIR {
        return field(node, offset!(kn_id));
    }
    field(pointer(node, offset!(kn_parent))?, offset!(kn_id))
}
