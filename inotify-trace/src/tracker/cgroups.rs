//! The names of cgroups, kept for a while after their end.

use std::collections::{HashMap, VecDeque};

use super::Part;
use crate::{
    container::{self, Container, Names},
    event::{BootTime, CgroupId},
};

/// How many removed cgroups keep their names: events about them arrive after their end. A node
/// that starts twenty containers a second keeps them for minutes.
const REMOVED_KEPT: usize = 16 << 10;

/// The root of the v2 hierarchy: the first id of its kernfs (`kernfs_create_root`).
const ROOT: CgroupId = CgroupId(1);

/// One cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Debug, Default, PartialEq)]
pub struct Cgroups {
    known: HashMap<CgroupId, Cgroup>,
    removed: VecDeque<CgroupId>,
    /// By container id.
    names: HashMap<String, Named>,
}

/// What a container is called.
#[derive(Debug, PartialEq)]
struct Named {
    names: Names,
    /// In one line.
    display: Option<Box<str>>,
    /// The container's own cgroup, with which its names are forgotten.
    cgroup: CgroupId,
}

impl Cgroups {
    /// Since when a cgroup is gone: inner None if that was before tracing began; outer None if it
    /// still exists, or that cannot be known.
    #[must_use]
    pub fn gone_since(&self, id: CgroupId) -> Option<Option<BootTime>> {
        match self.known.get(&id) {
            Some(cgroup) => cgroup.removed.map(Some),
            // Whoever sees the root of the hierarchy sees all of it.
            None => self.known.contains_key(&ROOT).then_some(None),
        }
    }

    /// What is known about a cgroup.
    #[must_use]
    pub fn get(&self, id: CgroupId) -> Option<&Cgroup> {
        self.known.get(&id)
    }

    /// What a container is called; None if its runtime did not say.
    #[must_use]
    pub fn names(&self, container: &Container) -> Option<&Names> {
        self.names_of(&container.id)
    }

    /// What the container with this id is called; None if its runtime did not say.
    #[must_use]
    pub fn names_of(&self, id: &str) -> Option<&Names> {
        self.names.get(id).map(|named| &named.names)
    }

    /// What to call a cgroup in a column: the name of its container, if it has one.
    #[must_use]
    pub fn display(&self, id: CgroupId) -> Option<&str> {
        let cgroup = self.get(id)?;
        let named = cgroup.container.as_ref().and_then(|it| self.names.get(&it.id));
        Some(named.and_then(|named| named.display.as_deref()).unwrap_or(&cgroup.display))
    }

    /// Every one that is remembered, removed ones included, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Cgroup> {
        self.known.values()
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

    /// All that is remembered, those that exist first.
    pub(super) fn parts(&self) -> Vec<Part> {
        let existing = self.known.iter().filter(|(_, cgroup)| cgroup.removed.is_none());
        let mut ids: Vec<_> = existing.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids.extend(&self.removed);
        let cgroup = |id| {
            let cgroup = self.known.get(&id)?;
            Some(Part::Cgroup { id, path: cgroup.path.clone(), removed: cgroup.removed })
        };
        let mut parts: Vec<_> = ids.into_iter().filter_map(cgroup).collect();
        let mut named: Vec<_> = self.names.values().collect();
        named.sort_unstable_by_key(|named| named.cgroup);
        parts.extend(named.into_iter().map(|named| {
            let names = Box::new(named.names.clone());
            Part::Names { cgroup: named.cgroup, names }
        }));
        parts
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

    pub(super) fn name_container(&mut self, cgroup: CgroupId, names: &Names) {
        let known = self.known.get(&cgroup).and_then(|it| it.container.as_ref());
        let Some(container) = known else { return };
        let display = names.display().map(Into::into);
        let named = Named { names: names.clone(), display, cgroup };
        self.names.insert(container.id.clone(), named);
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
            let container = self.known.remove(&oldest).and_then(|cgroup| cgroup.container);
            let id = container.map(|container| container.id).unwrap_or_default();
            if self.names.get(&id).is_some_and(|named| named.cgroup == oldest) {
                self.names.remove(&id);
            }
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
    fn a_container_s_name_holds_below_it_and_goes_with_it() {
        let id = "4fa3b2c1d0e98a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b";
        let mut cgroups = Cgroups::default();
        cgroups.name(CgroupId(7), &format!("/system.slice/docker-{id}.scope"));
        cgroups.name(CgroupId(8), &format!("/system.slice/docker-{id}.scope/init"));
        assert_eq!(cgroups.display(CgroupId(8)), Some("docker:4fa3b2c1d0e9"));
        let names = Names { name: Some("web".to_owned()), ..Names::default() };
        cgroups.name_container(CgroupId(7), &names);
        assert_eq!(cgroups.display(CgroupId(8)), Some("web"));
        cgroups.remove(CgroupId(7), BootTime(1));
        assert_eq!(cgroups.display(CgroupId(7)), Some("web"), "events about it may yet come");
        for id in 0..REMOVED_KEPT as u64 {
            cgroups.name(CgroupId(100 + id), "/x");
            cgroups.remove(CgroupId(100 + id), BootTime(id));
        }
        assert!(cgroups.names.is_empty());
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
