//! Paths and names of cgroups, kept for a while after their removal.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Part, worth};
use crate::{
    event::{BootTime, CgroupId},
    identity::{Container, Location, Names, display_name},
    numbered::{ByNumber, Numbers},
};

/// The number of removed cgroups that are kept, for events that arrive after the removal. A node
/// that starts twenty containers a second keeps them for minutes.
const REMOVED_KEPT: usize = 12 << 10;

/// The root of the v2 hierarchy: the first id of its kernfs (`kernfs_create_root`).
const ROOT: CgroupId = CgroupId(1);

/// One cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path from the root of the hierarchy.
    pub path: Box<str>,
    /// The container it belongs to, by its path or by the container's runtime.
    pub container: Option<Container>,
    /// When it was removed; None while it exists.
    pub removed: Option<BootTime>,
}

/// Every cgroup that exists, and the latest removed ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroups {
    known: ByNumber<CgroupId, Cgroup>,
    removed: VecDeque<CgroupId>,
    names: HashMap<Container, Named>,
    /// The own cgroups of those that have names: no two names are of one cgroup.
    named: Numbers<CgroupId>,
    /// The paths of all that exist.
    paths: BTreeSet<(Box<str>, CgroupId)>,
    /// Existing containers that cannot be derived from paths, by their own cgroups' paths.
    from_runtimes: HashMap<Box<str>, (CgroupId, Container)>,
    /// How many were forgotten though they may exist, or events about them may yet come.
    pub(super) forgotten: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Named {
    names: Names,
    /// The container's own cgroup; the names are dropped with it.
    cgroup: CgroupId,
}

impl Cgroups {
    /// When a cgroup was removed: the inner None is before tracing began; the outer None is not at
    /// all, or unknown.
    #[must_use]
    pub fn gone_since(&self, id: CgroupId) -> Option<Option<BootTime>> {
        match self.known.get(&id) {
            Some(cgroup) => cgroup.removed.map(Some),
            None if self.forgotten > 0 => None,
            // If the root of the hierarchy is visible, all of it is.
            None => self.known.contains_key(&ROOT).then_some(None),
        }
    }

    /// A cgroup that exists, or is kept after its removal.
    #[must_use]
    pub fn get(&self, id: CgroupId) -> Option<&Cgroup> {
        self.known.get(&id)
    }

    /// The names of a container; None if unknown.
    #[must_use]
    pub fn names(&self, container: &Container) -> Option<&Names> {
        self.names.get(container).map(|named| &named.names)
    }

    /// This machine's container with this id that a known cgroup belongs to.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Container> {
        let mut all = self.known.values().filter_map(|cgroup| cgroup.container.as_ref());
        all.find(|container| container.id == id && container.outer.is_none())
    }

    /// The names of this machine's container with this id; None if unknown.
    #[must_use]
    pub fn names_of(&self, id: &str) -> Option<&Names> {
        // Inside a container, ids are chosen there: another container's may be among them.
        let mut all = self.names.iter().filter(|(container, _)| container.outer.is_none());
        all.find(|(container, _)| container.id == id).map(|(_, named)| &named.names)
    }

    /// The name to show for a cgroup: that of its container, if it has one; None if nothing is known
    /// of it.
    #[must_use]
    pub fn display(&self, id: CgroupId) -> Option<String> {
        let cgroup = self.get(id)?;
        Some(match &cgroup.container {
            Some(container) => self.display_container(container),
            None => display_name(&cgroup.path),
        })
    }

    /// The name to show for a container, or else its runtime and id; after those of the container
    /// that it runs in: `kind-worker > prod/shop-5d8f/web`.
    #[must_use]
    pub fn display_container(&self, container: &Container) -> String {
        // Where it is called by its id, the runtime says more.
        let name = self.names(container).and_then(Names::display);
        let name = name.filter(|name| *name != container.id);
        let name = name.unwrap_or_else(|| container.to_string());
        match &container.outer {
            Some(outer) => format!("{} > {name}", self.display_container(outer)),
            None => name,
        }
    }

    /// All cgroups that exist or are kept, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Cgroup> {
        self.known.values()
    }

    /// The number of cgroups that exist or are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The state as parts, existing cgroups first.
    pub(super) fn parts(&self) -> Vec<Part> {
        let existing = self.known.iter().filter(|(_, cgroup)| cgroup.removed.is_none());
        let mut ids: Vec<_> = existing.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids.extend(&self.removed);
        let cgroup = |id| {
            let cgroup = self.known.get(&id)?;
            let path = cgroup.path.clone();
            let told = cgroup.container.as_ref();
            let told =
                told.filter(|told| Container::from_cgroup_path(&path).as_ref() != Some(told));
            let container = told.cloned().map(Box::new);
            Some(Part::Cgroup { id, path, container, removed: cgroup.removed })
        };
        let mut parts: Vec<_> = ids.into_iter().filter_map(cgroup).collect();
        let mut named: Vec<_> = self.names.values().collect();
        named.sort_unstable_by_key(|named| named.cgroup);
        parts.extend(named.into_iter().map(|named| {
            let names = Box::new(named.names.clone());
            let cgroup = named.cgroup;
            let told = self.known.get(&cgroup).and_then(|it| self.from_runtimes.get(&it.path));
            let told = told.filter(|(own, _)| *own == cgroup);
            let container = told.map(|(_, container)| Box::new(container.clone()));
            Part::Names { cgroup, container, names }
        }));
        parts
    }

    pub(super) fn name(&mut self, id: CgroupId, path: &str) {
        // A new cgroup at the path of an old one: the old one's container is not this one's.
        self.from_runtimes.remove(path);
        let mut cgroup = Cgroup {
            path: path.into(),
            container: Container::from_cgroup_path(path),
            removed: None,
        };
        let above = path.match_indices('/').rev().map(|(at, _)| &path[..at]);
        for above in above.take_while(|_| !self.from_runtimes.is_empty()) {
            if let Some((_, container)) = self.from_runtimes.get(above) {
                cgroup.belong_to(above, container);
                break;
            }
        }
        self.become_another(id, cgroup.container.as_ref());
        self.paths.insert((path.into(), id));
        match self.known.insert(id, cgroup) {
            // It exists again: it must not be dropped as a removed one.
            Some(before) if before.removed.is_some() => {
                self.removed.retain(|&removed| removed != id);
            }
            Some(before) if *before.path != *path => {
                self.paths.remove(&(before.path, id));
            }
            _ => {}
        }
    }

    /// Drops the names that a cgroup has as that of another container, before it becomes that of
    /// `container`.
    fn become_another(&mut self, id: CgroupId, container: Option<&Container>) {
        let before = self.known.get(&id).and_then(|cgroup| cgroup.container.as_ref());
        if let Some(before) = before.filter(|before| Some(*before) != container)
            && self.names.get(before).is_some_and(|named| named.cgroup == id)
        {
            self.names.remove(before);
            self.named.remove(&id);
        }
    }

    /// Like `name`, with the container from the runtime.
    pub(super) fn restore(&mut self, id: CgroupId, path: &str, container: Option<&Container>) {
        self.name(id, path);
        if let (Some(container), Some(cgroup)) = (container, self.known.get_mut(&id)) {
            cgroup.container = Some(container.clone());
        }
    }

    pub(super) fn name_container(
        &mut self,
        id: CgroupId,
        container: Option<&Container>,
        names: &Names,
    ) {
        if container.is_some() {
            self.become_another(id, container);
        }
        let Some(cgroup) = self.known.get(&id) else { return };
        if let Some(container) = container {
            let path = cgroup.path.clone();
            let is_there = cgroup.removed.is_none();
            let mut own = vec![id];
            if is_there {
                let below = format!("{path}/").into_boxed_str();
                let from = self.paths.range((below.clone(), CgroupId(0))..);
                let all = from.take_while(|(path, _)| path.starts_with(&*below));
                own.extend(all.map(|(_, id)| *id));
            }
            for id in own {
                if let Some(cgroup) = self.known.get_mut(&id) {
                    cgroup.belong_to(&path, container);
                }
            }
            if is_there {
                self.from_runtimes.insert(path, (id, container.clone()));
            }
        }
        let Some(container) = self.known.get(&id).and_then(|it| it.container.as_ref()) else {
            return;
        };
        let named = Named { names: names.clone(), cgroup: id };
        // The cgroup may have got names with a cgroup above it: it keeps one set of names.
        if !self.named.insert(id) {
            self.names.retain(|other, named| named.cgroup != id || other == container);
        }
        let before = self.names.insert(container.clone(), named);
        if let Some(before) = before.filter(|before| before.cgroup != id) {
            self.named.remove(&before.cgroup);
        }
    }

    pub(super) fn remove(&mut self, id: CgroupId, time: BootTime) {
        let Some(cgroup) = self.known.get_mut(&id) else { return };
        // Ids are not reused before 2^32 others (`kernfs_node.id`), so once is enough.
        if cgroup.removed.replace(time).is_some() {
            return;
        }
        if self.from_runtimes.get(&cgroup.path).is_some_and(|(own, _)| *own == id) {
            self.from_runtimes.remove(&cgroup.path);
        }
        self.paths.remove(&(cgroup.path.clone(), id));
        self.removed.push_back(id);
        if self.removed.len() > REMOVED_KEPT
            && let Some(oldest) = self.removed.pop_front()
        {
            self.drop_one(oldest);
        }
    }

    fn drop_one(&mut self, id: CgroupId) {
        let Some(cgroup) = self.known.remove(&id) else { return };
        if cgroup.removed.is_none() {
            self.paths.remove(&(cgroup.path.clone(), id));
        }
        if self.from_runtimes.get(&cgroup.path).is_some_and(|(own, _)| *own == id) {
            self.from_runtimes.remove(&cgroup.path);
        }
        if let Some(container) = cgroup.container
            && self.names.get(&container).is_some_and(|named| named.cgroup == id)
        {
            self.names.remove(&container);
            self.named.remove(&id);
        }
    }

    /// All but the root, those that are forgotten first at the beginning: the removed ones, and then
    /// those that came last, since whoever makes many must not make the others be forgotten.
    fn forgettable(&self) -> Vec<CgroupId> {
        let existing = self.known.iter().filter(|(_, cgroup)| cgroup.removed.is_none());
        let mut existing: Vec<_> = existing.map(|(&id, _)| id).filter(|&id| id != ROOT).collect();
        existing.sort_unstable_by_key(|&id| std::cmp::Reverse(id));
        self.removed.iter().copied().chain(existing).collect()
    }

    /// How many to forget so that this many bytes are free, and how many bytes that makes.
    pub(super) fn surplus(&self, over: usize) -> (u64, usize) {
        let (mut count, mut freed) = (0, 0);
        for id in self.forgettable() {
            if freed >= over {
                break;
            }
            freed += self.known.get(&id).map_or(0, |cgroup| self.worth_of(id, cgroup));
            count += 1;
        }
        (count, freed)
    }

    fn worth_of(&self, id: CgroupId, cgroup: &Cgroup) -> usize {
        let own = cgroup.container.as_ref().and_then(|it| self.names.get(it));
        let names = own.filter(|named| named.cgroup == id);
        worth::of_cgroup(cgroup) + names.map_or(0, |named| worth::of_names(&named.names))
    }

    /// The bytes that they take.
    pub(super) fn worth(&self) -> usize {
        let all = self.known.iter().map(|(&id, cgroup)| self.worth_of(id, cgroup)).sum::<usize>();
        let containers = self.from_runtimes.iter();
        let told = containers.map(|(path, (_, it))| path.len() + worth::of_container(Some(it)));
        all + told.sum::<usize>()
    }

    /// Forgets this many.
    pub(super) fn forget(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for id in self.forgettable().into_iter().take(count) {
            self.drop_one(id);
            self.forgotten += 1;
        }
        self.removed.retain(|id| self.known.contains_key(id));
    }
}

impl Cgroup {
    /// Assigns the cgroup, which is `own` or below it, to a container that cannot be derived from
    /// that path.
    fn belong_to(&mut self, own: &str, container: &Container) {
        // An inner container is derived from its own path.
        let inner = Location::of(&self.path).filter(|location| location.cgroup.len() > own.len());
        if inner.is_none() {
            self.container = Some(container.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Runtime;

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
        let docker = "docker:4fa3b2c1d0e9".to_owned();
        assert_eq!(known(&cgroups, 8), (docker.clone(), None));
        let names = Names { name: Some("web".to_owned()), ..Names::default() };
        cgroups.name_container(CgroupId(7), None, &names);
        assert_eq!(known(&cgroups, 8), (docker.clone(), Some("web")));
        cgroups.remove(CgroupId(7), BootTime(1));
        assert_eq!(known(&cgroups, 7), (docker, Some("web")), "events about it may yet come");
        for id in 0..REMOVED_KEPT as u64 {
            cgroups.name(CgroupId(100 + id), "/x");
            cgroups.remove(CgroupId(100 + id), BootTime(id));
        }
        assert!(cgroups.names.is_empty());
    }

    /// The container of a cgroup, and its name.
    fn known(cgroups: &Cgroups, id: u64) -> (String, Option<&str>) {
        let container = cgroups.get(CgroupId(id)).unwrap().container.as_ref().unwrap();
        let names = cgroups.names(container);
        (container.to_string(), names.and_then(|names| names.name.as_deref()))
    }

    fn of_runc(id: &str) -> Container {
        Container {
            runtime: Some(Runtime::Runc),
            id: id.to_owned(),
            pod: None,
            qos: None,
            outer: None,
        }
    }

    #[test]
    fn a_container_that_its_path_does_not_tell_is_told_with_all_below() {
        let mut cgroups = Cgroups::default();
        let inner = format!("/mine/docker/{}", "a1".repeat(32));
        for (id, path) in
            [(7, "/mine"), (8, "/mine/before"), (9, "/mine-too"), (10, inner.as_str())]
        {
            cgroups.name(CgroupId(id), path);
        }
        let names = Names { name: Some("web".to_owned()), ..Names::default() };
        cgroups.name_container(CgroupId(7), Some(&of_runc("web")), &names);
        cgroups.name(CgroupId(11), "/mine/after/deeper");
        let runtime = |id| cgroups.get(CgroupId(id)).unwrap().container.clone()?.runtime;
        for id in [7, 8, 11] {
            assert_eq!(runtime(id), Some(Runtime::Runc), "{id}");
            assert_eq!(known(&cgroups, id), ("runc:web".to_owned(), Some("web")));
        }
        assert_eq!((runtime(9), runtime(10)), (None, Some(Runtime::Docker)));
        assert_eq!(cgroups.names(&of_runc("web")), Some(&names));
    }

    #[test]
    fn a_container_in_a_container_is_shown_with_the_outer_one_and_has_no_name_of_another() {
        let (node, web) = ("d5".repeat(32), "4f".repeat(32));
        let kind = |id: &str| format!("/docker/{node}/kubelet/kubepods/burstable/pod7/{id}");
        let mut cgroups = Cgroups::default();
        cgroups.name(CgroupId(7), &format!("/docker/{node}"));
        cgroups.name(CgroupId(8), &format!("/docker/{web}"));
        cgroups.name(CgroupId(9), &kind(&web));
        cgroups.name(CgroupId(10), &format!("/docker/{node}/docker/{web}"));
        let names = |name: &str| Names { name: Some(name.to_owned()), ..Names::default() };
        cgroups.name_container(CgroupId(7), None, &names("kind-worker"));
        cgroups.name_container(CgroupId(8), None, &names("web"));
        let shown = |id| cgroups.display(CgroupId(id)).unwrap();
        assert_eq!(shown(8), "web");
        assert_eq!(shown(9), "kind-worker > k8s:4f4f4f4f4f4f");
        assert_eq!(shown(10), "kind-worker > docker:4f4f4f4f4f4f");
        cgroups.name_container(CgroupId(10), None, &names("inner"));
        assert_eq!(cgroups.display(CgroupId(10)).unwrap(), "kind-worker > inner");
        assert_eq!(cgroups.names_of(&web), Some(&names("web")));
    }

    #[test]
    fn another_cgroup_of_the_same_path_is_another_container() {
        let mut cgroups = Cgroups::default();
        cgroups.name(CgroupId(7), "/mine");
        cgroups.name_container(CgroupId(7), Some(&of_runc("web")), &Names::default());
        cgroups.remove(CgroupId(7), BootTime(1));
        cgroups.name(CgroupId(8), "/mine");
        cgroups.name(CgroupId(9), "/mine/below");
        assert_eq!(known(&cgroups, 7), ("runc:web".to_owned(), None));
        assert_eq!(cgroups.get(CgroupId(8)).unwrap().container, None);
        assert_eq!(cgroups.get(CgroupId(9)).unwrap().container, None);
        // After the removal.
        cgroups.name_container(CgroupId(7), Some(&of_runc("late")), &Names::default());
        assert_eq!(cgroups.get(CgroupId(9)).unwrap().container, None);
    }

    #[test]
    fn a_cgroup_that_becomes_another_container_s_is_called_one_thing_only() {
        let mut cgroups = Cgroups::default();
        cgroups.name(CgroupId(7), "/mine");
        cgroups.name(CgroupId(8), "/mine/below");
        cgroups.name_container(CgroupId(8), Some(&of_runc("inner")), &Names::default());
        cgroups.name_container(CgroupId(7), Some(&of_runc("outer")), &Names::default());
        let names = Names { name: Some("web".to_owned()), ..Names::default() };
        cgroups.name_container(CgroupId(8), None, &names);
        let parts = cgroups.parts().into_iter();
        let called: Vec<_> = parts
            .filter_map(|part| match part {
                Part::Names { cgroup: CgroupId(8), names, .. } => Some(*names),
                _ => None,
            })
            .collect();
        assert_eq!(called, [names]);
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
