//! Containers get their names as soon as they appear: one that lives for 100 ms still has its own.

use std::collections::{HashSet, VecDeque};

use super::{clock, now};
use crate::{
    container::{Container, Location, Names, Registry, States},
    event::{BootTime, CgroupId, Event, EventKind},
};

/// For how long a container is looked for whose runtime has not written its name yet, in
/// nanoseconds. runc makes the cgroup first, and writes what it is before the container's program
/// starts.
const PATIENCE: u64 = 10_000_000_000;

/// How many are looked for at most, of each kind.
const WAITING: usize = 1024;

/// Looks up the names of new containers.
#[derive(Debug)]
pub(super) struct Naming {
    registry: Registry,
    states: States,
    /// Containers without a name.
    unnamed: VecDeque<Waiting<Container>>,
    /// Cgroups whose paths tell of no container; or of one, and not whose: the newest.
    untold: VecDeque<Waiting<Box<str>>>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: BootTime,
    cgroup: CgroupId,
    what: T,
}

impl Naming {
    pub(super) fn new(registry: Registry) -> Self {
        let states = States::new(registry.clone());
        Self { registry, states, unnamed: VecDeque::new(), untold: VecDeque::new() }
    }

    /// Adds the names of containers that appear in `events` from `first` on, each right after its
    /// container, and before all of these the names of those that appeared earlier and had none
    /// yet.
    pub(super) fn name(&mut self, first: usize, events: &mut Vec<Event>) {
        let new = &events[first..];
        if self.unnamed.is_empty() && self.untold.is_empty() && !new.iter().any(is_cgroup_s) {
            return;
        }
        self.states.look();
        // A state may be of a later cgroup by the same path.
        let removed: HashSet<_> = new.iter().filter_map(removed).collect();
        self.untold.retain(|waiting| !removed.contains(&waiting.cgroup));
        let earlier = self.name_waiting();
        // From the back, so that places stay what they are.
        for at in (first..events.len()).rev() {
            let (EventKind::CgroupCreated { cgroup, path }
            | EventKind::CgroupFound { cgroup, path }) = &events[at].kind
            else {
                continue;
            };
            let (since, cgroup) = (events[at].time, *cgroup);
            let location = Location::of(path);
            let is_told = location.as_ref().is_some_and(|it| it.container.runtime.is_some());
            let is_own = location.as_ref().is_none_or(|it| it.cgroup == &**path);
            if !is_told && is_own && !removed.contains(&cgroup) {
                if let Some(event) = self.told(cgroup, path) {
                    events.insert(at + 1, event);
                    continue;
                }
                self.untold.push_back(Waiting { since, cgroup, what: path.clone() });
            }
            let location = Location::of_payload(path).filter(|it| it.cgroup == &**path);
            let Some(Location { container, .. }) = location else { continue };
            match self.registry.names(&container) {
                Some(names) => events.insert(at + 1, named(cgroup, None, names)),
                None if self.unnamed.len() < WAITING => {
                    self.unnamed.push_back(Waiting { since, cgroup, what: container });
                }
                None => {}
            }
        }
        self.untold.drain(..self.untold.len().saturating_sub(WAITING));
        events.splice(first..first, earlier);
    }

    fn name_waiting(&mut self) -> Vec<Event> {
        let now = clock();
        let mut events = Vec::new();
        let is_worth_it = |since: BootTime| now.0.saturating_sub(since.0) < PATIENCE;
        let mut unnamed = std::mem::take(&mut self.unnamed);
        unnamed.retain(|Waiting { since, cgroup, what }| match self.registry.names(what) {
            Some(names) => {
                events.push(named(*cgroup, None, names));
                false
            }
            None => is_worth_it(*since),
        });
        let mut untold = std::mem::take(&mut self.untold);
        untold.retain(|Waiting { since, cgroup, what }| match self.told(*cgroup, what) {
            Some(event) => {
                events.push(event);
                false
            }
            None => is_worth_it(*since),
        });
        (self.unnamed, self.untold) = (unnamed, untold);
        events
    }

    /// Which container's a cgroup is by its runtime's state.
    fn told(&self, cgroup: CgroupId, path: &str) -> Option<Event> {
        let state = self.states.of(path)?;
        Some(named(cgroup, Some(state.container.clone()), state.names.clone()))
    }
}

fn is_cgroup_s(event: &Event) -> bool {
    matches!(event.kind, EventKind::CgroupCreated { .. } | EventKind::CgroupFound { .. })
}

fn removed(event: &Event) -> Option<CgroupId> {
    match event.kind {
        EventKind::CgroupRemoved { cgroup } => Some(cgroup),
        _ => None,
    }
}

fn named(cgroup: CgroupId, container: Option<Container>, names: Names) -> Event {
    let container = container.map(Box::new);
    now(EventKind::ContainerNamed { cgroup, container, names: names.into() })
}
