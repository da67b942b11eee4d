//! The names of cgroups, kept for a while after their end.

use std::collections::{HashMap, VecDeque};

use crate::{
    container::{self, Container},
    event::{BootTime, CgroupId},
};

/// How many removed cgroups keep their names: events about them arrive after their end. A node
/// that starts twenty containers a second keeps them for minutes.
const REMOVED_KEPT: usize = 16 << 10;

/// One cgroup of the v2 hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// Its path from the root of the hierarchy.
    pub path: Box<str>,
    /// The container it belongs to, as far as the path tells.
    pub container: Option<Container>,
    /// A short name for a column.
    pub display: Box<str>,
    /// When it was removed; None while it exists.
    pub removed: Option<BootTime>,
}

/// Every cgroup that exists, and the latest removed ones.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<CgroupId, Cgroup>,
    removed: VecDeque<CgroupId>,
}

impl Cgroups {
    /// What is known about a cgroup.
    #[must_use]
    pub fn get(&self, id: CgroupId) -> Option<&Cgroup> {
        self.known.get(&id)
    }

    /// How many are remembered, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn name(&mut self, id: CgroupId, path: &str) {
        let cgroup = Cgroup {
            path: path.into(),
            container: Container::from_cgroup_path(path),
            display: container::display_name(path).into(),
            removed: None,
        };
        self.known.insert(id, cgroup);
    }

    pub(super) fn remove(&mut self, id: CgroupId, time: BootTime) {
        let Some(cgroup) = self.known.get_mut(&id) else { return };
        // Ids are not reused before 2^32 others (`kernfs_node.id`), so once is enough.
        if cgroup.removed.replace(time).is_some() {
            return;
        }
        self.removed.push_back(id);
        if self.removed.len() > REMOVED_KEPT
            && let Some(oldest) = self.removed.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_cgroup_keeps_its_name() {
        let mut cgroups = Cgroups::default();
        cgroups.name(CgroupId(7), "/system.slice/cron.service");
        cgroups.remove(CgroupId(7), BootTime(5));
        let cgroup = cgroups.get(CgroupId(7)).unwrap();
        assert_eq!(
            (&*cgroup.path, cgroup.removed),
            ("/system.slice/cron.service", Some(BootTime(5)))
        );
    }

    #[test]
    fn memory_is_bounded_however_many_come_and_go() {
        let mut cgroups = Cgroups::default();
        for id in 1..=3 * REMOVED_KEPT as u64 {
            cgroups.name(CgroupId(id), "/kubepods/x");
            cgroups.remove(CgroupId(id), BootTime(id));
            cgroups.remove(CgroupId(id), BootTime(id));
        }
        assert_eq!(cgroups.len(), REMOVED_KEPT);
    }
}
