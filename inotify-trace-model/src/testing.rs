//! A made-up machine, for tests of what judges and shows it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::new_without_default,
    reason = "only tests use it, as their own code"
)]

use crate::{
    event::{BootTime, CgroupId, Comm, Event, EventKind, InstanceId, Quota, Target, Task},
    identity::Names,
    tracker::Tracker,
    verdict::{Grace, Kind, Verdict, verdicts},
};

const SECOND: u64 = 1_000_000_000;

/// Seconds since boot.
pub fn at(seconds: u64) -> BootTime {
    BootTime(seconds * SECOND)
}

/// A machine to which things happen.
#[derive(Debug)]
pub struct Machine(pub Tracker);

impl Machine {
    /// A machine with the root of its hierarchy and containerd's cgroup.
    pub fn new() -> Self {
        let mut machine = Self(Tracker::new());
        machine.cgroup(0, 1, "/").cgroup(0, 2, "/system.slice/containerd.service");
        machine
    }

    pub fn tell(&mut self, seconds: u64, task: Option<Task>, kind: EventKind) -> &mut Self {
        self.0.apply(&Event { time: at(seconds), task, kind });
        self
    }

    pub fn cgroup(&mut self, seconds: u64, id: u64, path: &str) -> &mut Self {
        let (cgroup, path) = (CgroupId(id), path.into());
        self.tell(seconds, None, EventKind::CgroupCreated { cgroup, path })
    }

    pub fn container(&mut self, seconds: u64, id: u64) -> &mut Self {
        let name = format!("{id:0>64}");
        self.cgroup(seconds, id, &format!("/kubepods/burstable/podx/cri-containerd-{name}.scope"))
    }

    /// A container of the pod that the shim serves: the sandbox is number 10.
    pub fn of_pod(&mut self, seconds: u64, id: u64) -> &mut Self {
        let pod = "pod2c48913c-b29f-11e7-9350-020968147796";
        self.cgroup(seconds, id, &format!("/kubepods/burstable/{pod}/{id:0>64}"))
    }

    /// The pod's sandbox and its shim, which holds an instance for it; both have names.
    pub fn pod(version: Option<&str>) -> Self {
        let mut machine = Self::new();
        machine.of_pod(0, 10).create(0, shim(), 1).watch(0, shim(), 1, Ok(10));
        let names = Names {
            pod_name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            is_sandbox: true,
            ..Names::default()
        };
        let cgroup = CgroupId(10);
        machine.tell(
            0,
            None,
            EventKind::ContainerNamed { cgroup, container: None, names: names.into() },
        );
        machine.identify(version);
        machine
    }

    /// The shim says that it was started for container 10.
    pub fn identify(&mut self, version: Option<&str>) -> &mut Self {
        let (id, namespace) = (format!("{:0>64}", 10).into(), "k8s.io".into());
        let version = version.map(Into::into);
        self.tell(0, Some(shim()), EventKind::ShimIdentified { id, namespace, version })
    }

    /// A container of that pod lives for three seconds, and its instance for ever.
    pub fn restart(&mut self, seconds: u64, id: u64) -> &mut Self {
        self.of_pod(seconds, id).create(seconds, shim(), id).watch(seconds, shim(), id, Ok(id));
        self.remove(seconds + 3, id)
    }

    /// An instance of the shim that the kernel had emptied before it was found.
    pub fn emptied(&mut self, seconds: u64, instance: u64) -> &mut Self {
        let (instance, fd) = (InstanceId(instance), i32::try_from(instance).unwrap());
        let (flags, creator_cgroup, queued) = (0, CgroupId(0), 1);
        let quota = Some(Quota::own(9, 128, 0, 1));
        let kind = EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota };
        self.tell(seconds, Some(shim()), kind)
    }

    pub fn remove(&mut self, seconds: u64, id: u64) -> &mut Self {
        self.tell(seconds, None, EventKind::CgroupRemoved { cgroup: CgroupId(id) })
    }

    pub fn create(&mut self, seconds: u64, task: Task, instance: u64) -> &mut Self {
        let quota = Some(Quota::own(28, 128, 0, 1));
        let fd = i32::try_from(instance).unwrap();
        let instance = InstanceId(instance);
        self.tell(seconds, Some(task), EventKind::InstanceCreated { instance, fd, flags: 0, quota })
    }

    /// A watch on the file of a cgroup, or on something else.
    pub fn watch(
        &mut self,
        seconds: u64,
        task: Task,
        instance: u64,
        on: Result<u64, &str>,
    ) -> &mut Self {
        let path = on.map_or_else(str::to_owned, |_| "/sys/fs/cgroup/x/memory.events".to_owned());
        let cgroup = CgroupId(on.unwrap_or(0));
        let target = target(&path, cgroup);
        let fd = i32::try_from(instance).unwrap();
        let (instance, wd, mask) = (InstanceId(instance), 1, 2);
        let kind = EventKind::WatchAdded { instance, fd, wd, target, mask, quota: None };
        self.tell(seconds, Some(task), kind)
    }

    /// A second watch of an instance, on cgroup.events: a container's end shows there.
    pub fn watch_end(&mut self, seconds: u64, task: Task, instance: u64, cgroup: u64) -> &mut Self {
        let path = Some("/sys/fs/cgroup/x/cgroup.events".into());
        let target = Target { path, inode: 6, cgroup: CgroupId(cgroup), ..Target::default() };
        let (instance, fd, wd, mask) = (InstanceId(instance), 3, 2, 2);
        let kind = EventKind::WatchAdded { instance, fd, wd, target, mask, quota: None };
        self.tell(seconds, Some(task), kind)
    }

    /// Watches of the instance with these descriptors.
    pub fn watches(
        &mut self,
        seconds: u64,
        task: Task,
        instance: u64,
        wds: std::ops::Range<i32>,
    ) -> &mut Self {
        for wd in wds {
            let used = self.0.instance(InstanceId(instance)).map_or(0, |it| it.watches().len());
            let used = u32::try_from(used).unwrap() + 100;
            let quota = Some(Quota::own(used, 65_536, 0, 1));
            let target = target(&format!("/srv/{wd}"), CgroupId(0));
            let (instance, fd, mask) = (InstanceId(instance), 3, 2);
            let kind = EventKind::WatchAdded { instance, fd, wd, target, mask, quota };
            self.tell(seconds, Some(task), kind);
        }
        self
    }

    /// An instance that exists at start, and watches this.
    pub fn found(&mut self, task: Task, instance: u64, path: Option<&str>) -> &mut Self {
        let (instance, fd) = (InstanceId(instance), i32::try_from(instance).unwrap());
        let (flags, creator_cgroup, queued, quota) = (0, CgroupId(0), 0, None);
        let kind = EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota };
        self.tell(0, Some(task), kind);
        if let Some(path) = path {
            let target = target(path, CgroupId(0));
            self.tell(0, None, EventKind::WatchFound { instance, wd: 1, target, mask: 2 });
        }
        self
    }

    pub fn unwatch(&mut self, seconds: u64, instance: u64, fd: Option<i32>) -> &mut Self {
        let instance = InstanceId(instance);
        self.tell(seconds, None, EventKind::WatchRemoved { instance, fd, wd: 1, quota: None })
    }

    pub fn release(&mut self, seconds: u64, task: Task, instance: u64) -> &mut Self {
        let kind = EventKind::InstanceReleased {
            instance: InstanceId(instance),
            fd: Some(i32::try_from(instance).unwrap()),
            quota: None,
        };
        self.tell(seconds, Some(task), kind)
    }

    pub fn verdicts(&self, seconds: u64) -> Vec<Verdict> {
        verdicts(&self.0, at(seconds), &Grace::default())
    }

    /// Kind, process and how many instances of each verdict.
    pub fn short(&self, seconds: u64) -> Vec<(Kind, u32, usize)> {
        self.verdicts(seconds).iter().map(|it| (it.kind, it.pid, it.evidence.len())).collect()
    }
}

/// A target whose inode depends on its path and its cgroup alone.
fn target(path: &str, cgroup: CgroupId) -> Target {
    let inode = path.bytes().fold(cgroup.0, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
    Target { path: Some(path.into()), inode, cgroup, ..Target::default() }
}

/// A process in containerd's cgroup.
pub fn task(pid: u32, comm: &str) -> Task {
    Task { pid, tid: pid, uid: 0, comm: Comm::from(comm), cgroup: CgroupId(2), ..Task::default() }
}

pub fn shim() -> Task {
    task(100, "containerd-shim")
}
