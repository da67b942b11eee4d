//! cgroups by id.

use crate::read::{field, offset, pointer};

/// The id of a `struct cgroup`, if it is one of the v2 hierarchy.
#[inline(always)]
pub(crate) fn id(cgroup: u64) -> Option<u64> {
    let root = pointer(cgroup, offset!(cgroup_root))?;
    // Hierarchy 0 is the default one, which is v2 (`kernel/cgroup/cgroup.c`).
    if field::<i32>(root, offset!(root_hierarchy_id))? != 0 {
        return None;
    }
    field(pointer(cgroup, offset!(cgroup_kn))?, offset!(kn_id))
}
