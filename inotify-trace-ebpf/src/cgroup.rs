//! cgroups by id.

use inotify_trace_common::ABSENT;

use crate::read::{offset, one_if_any, read, value};

/// The id of a `struct cgroup`; 0 if it is none of the v2 hierarchy.
#[inline(always)]
pub(crate) fn id(cgroup: u64) -> u64 {
    if offset!(root_hierarchy_id) == ABSENT {
        return 0;
    }
    let root = value(cgroup, offset!(cgroup_root));
    // Hierarchy 0 is the default one, which is v2 (`kernel/cgroup/cgroup.c`).
    let (hierarchy, unreadable) = read::<i32>(root, offset!(root_hierarchy_id));
    let other = one_if_any(hierarchy as u64 | unreadable as u64);
    let id: u64 = value(value(cgroup, offset!(cgroup_kn)), offset!(kn_id));
    // All ones for one of v2.
    id & u64::from(other).wrapping_sub(1)
}
