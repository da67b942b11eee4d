use super::*;
use crate::{
    event::{EMFILE, Event, EventKind, Quota, Task},
    findings::NAMED,
    identity::Names,
    testing::{Machine, at, task},
};

/// The limit of instances.
const LIMIT: u32 = 128;

/// A machine, and its next instance.
struct Node(Machine, u64);

impl Node {
    fn new() -> Self {
        Self(Machine::new(), 1)
    }

    /// A task in a cgroup that is made now.
    fn in_cgroup(&mut self, pid: u32, comm: &str, id: u64, path: &str) -> Task {
        self.0.cgroup(0, id, path);
        Task { cgroup: CgroupId(id), ..task(pid, comm) }
    }

    /// A task in a container of a pod with this name.
    fn in_pod(&mut self, pid: u32, comm: &str, id: u64, pod: &str) -> Task {
        self.0.of_pod(0, id);
        let names = Names {
            pod_name: Some(pod.to_owned()),
            namespace: Some("prod".to_owned()),
            ..Names::default()
        };
        let (cgroup, container, names) = (CgroupId(id), None, names.into());
        self.0.tell(0, None, EventKind::ContainerNamed { cgroup, container, names });
        Task { cgroup: CgroupId(id), ..task(pid, comm) }
    }

    fn holds(&mut self, task: Task, count: u32) -> &mut Self {
        for _ in 0..count {
            self.0.create(0, task, self.1);
            self.1 += 1;
        }
        self
    }

    fn shim(&mut self, pid: u32, sandbox: u64, count: u32) -> &mut Self {
        let task = task(pid, "containerd-shim");
        self.holds(task, count);
        let (id, namespace) = (format!("{sandbox:0>64}").into(), "k8s.io".into());
        let kind = EventKind::ShimIdentified { id, namespace, version: None };
        self.0.tell(0, Some(task), kind);
        self
    }

    fn culprits(&self) -> Culprits {
        let quota = Some(Quota::own(LIMIT, LIMIT, 0, 1));
        let kind = EventKind::CreateFailed { flags: 0, errno: EMFILE, quota, files: None };
        Culprits::of(&Event { time: at(1), task: None, kind }, &self.0.0).unwrap()
    }

    /// Command name, place, number of processes and count of each share.
    fn shares(&self) -> Vec<(String, Place, usize, u32)> {
        let shares = shares(&self.culprits(), &self.0.0, NAMED).into_iter();
        let name = |comm: Option<Comm>| comm.unwrap().to_str().into_owned();
        shares.map(|it| (name(it.comm), it.place, it.pids.len(), it.count)).collect()
    }

    fn chief(&self) -> Option<Chief> {
        let culprits = self.culprits();
        let shares = shares(&culprits, &self.0.0, NAMED);
        chief(&culprits, &shares, &self.0.0)
    }

    fn container(&self, id: u64) -> Container {
        self.0.0.cgroups().get(CgroupId(id)).unwrap().container.clone().unwrap()
    }
}

#[test]
fn a_full_node_of_pods_is_nobody_s_fault() {
    let mut node = Node::new();
    // Some pods have two containers: 69 shims hold 121.
    for pod in 0..69 {
        let count = if pod < 52 { 2 } else { 1 };
        node.shim(1000 + pod, u64::from(pod), count);
    }
    let kubelet = node.in_cgroup(700, "kubelet", 3, "/system.slice/kubelet.service");
    node.holds(kubelet, 6).holds(task(600, "containerd"), 1);
    let service = |id| Place::Cgroup(CgroupId(id));
    assert_eq!(
        node.shares(),
        [
            ("containerd-shim".to_owned(), Place::Pods(69), 69, 121),
            ("kubelet".to_owned(), service(3), 1, 6),
            ("containerd".to_owned(), service(2), 1, 1),
        ]
    );
    assert_eq!(node.chief(), None);
}

#[test]
fn the_shim_that_leaks_stands_out() {
    let mut node = Node::new();
    for pod in 0..40 {
        node.shim(1000 + pod, u64::from(pod), 1);
    }
    node.shim(2000, 99, 88);
    let shares = node.shares();
    assert_eq!(shares[0], ("containerd-shim".to_owned(), Place::Pods(1), 1, 88));
    assert_eq!(shares[1], ("containerd-shim".to_owned(), Place::Pods(40), 40, 40));
    assert_eq!(node.chief(), Some(Chief::Share(0)));
}

#[test]
fn many_processes_of_one_container_are_one_share() {
    let mut node = Node::new();
    let tail = node.in_pod(3000, "tail", 50, "logs");
    for pid in 3000..3000 + LIMIT {
        node.holds(Task { pid, tid: pid, ..tail }, 1);
    }
    let container = node.container(50);
    let place = Place::Container(container.clone());
    assert_eq!(node.shares(), [("tail".to_owned(), place, 128, 128)]);
    assert_eq!(node.chief(), Some(Chief::Container(container, 128)));
}

#[test]
fn equal_programs_of_many_containers_are_one_share_if_there_are_too_many() {
    let mut node = Node::new();
    for pod in 0..66 {
        let app = node.in_pod(3000 + pod, "nginx", 100 + u64::from(pod), "web");
        node.holds(app, 1);
    }
    let kubelet = node.in_cgroup(700, "kubelet", 3, "/system.slice/kubelet.service");
    node.holds(kubelet, 6);
    let shares = node.shares();
    assert_eq!(shares[0], ("nginx".to_owned(), Place::Several(66), 66, 66));
    assert_eq!(shares.len(), 2);
    // More than half, but of no one's.
    assert_eq!(node.chief(), None);
}

#[test]
fn a_container_is_to_blame_whatever_runs_in_it() {
    let mut node = Node::new();
    for (at, comm) in ["node", "tail", "python3"].into_iter().enumerate() {
        let pid = 3000 + at as u32;
        let task = node.in_pod(pid, comm, 50, "web");
        node.holds(task, 30);
    }
    node.holds(task(1, "systemd"), 5);
    let container = node.container(50);
    assert_eq!(node.chief(), Some(Chief::Container(container, 90)));
}

#[test]
fn what_is_not_visible_is_nobody_s() {
    let mut node = Node::new();
    node.holds(task(1, "systemd"), 5);
    assert_eq!(node.culprits().unseen, 123);
    assert_eq!(node.chief(), None, "the first of these is not to blame");
}

#[test]
fn what_is_shared_counts_once() {
    let mut node = Node::new();
    let app = node.in_pod(3000, "leaky-app", 50, "web");
    node.holds(app, 100);
    node.0.tell(1, Some(app), EventKind::ProcessForked { child: 3001 });
    let shares = shares(&node.culprits(), &node.0.0, NAMED);
    let [share] = &shares[..] else { panic!("{shares:#?}") };
    assert_eq!((share.count, share.shared, &share.pids[..]), (100, 0, &[3000, 3001][..]));
    // Unless others hold it as well.
    let other = node.in_cgroup(4000, "other", 60, "/system.slice/other.service");
    let kind = EventKind::InstanceFound {
        instance: InstanceId(1),
        fd: 3,
        flags: 0,
        creator_cgroup: CgroupId(0),
        queued: 0,
        quota: None,
    };
    node.0.tell(1, Some(other), kind);
    let shares = super::shares(&node.culprits(), &node.0.0, NAMED);
    assert_eq!((shares[0].count, shares[0].shared), (100, 1));
}
