//! The choice of processes, users and containers, the same for events, verdicts and listings.

use inotify_trace_model::{
    event::{CgroupId, Event, EventKind, Task},
    identity::{Container, Names, Shim},
    tracker::{Instance, Tracker},
    verdict::Verdict,
};

use super::{actor, printable};

/// An id of a container may be shortened to this many digits.
const SHORTEST_ID: usize = 6;

/// Whom to show. An empty list means any; all lists must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Process ids.
    pub pids: Vec<u32>,
    /// User ids.
    pub uids: Vec<u32>,
    /// Command names.
    pub comms: Vec<String>,
    /// A cgroup and those below it, as a path from the root of the hierarchy.
    pub cgroup: Option<String>,
    /// Names of pods, `namespace/name`, or uids.
    pub pods: Vec<String>,
    /// Kubernetes namespaces.
    pub namespaces: Vec<String>,
    /// Names of containers, their ids or the first digits of these.
    pub containers: Vec<String>,
}

/// What a selection looks at.
struct Subject<'a> {
    task: Option<Task>,
    uid: Option<u32>,
    /// The cgroups that it serves.
    serves: Vec<CgroupId>,
    shim: Option<&'a Shim>,
}

impl Selection {
    /// Whether everything is shown.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether to show an event, by the process that did it. It also belongs to the containers whose
    /// files it, or its instance, watches, and a shim's to the container that the shim is for.
    #[must_use]
    pub fn picks_event(&self, event: &Event, tracker: &Tracker) -> bool {
        if self.is_everything() {
            return true;
        }
        let task = actor(event, tracker);
        let mut serves = served(tracker.subject(event));
        if let EventKind::WatchAdded { target, .. } | EventKind::WatchFound { target, .. } =
            &event.kind
        {
            serves.extend(target.cgroup.known());
        }
        let uid = task.map(|task| task.uid);
        self.picks(&Subject { task, uid, serves, shim: shim(task, tracker) }, tracker)
    }

    /// Whether to show a verdict.
    #[must_use]
    pub fn picks_verdict(&self, verdict: &Verdict, tracker: &Tracker) -> bool {
        if self.is_everything() {
            return true;
        }
        let task = tracker.process(verdict.pid).map(|process| process.task);
        let instances = verdict.evidence.iter().filter_map(|it| tracker.instance(it.instance));
        let serves = instances.flat_map(|it| served(Some(it))).collect();
        let uid = task.map(|task| task.uid);
        self.picks(&Subject { task, uid, serves, shim: shim(task, tracker) }, tracker)
    }

    /// Whether to list an instance that process `pid` holds; None if nobody is seen to. Users are
    /// those who are charged.
    #[must_use]
    pub fn picks_holder(&self, instance: &Instance, pid: Option<u32>, tracker: &Tracker) -> bool {
        if self.is_everything() {
            return true;
        }
        let task = pid.and_then(|pid| tracker.process(pid)).map(|process| process.task);
        let uid = instance.charged.map(|user| user.uid);
        let serves = served(Some(instance));
        self.picks(&Subject { task, uid, serves, shim: shim(task, tracker) }, tracker)
    }

    fn picks(&self, subject: &Subject<'_>, tracker: &Tracker) -> bool {
        let Self { pids, uids, comms, cgroup, .. } = self;
        let task = subject.task;
        let is_one = |task: &Task| {
            let in_cgroup = |wanted: &String| {
                tracker.cgroups().get(task.cgroup).is_some_and(|it| is_below(&it.path, wanted))
            };
            (pids.is_empty() || pids.contains(&task.pid))
                && (comms.is_empty() || comms.iter().any(|comm| *comm == task.comm.to_str()))
                && cgroup.as_ref().is_none_or(in_cgroup)
        };
        let needs_task = !pids.is_empty() || !comms.is_empty() || cgroup.is_some();
        (uids.is_empty() || subject.uid.is_some_and(|uid| uids.contains(&uid)))
            && task.as_ref().map_or(!needs_task, is_one)
            && (self.is_any_container() || self.picks_place(subject, tracker))
    }

    fn is_any_container(&self) -> bool {
        self.pods.is_empty() && self.namespaces.is_empty() && self.containers.is_empty()
    }

    fn picks_place(&self, subject: &Subject<'_>, tracker: &Tracker) -> bool {
        let own = subject.task.map(|task| task.cgroup);
        let of_cgroup = |id: CgroupId| tracker.cgroups().get(id)?.container.as_ref();
        let mut containers =
            own.into_iter().chain(subject.serves.iter().copied()).filter_map(of_cgroup);
        let of_shim = |shim: &Shim| {
            let container = tracker.cgroups().container(&shim.id);
            self.matches(container, tracker.cgroups().names_of(&shim.id))
        };
        containers.any(|container| self.picks_container(container, tracker))
            || subject.shim.is_some_and(of_shim)
    }

    /// Whether a container, or one that it runs in, is meant.
    fn picks_container(&self, container: &Container, tracker: &Tracker) -> bool {
        let names = tracker.cgroups().names(container);
        let outer = || container.outer.as_ref().is_some_and(|it| self.picks_container(it, tracker));
        self.matches(Some(container), names) || outer()
    }

    fn matches(&self, container: Option<&Container>, names: Option<&Names>) -> bool {
        let is = |name: Option<&String>, wanted: &String| name == Some(wanted);
        let is_pod = |wanted: &String| {
            let uid = container.and_then(|it| it.pod.as_ref());
            let whole = names.and_then(|names| {
                Some(format!("{}/{}", names.namespace.as_ref()?, names.pod_name.as_ref()?))
            });
            is(names.and_then(|it| it.pod_name.as_ref()), wanted)
                || is(whole.as_ref(), wanted)
                || uid.is_some_and(|uid| uid.as_str() == wanted)
        };
        let is_container = |wanted: &String| {
            let has_id = |it: &Container| {
                it.id == *wanted || (wanted.len() >= SHORTEST_ID && it.id.starts_with(wanted))
            };
            is(names.and_then(|it| it.name.as_ref()), wanted) || container.is_some_and(has_id)
        };
        let is_namespace = |wanted: &String| is(names.and_then(|it| it.namespace.as_ref()), wanted);
        let met = |wanted: &[String], is_it: &dyn Fn(&String) -> bool| {
            wanted.is_empty() || wanted.iter().any(is_it)
        };
        met(&self.pods, &is_pod)
            && met(&self.namespaces, &is_namespace)
            && met(&self.containers, &is_container)
    }

    /// The parts of the machine that are chosen and that `tracker` does not know, in words.
    #[must_use]
    pub fn unknown(&self, tracker: &Tracker) -> Vec<String> {
        let cgroups = tracker.cgroups();
        let mut unknown = Vec::new();
        let cgroup = self.cgroup.iter();
        unknown.extend(
            cgroup
                .filter(|wanted| !cgroups.iter().any(|it| is_below(&it.path, wanted)))
                .map(|wanted| format!("no cgroup {} is known", printable(wanted))),
        );
        let only = |change: &dyn Fn(&mut Self)| {
            let mut one = Self::default();
            change(&mut one);
            let mut containers = cgroups.iter().filter_map(|it| it.container.as_ref());
            containers.any(|container| one.picks_container(container, tracker))
        };
        let of = |kind: &str, all: &[String], change: fn(&mut Self, String)| {
            all.iter()
                .filter(|wanted| !only(&|one| change(one, (*wanted).clone())))
                .map(|wanted| format!("no {kind} {} is known", printable(wanted)))
                .collect::<Vec<_>>()
        };
        unknown.extend(of("pod", &self.pods, |one, name| one.pods.push(name)));
        unknown.extend(of("namespace", &self.namespaces, |one, name| one.namespaces.push(name)));
        unknown.extend(of("container", &self.containers, |one, name| one.containers.push(name)));
        unknown
    }
}

fn served(instance: Option<&Instance>) -> Vec<CgroupId> {
    instance.into_iter().flat_map(|it| it.served.iter().copied()).collect()
}

fn shim(task: Option<Task>, tracker: &Tracker) -> Option<&Shim> {
    tracker.process(task?.pid)?.shim.as_ref()
}

/// Whether a path is `ancestor` or below it.
fn is_below(path: &str, ancestor: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::event::{BootTime, InstanceId, Target};

    use super::*;

    const WEB: CgroupId = CgroupId(3);
    const DAEMON: CgroupId = CgroupId(4);
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A pod's process 7 with an instance, and the shim 8, which watches the pod's cgroup.
    fn machine() -> Tracker {
        let mut tracker = Tracker::new();
        let mut apply = |pid: u32, cgroup: CgroupId, kind: EventKind| {
            let task = Task {
                pid,
                tid: pid,
                uid: if pid == 7 { 1000 } else { 0 },
                comm: if pid == 7 { "node" } else { "containerd-shim" }.into(),
                cgroup,
                ..Task::default()
            };
            let task = (pid > 0).then_some(task);
            tracker.apply(&Event { time: BootTime(1), task, kind });
        };
        let found = |cgroup, path: String| EventKind::CgroupFound { cgroup, path: path.into() };
        let pod = "pod11111111-2222-3333-4444-555555555555";
        apply(0, WEB, found(WEB, format!("/kubepods/{pod}/{ID}")));
        apply(0, DAEMON, found(DAEMON, "/system.slice/containerd.service".to_owned()));
        let names = Names {
            name: Some("web".to_owned()),
            pod_name: Some("shop-5d8f".to_owned()),
            namespace: Some("prod".to_owned()),
            ..Names::default()
        };
        let names = Box::new(names);
        apply(0, WEB, EventKind::ContainerNamed { cgroup: WEB, container: None, names });
        for (pid, cgroup) in [(7, WEB), (8, DAEMON)] {
            let instance = InstanceId(pid.into());
            let (fd, flags, quota) = (3, 0, None);
            apply(pid, cgroup, EventKind::InstanceCreated { instance, fd, flags, quota });
        }
        let (instance, quota) = (InstanceId(8), None);
        let target = Target { cgroup: WEB, ..Target::default() };
        apply(8, DAEMON, EventKind::WatchAdded { instance, fd: 3, wd: 1, target, mask: 2, quota });
        tracker
    }

    /// The processes whose instances are picked.
    fn picked(change: impl Fn(&mut Selection)) -> Vec<u32> {
        let (tracker, mut selection) = (machine(), Selection::default());
        change(&mut selection);
        let holder = |instance: &Instance| instance.descriptors()[0].pid;
        let is_picked = |it: &&Instance| selection.picks_holder(it, Some(holder(it)), &tracker);
        let mut pids: Vec<_> = tracker.instances().filter(is_picked).map(holder).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn a_pod_has_what_its_shim_holds_for_it() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        for pod in ["shop-5d8f", "prod/shop-5d8f", "11111111-2222-3333-4444-555555555555"] {
            assert_eq!(picked(|it| it.pods = names(&[pod])), [7, 8], "{pod}");
        }
        assert_eq!(picked(|it| it.namespaces = names(&["kube-system", "prod"])), [7, 8]);
        for container in ["web", &ID[..12], ID] {
            assert_eq!(picked(|it| it.containers = names(&[container])), [7, 8], "{container}");
        }
        for no in ["shop", "dev/shop-5d8f", "01234", "webs"] {
            assert_eq!(picked(|it| it.pods = names(&[no])), [0; 0], "{no}");
            assert_eq!(picked(|it| it.containers = names(&[no])), [0; 0], "{no}");
        }
        let both = |it: &mut Selection| {
            (it.pods, it.namespaces) = (names(&["shop-5d8f"]), names(&["dev"]));
        };
        assert_eq!(picked(both), [0; 0], "the namespace is another");
        assert_eq!(picked(|it| (it.pods, it.pids) = (names(&["shop-5d8f"]), vec![8])), [8]);
        assert_eq!(picked(|it| it.cgroup = Some("/system.slice".to_owned())), [8]);
    }

    #[test]
    fn what_is_not_on_the_machine_is_named() {
        let tracker = machine();
        let known = Selection {
            cgroup: Some("/kubepods".to_owned()),
            pods: vec!["shop-5d8f".to_owned()],
            namespaces: vec!["prod".to_owned()],
            containers: vec!["web".to_owned()],
            ..Selection::default()
        };
        assert_eq!(known.unknown(&tracker), [""; 0]);
        let other = Selection {
            cgroup: Some("/nosuch".to_owned()),
            pods: vec!["shop".to_owned(), "shop-5d8f".to_owned()],
            namespaces: vec!["dev".to_owned()],
            containers: vec!["\u{1b}[2J".to_owned()],
            ..Selection::default()
        };
        let expected = [
            "no cgroup /nosuch is known",
            "no pod shop is known",
            "no namespace dev is known",
            "no container \\x1b[2J is known",
        ];
        assert_eq!(other.unknown(&tracker), expected);
    }

    #[test]
    fn a_watch_that_was_found_belongs_to_who_holds_it() {
        let (tracker, target) = (machine(), Target::default());
        let kind = EventKind::WatchFound { instance: InstanceId(7), wd: 2, target, mask: 2 };
        let event = Event { time: BootTime(2), task: None, kind };
        let with = |uid, comm: &str, pid| Selection {
            uids: vec![uid],
            comms: vec![comm.to_owned()],
            pids: vec![pid],
            ..Selection::default()
        };
        assert!(with(1000, "node", 7).picks_event(&event, &tracker));
        assert!(!with(0, "node", 7).picks_event(&event, &tracker));
        assert!(!with(1000, "node", 8).picks_event(&event, &tracker));
    }
}
