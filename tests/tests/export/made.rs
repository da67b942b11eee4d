//! A made-up machine: it writes a recording, and keeps the expected numbers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use inotify_trace::recording::{EXTENSION, Header, Recorder, Rotation, Store};
use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Loss, Quota, Target, Task},
    feed::Batch,
    identity::Names,
    tracker::{Tracker, User},
};
use inotify_trace_tests::wait::{self, Wait};

/// 2026-03-01T00:00:00Z, the boot time of machines.
pub const BOOTED: i64 = 1_772_323_200;

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// The errno when the limit on instances is reached.
const EMFILE: i32 = 24;

/// The errno when the limit on watches is reached.
pub const ENOSPC: i32 = 28;

/// A made-up machine with a recording in progress.
pub struct Machine {
    recorder: Recorder,
    tracker: Tracker,
    directory: PathBuf,
    rotates: bool,
    now: u64,
    events: Vec<Event>,
    next_instance: u64,
    next_cgroup: u64,
    used: u32,
}

/// A container of a pod.
#[derive(Clone, Copy)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: &'static str,
    pub uid: &'static str,
    pub image: &'static str,
}

impl Machine {
    /// Starts a recording in `directory`. The machine has been up for `up` seconds. If the
    /// recording `rotates`, every batch is the last of its file.
    pub fn start(host: &str, directory: &Path, up: u64, rotates: bool) -> Self {
        Self::start_late(host, directory, up, rotates, 0)
    }

    /// The same for a machine that booted `later` seconds after the others.
    pub fn start_late(host: &str, directory: &Path, up: u64, rotates: bool, later: i64) -> Self {
        let mut machine = Self::begin(host, directory, up, rotates, later);
        machine.happens(None, EventKind::CgroupFound { cgroup: CgroupId(1), path: "/".into() });
        machine
    }

    /// The recording of a machine without events.
    pub fn nothing(host: &str, directory: &Path) -> Vec<PathBuf> {
        Self::begin(host, directory, 100, false, 0).finish()
    }

    fn begin(host: &str, directory: &Path, up: u64, rotates: bool, later: i64) -> Self {
        let size = rotates.then_some(1);
        let rotation = Rotation { size, ..Rotation::default() };
        std::fs::create_dir_all(directory).expect("a place for recordings");
        let store = Store::new(directory, rotation).expect("a place for recordings");
        let header = Header {
            tool_version: "0.1.0".to_owned(),
            run: host.bytes().fold(7, |run, byte| run * 31 + u64::from(byte)),
            host: host.to_owned(),
            kernel: "6.12.1".to_owned(),
            machine: format!("{host}-of-fleet-1"),
            boot_id: format!("boot-of-{host}"),
            booted: (BOOTED + later) * i64::try_from(SECOND).expect("a small number"),
            started: BootTime(up * SECOND),
            backend: "fentry".to_owned(),
            users: [(0, "root".to_owned()), (1000, "app".to_owned())].into(),
            ..Header::default()
        };
        let say = Box::new(|what: &str| panic!("{what}"));
        let recorder =
            Recorder::start(store, header, Duration::ZERO, say).expect("a place for recordings");
        Self {
            recorder,
            tracker: Tracker::new(),
            directory: directory.to_owned(),
            rotates,
            now: up * SECOND,
            events: Vec::new(),
            next_instance: 1,
            next_cgroup: 100,
            used: 0,
        }
    }

    /// Lets some seconds pass, then records verdicts about leaks.
    pub fn wait(&mut self, seconds: u64) {
        self.record(false);
        self.now += seconds * SECOND;
        self.record(true);
    }

    /// Adds an event, a microsecond after the previous one.
    pub fn happens(&mut self, task: Option<Task>, kind: EventKind) {
        self.now += 1000;
        self.events.push(Event { time: BootTime(self.now), task, kind });
    }

    /// Creates the cgroup of a container, and reads the container's names.
    pub fn container(&mut self, pod: Pod) -> CgroupId {
        let cgroup = CgroupId(self.next_cgroup);
        self.next_cgroup += 1;
        let id = container_id(cgroup);
        let pod_cgroup = pod.uid.replace('-', "_");
        let path =
            format!("/kubepods.slice/kubepods-pod{pod_cgroup}.slice/cri-containerd-{id}.scope");
        self.happens(None, EventKind::CgroupCreated { cgroup, path: path.into() });
        let names = Names {
            name: Some("main".to_owned()),
            pod_name: Some(pod.name.to_owned()),
            namespace: Some(pod.namespace.to_owned()),
            image: Some(pod.image.to_owned()),
            is_sandbox: false,
        };
        self.happens(
            None,
            EventKind::ContainerNamed { cgroup, container: None, names: Box::new(names) },
        );
        cgroup
    }

    pub fn remove(&mut self, cgroup: CgroupId) {
        self.happens(None, EventKind::CgroupRemoved { cgroup });
    }

    /// Creates an instance as root.
    pub fn create(&mut self, task: Task) -> InstanceId {
        let instance = InstanceId(self.next_instance);
        self.next_instance += 1;
        self.used += 1;
        let fd = i32::try_from(instance.0 + 2).expect("a small number");
        let quota = Some(root(self.used));
        self.happens(Some(task), EventKind::InstanceCreated { instance, fd, flags: 0, quota });
        instance
    }

    /// Creates and closes instances, each with a watch of its own: four events each.
    pub fn storm(&mut self, task: Task, instances: u64) {
        for count in 1..=instances {
            let instance = self.create(task);
            let fd = i32::try_from(instance.0 + 2).expect("a small number");
            let target = Target {
                path: Some(format!("/srv/data/{}/{count}", count % 97).into()),
                inode: 1_000_000 + count,
                dev: 27,
                ..Target::default()
            };
            let quota = |used| Some(Quota { limit: 8192, ..root(used) });
            let (wd, mask) = (1, 2);
            let added = EventKind::WatchAdded { instance, fd, wd, target, mask, quota: quota(1) };
            self.happens(Some(task), added);
            let removed = EventKind::WatchRemoved { instance, fd: Some(fd), wd, quota: quota(0) };
            self.happens(Some(task), removed);
            self.release(task, instance);
            // Flushes the events before they fill a frame.
            if count % 512 == 0 {
                self.record(false);
            }
        }
    }

    pub fn release(&mut self, task: Task, instance: InstanceId) {
        self.used -= 1;
        let fd = Some(i32::try_from(instance.0 + 2).expect("a small number"));
        let quota = Some(root(self.used));
        self.happens(Some(task), EventKind::InstanceReleased { instance, fd, quota });
    }

    /// The process, which must hold an instance, is the shim that was started for this container.
    pub fn identify(&mut self, shim: Task, container: CgroupId) {
        let (id, namespace) = (container_id(container).into(), "k8s.io".into());
        self.happens(Some(shim), EventKind::ShimIdentified { id, namespace, version: None });
    }

    /// Creates an instance that watches a file of a cgroup.
    pub fn serve(&mut self, task: Task, cgroup: CgroupId) -> InstanceId {
        let instance = self.create(task);
        let target = Target {
            path: Some("/sys/fs/cgroup/x/memory.events".into()),
            inode: cgroup.0,
            dev: 27,
            cgroup,
            ..Target::default()
        };
        let quota = Some(Quota { limit: 8192, ..root(1) });
        let fd = i32::try_from(instance.0 + 2).expect("a small number");
        let kind = EventKind::WatchAdded { instance, fd, wd: 1, target, mask: 2, quota };
        self.happens(Some(task), kind);
        instance
    }

    /// Fails to create an instance.
    pub fn create_failed(&mut self, task: Task, quota: Quota) {
        let kind =
            EventKind::CreateFailed { flags: 0, errno: EMFILE, quota: Some(quota), files: None };
        self.happens(Some(task), kind);
    }

    pub fn watch_failed(&mut self, task: Task, errno: i32, quota: Quota) {
        let kind = EventKind::WatchFailed {
            instance: None,
            fd: 3,
            path: Some("/var/log".into()),
            mask: 2,
            errno,
            quota: Some(quota),
        };
        self.happens(Some(task), kind);
    }

    pub fn lose(&mut self, count: u64) {
        self.happens(None, EventKind::Lost { count, what: Loss::Events });
    }

    /// The time of the latest event, in nanoseconds since boot.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The number of root's instances.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Ends the recording. Returns its files, oldest first.
    pub fn finish(mut self) -> Vec<PathBuf> {
        self.record(true);
        let (totals, result) = self.recorder.finish(BootTime(self.now));
        result.expect("a place for recordings");
        assert_eq!(totals.unrecorded, 0);
        recordings(&self.directory)
    }

    fn record(&mut self, judged: bool) {
        let (before, files) = (written(&self.directory), recordings(&self.directory).len());
        let events = std::mem::take(&mut self.events);
        events.iter().for_each(|event| self.tracker.apply(event));
        self.recorder.record(Batch { time: BootTime(self.now), judged, events }, &self.tracker);
        // Batches are written without delay.
        wait::until("the batch is written", || written(&self.directory) != before);
        // The next record after that starts a new file.
        let is_begun = || !self.rotates || recordings(&self.directory).len() != files;
        let wait = Wait::begin();
        while !is_begun() {
            // Records one batch at a time: a full queue loses batches.
            if self.recorder.waiting() == 0 {
                let nothing = Batch { time: BootTime(self.now), ..Batch::default() };
                self.recorder.record(nothing, &self.tracker);
            }
            wait.look_again(|| "no file was begun".to_owned());
        }
    }
}

/// The container id of a cgroup.
pub fn container_id(cgroup: CgroupId) -> String {
    format!("{:064x}", 0xabcd_0000 + cgroup.0)
}

/// The recordings in a directory, oldest first.
pub fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .expect("a place for recordings")
        .map(|it| it.expect("a place for recordings").path());
    let mut files: Vec<_> =
        entries.filter(|it| it.extension().is_some_and(|it| it == EXTENSION)).collect();
    files.sort();
    files
}

fn written(directory: &Path) -> u64 {
    recordings(directory).iter().map(|it| std::fs::metadata(it).map_or(0, |it| it.len())).sum()
}

/// A quota with `used` of root's 128 instances.
pub fn root(used: u32) -> Quota {
    Quota::own(used, 128, 0, User::INITIAL)
}

/// A quota of another user.
pub fn app(used: u32, limit: u32) -> Quota {
    Quota::own(used, limit, 1000, User::INITIAL)
}

pub fn task(pid: u32, comm: &str, cgroup: CgroupId) -> Task {
    Task { pid, tid: pid, uid: 0, comm: comm.into(), cgroup, ..Task::default() }
}
