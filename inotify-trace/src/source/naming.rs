//! Containers get their names as soon as they appear: one that lives for 100 ms still has its own.

use std::collections::VecDeque;

use super::{clock, now};
use crate::{
    container::{Container, Location, Names, Registry},
    event::{BootTime, CgroupId, Event, EventKind},
};

/// For how long a container is looked for whose runtime has not written its name yet, in
/// nanoseconds.
const PATIENCE: u64 = 5_000_000_000;

/// How many are looked for at most.
const WAITING: usize = 1024;

/// Looks up the names of new containers.
#[derive(Debug)]
pub(super) struct Naming {
    registry: Registry,
    waiting: VecDeque<(BootTime, CgroupId, Container)>,
}

impl Naming {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, waiting: VecDeque::new() }
    }

    /// Adds the names of containers that appear in `events` from `first` on, each right after its
    /// container, and of those that appeared before and had none yet.
    pub(super) fn name(&mut self, first: usize, events: &mut Vec<Event>) {
        self.name_waiting(events);
        // From the back, so that places stay what they are.
        for at in (first..events.len()).rev() {
            let (EventKind::CgroupCreated { cgroup, path }
            | EventKind::CgroupFound { cgroup, path }) = &events[at].kind
            else {
                continue;
            };
            let location = Location::of_payload(path).filter(|it| it.cgroup == &**path);
            let Some(Location { container, .. }) = location else { continue };
            let (since, cgroup) = (events[at].time, *cgroup);
            match self.registry.names(&container) {
                Some(names) => events.insert(at + 1, named(cgroup, names)),
                None if self.waiting.len() < WAITING => {
                    self.waiting.push_back((since, cgroup, container));
                }
                None => {}
            }
        }
    }

    fn name_waiting(&mut self, events: &mut Vec<Event>) {
        if self.waiting.is_empty() {
            return;
        }
        let now = clock();
        self.waiting.retain(|(since, cgroup, container)| {
            if let Some(names) = self.registry.names(container) {
                events.push(named(*cgroup, names));
                return false;
            }
            now.0.saturating_sub(since.0) < PATIENCE
        });
    }
}

fn named(cgroup: CgroupId, names: Names) -> Event {
    now(EventKind::ContainerNamed { cgroup, names: names.into() })
}
