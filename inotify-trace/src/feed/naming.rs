//! Names containers as soon as they appear, so that even one that runs for 100 ms has its name.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind},
    identity::{Container, Location, Names, Runtime},
};

use super::now;
use crate::host::{
    self,
    runtimes::{Answer, Cri, Registry, States},
};

/// How long a container without a name is looked up again, in nanoseconds: runc creates the cgroup
/// first, and writes the container's state before its program starts.
const PATIENCE: u64 = 10_000_000_000;

/// The most cgroups that are looked up again, of each kind.
const WAITING: usize = 1024;

/// How long commands that take a single snapshot wait for answers of runtimes.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Looks up the names of new containers.
#[derive(Debug)]
pub(super) struct Naming {
    registry: Registry,
    states: States,
    cri: Cri,
    /// Containers without a name.
    unnamed: VecDeque<Waiting<Unnamed>>,
    /// The newest cgroups whose paths name no container.
    unidentified: VecDeque<Waiting<Box<str>>>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: BootTime,
    cgroup: CgroupId,
    what: T,
}

#[derive(Debug)]
struct Unnamed {
    container: Container,
    path: Box<str>,
    /// Whether its runtime was asked, and has not answered yet.
    is_asked: bool,
}

impl<T> Waiting<T> {
    fn is_worth_it(&self, now: BootTime) -> bool {
        now.0.saturating_sub(self.since.0) < PATIENCE
    }
}

impl Naming {
    pub(super) fn new(registry: Registry) -> Self {
        let (states, cri) = (States::new(registry.clone()), registry.cri());
        Self { registry, states, cri, unnamed: VecDeque::new(), unidentified: VecDeque::new() }
    }

    /// Adds the names of containers that appear in `events` from `first` on, each right after its
    /// container. Names of earlier containers that had none come before all of these.
    pub(super) fn name(&mut self, first: usize, events: &mut Vec<Event>) {
        let new = &events[first..];
        if self.unnamed.is_empty() && self.unidentified.is_empty() && !new.iter().any(is_cgroup_s) {
            return;
        }
        self.states.read_new();
        // A state may be that of a later cgroup at the same path.
        let removed: HashSet<_> = new.iter().filter_map(removed).collect();
        self.unidentified.retain(|waiting| !removed.contains(&waiting.cgroup));
        let mut earlier = Vec::new();
        while let Some(answer) = self.cri.answer() {
            self.take(&answer, &mut earlier);
        }
        self.name_waiting(&mut earlier);
        // From the back, so that indices stay valid.
        for at in (first..events.len()).rev() {
            let (EventKind::CgroupCreated { cgroup, path }
            | EventKind::CgroupFound { cgroup, path }) = &events[at].kind
            else {
                continue;
            };
            let (since, cgroup) = (events[at].time, *cgroup);
            if Location::of(path).is_none() && !removed.contains(&cgroup) {
                match by_state(&self.states, cgroup, path) {
                    Some(event) => events.insert(at + 1, event),
                    None => {
                        self.unidentified.push_back(Waiting { since, cgroup, what: path.clone() });
                    }
                }
                continue;
            }
            let location = Location::of_payload(path).filter(|it| it.cgroup == &**path);
            let Some(Location { container, .. }) = location else { continue };
            match find(&self.registry, &self.states, &container, path) {
                Some((runtime, names)) => {
                    events.insert(at + 1, named(cgroup, of(&container, runtime), names));
                }
                None if self.unnamed.len() < WAITING => {
                    let is_asked = self.cri.ask(&container);
                    let what = Unnamed { container, path: path.clone(), is_asked };
                    self.unnamed.push_back(Waiting { since, cgroup, what });
                }
                None => {}
            }
        }
        self.unidentified.drain(..self.unidentified.len().saturating_sub(WAITING));
        events.splice(first..first, earlier);
    }

    /// Waits a short time for outstanding answers of runtimes, and adds the names.
    pub(super) fn wait(&mut self, events: &mut Vec<Event>) {
        let end = Instant::now() + LAST_ANSWERS;
        while let Some(answer) = self.cri.wait(end) {
            self.take(&answer, events);
        }
    }

    fn take(&mut self, answer: &Answer, events: &mut Vec<Event>) {
        self.unnamed.retain_mut(|Waiting { cgroup, what, .. }| {
            if what.container != answer.asked {
                return true;
            }
            what.is_asked = false;
            let Some(names) = &answer.names else { return true };
            let container = answer.runtime.and_then(|runtime| of(&what.container, runtime));
            events.push(named(*cgroup, container, names.clone()));
            false
        });
    }

    fn name_waiting(&mut self, events: &mut Vec<Event>) {
        let now = host::now();
        let (registry, states, cri) = (&self.registry, &self.states, &mut self.cri);
        self.unnamed.retain_mut(|waiting| {
            let Unnamed { container, path, is_asked } = &mut waiting.what;
            if let Some((runtime, names)) = find(registry, states, container, path) {
                events.push(named(waiting.cgroup, of(container, runtime), names));
                return false;
            }
            *is_asked = *is_asked || cri.ask(container);
            waiting.is_worth_it(now)
        });
        self.unidentified.retain(|waiting| match by_state(states, waiting.cgroup, &waiting.what) {
            Some(event) => {
                events.push(event);
                false
            }
            None => waiting.is_worth_it(now),
        });
    }
}

/// The container of the cgroup `path` and its names, from the runtimes' files.
fn find(
    registry: &Registry,
    states: &States,
    container: &Container,
    path: &str,
) -> Option<(Runtime, Names)> {
    let by_state = || {
        let state = states.of(path).filter(|_| container.runtime.is_none())?;
        let is_named = state.container.id == container.id && state.names != Names::default();
        Some((state.container.runtime.filter(|_| is_named)?, state.names.clone()))
    };
    registry.find(container).or_else(by_state)
}

/// The container with `runtime` filled in, if it was unknown.
fn of(container: &Container, runtime: Runtime) -> Option<Container> {
    let is_news = container.runtime.is_none();
    is_news.then(|| Container { runtime: Some(runtime), ..container.clone() })
}

/// The container of a cgroup by a runtime's state, as an event.
fn by_state(states: &States, cgroup: CgroupId, path: &str) -> Option<Event> {
    let state = states.of(path)?;
    Some(named(cgroup, Some(state.container.clone()), state.names.clone()))
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
