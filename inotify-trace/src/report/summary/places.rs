//! How many instances the processes of each container, or cgroup where there is none, have over
//! time. An instance counts where it was made, or was first found.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId},
    identity::Names,
    tracker::{Cgroups, Origin, Tracker},
};

use super::series::Gauge;

/// The most places that are followed at once. A node has a few hundred. If there are more, the
/// places with the lowest peak and no open instances are dropped.
const FOLLOWED: usize = 1024;

/// Instances that any short-lived program may have.
const FEW: u32 = 2;

/// A container, or a cgroup where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Container(String),
    Cgroup(CgroupId),
}

impl Key {
    pub(super) fn of(cgroup: CgroupId, cgroups: &Cgroups) -> Self {
        match cgroups.get(cgroup).and_then(|it| it.container.as_ref()) {
            Some(container) => Self::Container(container.id.clone()),
            None => Self::Cgroup(cgroup),
        }
    }
}

/// The name of a cgroup's place.
pub(super) fn name(cgroup: CgroupId, cgroups: &Cgroups) -> String {
    match cgroups.display(cgroup) {
        Some(name) => name,
        None if cgroup.known().is_some() => format!("cgroup {}", cgroup.0),
        None => "(not known)".to_owned(),
    }
}

/// A container or cgroup with its counts.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) pod: Option<String>,
    pub(super) held: Gauge,
    pub(super) made: u64,
    pub(super) refused: u64,
}

impl Place {
    /// Whether nothing is left of it, and it never had much nor was refused anything.
    pub(super) fn came_and_went(&self) -> bool {
        self.held.now == 0 && self.held.peak <= FEW && self.refused == 0
    }
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: HashMap<Key, Place>,
    /// The place of each open instance.
    homes: HashMap<InstanceId, Key>,
    /// The number of all instances, in any place.
    pub(super) all: Gauge,
}

impl Places {
    /// Counts an event that `tracker` has just taken in.
    pub(super) fn add(&mut self, event: &Event, tracker: &Tracker, point: usize) {
        let cgroup = event.task.map(|task| task.cgroup).unwrap_or_default();
        let cgroups = tracker.cgroups();
        match &event.kind {
            EventKind::InstanceFound { instance, .. } => {
                self.settle(*instance, cgroup, cgroups, point, event.time);
            }
            EventKind::InstanceCreated { instance, .. } => {
                if let Some(place) = self.settle(*instance, cgroup, cgroups, point, event.time) {
                    place.made += 1;
                }
            }
            EventKind::InstanceReleased { instance, .. } => {
                if let Some(home) = self.homes.remove(instance) {
                    self.change(&home, point, event.time, -1);
                }
            }
            EventKind::CreateFailed { .. } => {
                if let Some(place) = self.place(Key::of(cgroup, cgroups), cgroup, cgroups) {
                    place.refused += 1;
                }
            }
            // A container's names come after the container itself.
            EventKind::ContainerNamed { cgroup, names, .. } => {
                self.know(*cgroup, cgroups);
                if let Some(place) = self.places.get_mut(&Key::of(*cgroup, cgroups)) {
                    place.name = name(*cgroup, cgroups);
                    place.pod = pod(names);
                }
            }
            _ => {}
        }
    }

    /// Moves a cgroup's counts to its container, if the container was recognized later.
    fn know(&mut self, cgroup: CgroupId, cgroups: &Cgroups) {
        let (before, after) = (Key::Cgroup(cgroup), Key::of(cgroup, cgroups));
        if before == after || self.places.contains_key(&after) {
            return;
        }
        if let Some(place) = self.places.remove(&before) {
            self.places.insert(after.clone(), place);
            let homes = self.homes.values_mut().filter(|home| **home == before);
            homes.for_each(|home| home.clone_from(&after));
        }
    }

    /// Drops the known instances, and counts those of the tracker anew.
    pub(super) fn resample(&mut self, tracker: &Tracker, point: usize, time: BootTime) {
        self.homes.clear();
        self.all.set(point, time, 0);
        for place in self.places.values_mut() {
            place.held.set(point, time, 0);
        }
        for instance in tracker.instances() {
            let holder = instance.descriptors().first().and_then(|it| tracker.process(it.pid));
            let cgroup = match (instance.origin, holder) {
                (Origin::Created(task), _) => task.cgroup,
                (_, Some(holder)) => holder.task.cgroup,
                _ => CgroupId::default(),
            };
            self.settle(instance.id, cgroup, tracker.cgroups(), point, time);
        }
    }

    pub(super) fn halve(&mut self) {
        self.all.halve();
        self.places.values_mut().for_each(|place| place.held.halve());
    }

    /// All places, those with the most instances first.
    pub(super) fn sorted(&self) -> Vec<&Place> {
        let mut places: Vec<_> = self.places.values().collect();
        places.sort_by_key(|it| (std::cmp::Reverse((it.held.peak, it.refused)), &it.name));
        places
    }

    fn settle(
        &mut self,
        instance: InstanceId,
        cgroup: CgroupId,
        cgroups: &Cgroups,
        point: usize,
        time: BootTime,
    ) -> Option<&mut Place> {
        let key = Key::of(cgroup, cgroups);
        if self.homes.contains_key(&instance) {
            return None;
        }
        self.homes.insert(instance, key.clone());
        self.place(key.clone(), cgroup, cgroups);
        self.change(&key, point, time, 1);
        self.places.get_mut(&key)
    }

    fn change(&mut self, key: &Key, point: usize, time: BootTime, by: i32) {
        let place = self.places.get_mut(key).map(|place| &mut place.held);
        for gauge in [&mut self.all].into_iter().chain(place) {
            gauge.set(point, time, gauge.now.saturating_add_signed(by));
        }
    }

    /// None if there is no room for another place.
    fn place(&mut self, key: Key, cgroup: CgroupId, cgroups: &Cgroups) -> Option<&mut Place> {
        if self.places.len() >= FOLLOWED && !self.places.contains_key(&key) {
            let idle = self.places.iter().filter(|(_, place)| place.held.now == 0);
            let least = idle.min_by_key(|(_, it)| (it.held.peak, it.refused));
            let least = least.map(|(key, _)| key.clone())?;
            self.places.remove(&least);
        }
        Some(self.places.entry(key).or_insert_with(|| {
            let container = cgroups.get(cgroup).and_then(|it| it.container.as_ref());
            Place {
                name: name(cgroup, cgroups),
                pod: container.and_then(|it| cgroups.names(it)).and_then(pod),
                held: Gauge::default(),
                made: 0,
                refused: 0,
            }
        }))
    }
}

fn pod(names: &Names) -> Option<String> {
    let pod = names.pod_name.as_ref()?;
    Some(names.namespace.as_ref().map_or_else(|| pod.clone(), |space| format!("{space}/{pod}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify_trace_model::{
        event::Task,
        identity::{Container, Runtime},
    };

    #[test]
    fn a_cgroup_that_turns_out_to_be_a_container_keeps_what_it_had() {
        let (mut tracker, mut places) = (Tracker::new(), Places::default());
        let mut tell = |kind| {
            let task = Some(Task { pid: 7, tid: 7, cgroup: CgroupId(5), ..Task::default() });
            let event = Event { time: BootTime(1), task, kind };
            tracker.apply(&event);
            places.add(&event, &tracker, 0);
        };
        let create = |id, fd| EventKind::InstanceCreated {
            instance: InstanceId(id),
            fd,
            flags: 0,
            quota: None,
        };
        let release =
            |id| EventKind::InstanceReleased { instance: InstanceId(id), fd: None, quota: None };
        tell(EventKind::CgroupFound { cgroup: CgroupId(5), path: "/mine".into() });
        tell(create(1, 3));
        let id = "web".to_owned();
        let runtime = Some(Runtime::Runc);
        let container = Container { runtime, id, pod: None, qos: None, outer: None };
        tell(EventKind::ContainerNamed {
            cgroup: CgroupId(5),
            container: Some(Box::new(container)),
            names: Box::default(),
        });
        tell(create(2, 4));
        tell(release(1));
        let sorted = places.sorted();
        let [place] = sorted[..] else { panic!("{sorted:?}") };
        assert_eq!((place.held.now, place.held.peak, place.made), (1, 2, 2));
        assert_eq!(place.name, "runc:web");
    }
}
