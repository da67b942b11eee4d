//! Names containers as soon as they appear, so that even one that runs for 100 ms has its name.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{CgroupId, Event, EventKind},
    identity::{Container, Location, Names, Runtime},
};

use super::{now, shims::Shims};
use crate::host::runtimes::{
    Answer, Cri, CriCounts, Files, Found, OfUser, Registry, States, Users,
};

/// The pause before a container is looked up again, which doubles each time: runc creates the cgroup
/// first, and writes the container's state before its program starts.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a container is looked up: for six seconds in all.
const TRIES: u32 = 8;

/// The most cgroups that are looked up again, of each kind: the newest.
const WAITING: usize = 1024;

/// How long commands that take a single snapshot wait for answers of runtimes.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Looks up the names of new containers.
#[derive(Debug)]
pub(super) struct Naming {
    files: Files,
    states: States,
    cri: Cri,
    users: Users,
    shims: Shims,
    /// Containers without a name, or not all of their names.
    unnamed: VecDeque<Waiting<Unnamed>>,
    /// Cgroups whose paths name no container.
    unidentified: VecDeque<Waiting<()>>,
}

/// A cgroup that is looked up again.
#[derive(Debug)]
struct Waiting<T> {
    cgroup: CgroupId,
    path: Box<str>,
    tries: u32,
    /// When it is looked up next.
    due: Instant,
    /// Whether another thread looks it up and has not answered yet.
    is_asked: bool,
    /// Whether one of its processes was seen: its program runs, and what the runtime writes before
    /// that is there.
    is_used: bool,
    what: T,
}

#[derive(Debug)]
struct Unnamed {
    container: Container,
    /// The names that are known.
    told: Option<Names>,
}

impl<T> Waiting<T> {
    fn new(cgroup: CgroupId, path: &str, is_asked: bool, what: T) -> Self {
        let due = Instant::now() + PAUSE;
        Self { cgroup, path: path.into(), tries: 1, due, is_asked, is_used: false, what }
    }

    /// Has it looked up now if this is the first event of one of its processes, so that the event
    /// has the name.
    fn used_by(&mut self, users: &HashSet<CgroupId>, now: Instant) {
        if !self.is_used && users.contains(&self.cgroup) {
            (self.is_used, self.due) = (true, now);
        }
    }

    /// Sets when to look it up next; returns whether it is worth it.
    fn try_again(&mut self, now: Instant) -> bool {
        self.due = now + PAUSE * 2_u32.pow(self.tries.min(TRIES));
        self.tries += 1;
        self.tries <= TRIES || self.is_asked
    }
}

impl Naming {
    /// How often runtimes are asked.
    pub(super) fn cri_counts(&self) -> Arc<CriCounts> {
        Arc::clone(self.cri.counts())
    }

    pub(super) fn new(registry: Registry) -> Self {
        Self {
            states: States::new(registry.clone()),
            cri: registry.cri(),
            users: registry.users(),
            shims: Shims::default(),
            files: Files::new(registry),
            unnamed: VecDeque::new(),
            unidentified: VecDeque::new(),
        }
    }

    /// Adds the names of containers that appear in `events` from `first` on, each right after its
    /// container. Names of earlier containers that had none come before all of these.
    pub(super) fn name(&mut self, first: usize, events: &mut Vec<Event>) {
        let now = Instant::now();
        let new = &events[first..];
        let removed: HashSet<_> = new.iter().filter_map(removed).collect();
        let mut earlier = Vec::new();
        self.take_answers(&mut earlier);
        self.forget(&removed);
        if !self.unnamed.is_empty() || !self.unidentified.is_empty() {
            let users: HashSet<_> =
                new.iter().filter_map(|event| Some(event.task?.cgroup)).collect();
            self.unnamed.iter_mut().for_each(|it| it.used_by(&users, now));
            self.unidentified.iter_mut().for_each(|it| it.used_by(&users, now));
        }
        if new.iter().any(is_cgroup_s) || self.is_due(now) {
            self.states.read_new();
            self.name_waiting(now, &mut earlier);
            let before = (self.unnamed.len(), self.unidentified.len());
            // From the back, so that indices stay valid.
            for at in (first..events.len()).rev() {
                if let Some(event) = self.name_one(&events[at], &removed) {
                    events.insert(at + 1, event);
                }
            }
            self.unnamed.make_contiguous()[before.0..].reverse();
            self.unidentified.make_contiguous()[before.1..].reverse();
        }
        self.unnamed.drain(..self.unnamed.len().saturating_sub(WAITING));
        self.unidentified.drain(..self.unidentified.len().saturating_sub(WAITING));
        events.splice(first..first, earlier);
    }

    /// Adds an event for each shim in `events` from `first` on, right after the event that shows that
    /// it holds an instance.
    pub(super) fn identify_shims(&mut self, first: usize, events: &mut Vec<Event>) {
        let Self { shims, states, .. } = self;
        // Those that the path names are told by procfs.
        shims.identify(first, events, |cgroup| {
            let above = cgroup.match_indices('/').map(|(at, _)| &cgroup[..at]);
            above.chain([cgroup]).any(|cgroup| states.of(cgroup).is_some())
        });
    }

    /// Whether a cgroup should be looked up again.
    fn is_due(&self, now: Instant) -> bool {
        self.unnamed.iter().any(|it| it.due <= now)
            || self.unidentified.iter().any(|it| it.due <= now)
    }

    /// Forgets removed cgroups, but those that another thread looks up. A state may be that of a
    /// later cgroup at the same path.
    fn forget(&mut self, removed: &HashSet<CgroupId>) {
        if !removed.is_empty() {
            self.unnamed.retain(|it| it.is_asked || !removed.contains(&it.cgroup));
            self.unidentified.retain(|it| !removed.contains(&it.cgroup));
        }
    }

    /// The names of a new cgroup's container; it is looked up again if they are unknown.
    fn name_one(&mut self, event: &Event, removed: &HashSet<CgroupId>) -> Option<Event> {
        let (EventKind::CgroupCreated { cgroup, path } | EventKind::CgroupFound { cgroup, path }) =
            &event.kind
        else {
            return None;
        };
        let (cgroup, is_gone) = (*cgroup, removed.contains(cgroup));
        if Location::of(path).is_none() {
            if is_gone {
                return None;
            }
            let event = by_state(&self.states, cgroup, path);
            if event.is_none() {
                let is_asked = self.users.ask(path, None);
                self.unidentified.push_back(Waiting::new(cgroup, path, is_asked, ()));
            }
            return event;
        }
        let location = Location::of_payload(path).filter(|it| it.cgroup == &**path);
        let Location { container, .. } = location?;
        let found = find(&mut self.files, &self.states, &container, path);
        let event = found.as_ref().map(|found| event_of(cgroup, &container, found.clone()));
        if found.as_ref().is_none_or(|found| !found.is_whole) {
            let is_asked = ask(&mut self.cri, &mut self.users, &container, path);
            if is_asked || !is_gone {
                let what = Unnamed { container, told: found.map(|found| found.names) };
                self.unnamed.push_back(Waiting::new(cgroup, path, is_asked, what));
            }
        }
        event
    }

    /// Waits a short time for outstanding answers of runtimes, and adds the names.
    pub(super) fn wait(&mut self, events: &mut Vec<Event>) {
        let end = Instant::now() + LAST_ANSWERS;
        while let Some(answer) = self.cri.wait(end) {
            self.take(&answer, events);
        }
        while let Some(answer) = self.users.wait(end) {
            self.take_of_user(&answer, events);
        }
    }

    fn take_answers(&mut self, events: &mut Vec<Event>) {
        while let Some(answer) = self.cri.answer() {
            self.take(&answer, events);
        }
        while let Some(answer) = self.users.answer() {
            self.take_of_user(&answer, events);
        }
    }

    fn take(&mut self, answer: &Answer, events: &mut Vec<Event>) {
        self.unnamed.retain_mut(|waiting| {
            let Waiting { cgroup, what, is_asked, .. } = waiting;
            if what.container != answer.asked {
                return true;
            }
            *is_asked = false;
            let Some(names) = answer.names.clone() else { return true };
            let names = names.or(what.told.take().unwrap_or_default());
            let found = Found { names, runtime: answer.runtime, is_whole: true };
            events.push(event_of(*cgroup, &what.container, found));
            false
        });
    }

    fn take_of_user(&mut self, answer: &OfUser, events: &mut Vec<Event>) {
        self.unnamed.retain_mut(|waiting| {
            let Waiting { cgroup, path, is_asked, .. } = waiting;
            if *path != answer.cgroup {
                return true;
            }
            *is_asked = false;
            let Some(names) = answer.names.clone() else { return true };
            events.push(named(*cgroup, None, names));
            false
        });
        self.unidentified.retain_mut(|waiting| {
            if waiting.path != answer.cgroup {
                return true;
            }
            waiting.is_asked = false;
            let Some((container, names)) = answer.container.clone().zip(answer.names.clone())
            else {
                return true;
            };
            events.push(named(waiting.cgroup, Some(container), names));
            false
        });
    }

    fn name_waiting(&mut self, now: Instant, events: &mut Vec<Event>) {
        let Self { files, states, cri, users, .. } = self;
        self.unnamed.retain_mut(|waiting| {
            if waiting.due > now {
                return true;
            }
            let Waiting { cgroup, path, is_asked, what, .. } = waiting;
            let Unnamed { container, told } = what;
            let found = find(files, states, container, path);
            if let Some(found) = found.filter(|found| Some(&found.names) != told.as_ref()) {
                let is_whole = found.is_whole;
                *told = Some(found.names.clone());
                events.push(event_of(*cgroup, container, found));
                if is_whole {
                    return false;
                }
            }
            *is_asked = *is_asked || ask(cri, users, container, path);
            waiting.try_again(now)
        });
        self.unidentified.retain_mut(|waiting| {
            if waiting.due > now {
                return true;
            }
            let Waiting { cgroup, path, is_asked, .. } = waiting;
            if let Some(event) = by_state(states, *cgroup, path) {
                events.push(event);
                return false;
            }
            *is_asked = *is_asked || users.ask(path, None);
            waiting.try_again(now)
        });
    }
}

/// What root's files say of the container of the cgroup `path`. Nothing, if users decide what is
/// there: another container's id may be among their names.
fn find(files: &mut Files, states: &States, container: &Container, path: &str) -> Option<Found> {
    if Users::rule(path) {
        return None;
    }
    let by_state = || {
        let state = states.of(path).filter(|_| container.runtime.is_none())?;
        let is_named = state.container.id == container.id && state.names != Names::default();
        let runtime = state.container.runtime.filter(|_| is_named)?;
        Some(Found { names: state.names.clone(), runtime: Some(runtime), is_whole: true })
    };
    files.find(container).or_else(by_state)
}

/// Asks those whose answers take time; returns whether there will be one.
fn ask(cri: &mut Cri, users: &mut Users, container: &Container, path: &str) -> bool {
    (!Users::rule(path) && cri.ask(container)) || users.ask(path, Some(container))
}

/// The names of a container as an event, with the runtime if that was unknown.
fn event_of(cgroup: CgroupId, container: &Container, found: Found) -> Event {
    let of = |runtime: Runtime| Container { runtime: Some(runtime), ..container.clone() };
    let told = found.runtime.filter(|_| container.runtime.is_none()).map(of);
    named(cgroup, told, found.names)
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

#[cfg(test)]
mod tests {
    use std::{fs, mem::MaybeUninit, path::Path};

    use inotify_trace_model::event::{BootTime, EventName, Task};
    use rustix::fs::inotify;

    use super::*;

    /// Where containerd keeps its bundles.
    const BUNDLES: &str = "run/containerd/io.containerd.runtime.v2.task";

    /// A machine, whose directory of bundles is watched: each look-up of a container opens it.
    struct Machine {
        root: tempfile::TempDir,
        opened: std::os::fd::OwnedFd,
        naming: Naming,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let bundles = root.path().join(BUNDLES);
            fs::create_dir_all(&bundles).unwrap();
            let opened = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
            inotify::add_watch(&opened, &bundles, inotify::WatchFlags::OPEN).unwrap();
            let naming = Naming::new(Registry::below(root.path().to_owned()));
            Self { root, opened, naming }
        }

        /// Passes events on, and returns the names that come with them.
        fn pass(&mut self, kinds: impl IntoIterator<Item = EventKind>) -> Vec<String> {
            let event = |kind| Event { time: BootTime(0), task: None, kind };
            let mut events: Vec<_> = kinds.into_iter().map(event).collect();
            self.naming.name(0, &mut events);
            let name = |event: Event| match event.kind {
                EventKind::ContainerNamed { names, .. } => names.display(),
                _ => None,
            };
            events.into_iter().filter_map(name).collect()
        }

        /// How often a container was looked up since the last time.
        fn look_ups(&self) -> usize {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.opened, &mut buffer);
            std::iter::from_fn(|| reader.next().ok().map(drop)).count()
        }
    }

    fn path_of(number: u64) -> Box<str> {
        format!("/kubepods/burstable/pod1e597579-417e-482f-bf65-5fe170c3aebd/{number:064x}").into()
    }

    fn created(number: u64) -> EventKind {
        EventKind::CgroupCreated { cgroup: CgroupId(number), path: path_of(number) }
    }

    fn removed(number: u64) -> EventKind {
        EventKind::CgroupRemoved { cgroup: CgroupId(number) }
    }

    #[test]
    fn a_container_without_a_name_is_looked_up_a_few_times_and_none_that_is_gone() {
        let mut machine = Machine::new();
        // The kernel joins equal events that follow each other: one container at a time.
        let mut look_ups = 0;
        for number in 0..40 {
            machine.pass([created(number)]);
            look_ups += machine.look_ups();
            machine.pass([removed(number)]);
            look_ups += machine.look_ups();
        }
        assert!((40..=80).contains(&look_ups), "{look_ups}");
        assert!(machine.naming.unnamed.is_empty());
        // One that stays.
        machine.pass([created(1)]);
        let mut look_ups = machine.look_ups();
        let end = Instant::now() + 4 * PAUSE;
        while Instant::now() < end {
            machine.pass([]);
            look_ups += machine.look_ups();
        }
        // At 0, 1 and 3 pauses, and once more if the machine was busy.
        assert!((1..=4).contains(&look_ups), "{look_ups}");
        for _ in 0..TRIES {
            machine.naming.unnamed.iter_mut().for_each(|it| it.due = Instant::now());
            machine.pass([]);
        }
        assert!(machine.naming.unnamed.is_empty(), "in the end it has no name");
    }

    #[test]
    fn a_name_that_comes_later_is_found() {
        let mut machine = Machine::new();
        assert_eq!(machine.pass([created(1)]), [""; 0]);
        let bundle = machine.root.path().join(BUNDLES).join(format!("k8s.io/{:064x}", 1));
        fs::create_dir_all(&bundle).unwrap();
        let write = |path: &Path, text: &str| fs::write(path.join("config.json"), text).unwrap();
        write(&bundle, r#"{"annotations": {"io.kubernetes.cri.container-name": "web"}}"#);
        let again = |machine: &mut Machine| {
            machine.naming.unnamed.iter_mut().for_each(|it| it.due = Instant::now());
            machine.pass([])
        };
        assert_eq!(again(&mut machine), ["web"]);
        assert_eq!(again(&mut machine), [""; 0], "it is told once");
        // What is missing of it is looked for, too.
        let logs = machine.root.path().join("var/log/containers");
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join(format!("shop_prod_web-{:064x}.log", 1)), "").unwrap();
        assert_eq!(again(&mut machine), ["prod/shop/web"]);
    }

    #[test]
    fn the_first_event_of_a_process_in_it_has_the_name() {
        let mut machine = Machine::new();
        machine.pass([created(1)]);
        let bundle = machine.root.path().join(BUNDLES).join(format!("k8s.io/{:064x}", 1));
        fs::create_dir_all(&bundle).unwrap();
        let config = r#"{"annotations": {"io.kubernetes.cri.container-name": "web"}}"#;
        fs::write(bundle.join("config.json"), config).unwrap();
        // It is not due for long.
        machine.naming.unnamed[0].due = Instant::now() + Duration::from_secs(3600);
        let task = Task { cgroup: CgroupId(1), ..Task::default() };
        let kind = EventKind::ProcessExited;
        let mut events = vec![Event { time: BootTime(0), task: Some(task), kind }];
        machine.naming.name(0, &mut events);
        let kinds: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
        assert_eq!(kinds, [EventName::ContainerName, EventName::Exit]);
    }

    #[test]
    fn those_that_wait_are_the_newest() {
        let mut machine = Machine::new();
        let many = WAITING as u64 + 100;
        machine.pass((0..many).map(created));
        let first = machine.naming.unnamed.front().map(|it| it.cgroup);
        assert_eq!((machine.naming.unnamed.len(), first), (WAITING, Some(CgroupId(100))));
    }
}
