//! Made-up recordings, of which every fact is known.

use std::{
    fs,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use inotify_trace::{
    limits::{Source, Sysctls},
    recording::{Header, Recorder, Rotation, Store},
};
use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Loss, Quota, Target, Task},
    feed::Batch,
    identity::Names,
    tracker::{Tracker, User},
};
use inotify_trace_tests::wait;

/// 2026-03-14 01:00:00 UTC in nanoseconds since 1970, the boot time of the machines.
const BOOTED: i64 = 1_773_450_000_000_000_000;

/// The number of the next run: each recording is a run of its own.
static RUNS: AtomicU64 = AtomicU64::new(1);

/// The start of recordings, in seconds since boot: an hour.
pub const START: u64 = 3600;

pub const ROOT: CgroupId = CgroupId(1);
pub const CONTAINERD: CgroupId = CgroupId(2);
pub const WEB: CgroupId = CgroupId(3);
pub const LOGS: CgroupId = CgroupId(4);

/// Writes a recording.
pub struct Maker {
    recorder: Recorder,
    tracker: Tracker,
    events: Vec<Event>,
    now: u64,
    used: u32,
    next: u64,
}

impl Maker {
    fn new(path: &Path, rotation: Rotation, host: &str) -> Self {
        let header = Header {
            tool_version: "0.1.0".to_owned(),
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            host: host.to_owned(),
            kernel: "6.12.48-test".to_owned(),
            booted: BOOTED,
            started: BootTime(START * 1_000_000_000),
            backend: "fentry".to_owned(),
            command: vec!["inotify-trace".to_owned(), "record".to_owned()],
            users: [(0, "root".to_owned())].into(),
            sysctls: Sysctls {
                live: [Some(128), Some(65_536), Some(16_384)],
                files: vec![Source {
                    path: "/etc/sysctl.d/50-inotify.conf".into(),
                    text: "fs.inotify.max_user_instances = 512".to_owned(),
                }],
                ends_with_sysctl_conf: false,
            },
            ..Header::default()
        };
        let store = Store::new(path, rotation).unwrap();
        let say = Box::new(|message: &str| panic!("{message}"));
        // Each batch is a frame of its own, and is written without delay.
        let recorder = Recorder::start(store, header, Duration::ZERO, say).unwrap();
        let (tracker, events) = (Tracker::new(), Vec::new());
        Self { recorder, tracker, events, now: START * 1_000_000_000, used: 0, next: 1 }
    }

    /// Moves the time to `seconds` after the start.
    pub fn at(&mut self, seconds: f64) {
        self.now = START * 1_000_000_000 + (seconds * 1e9) as u64;
    }

    pub fn quota(&self) -> Quota {
        Quota::own(self.used, 128, 0, User::INITIAL)
    }

    pub fn event(&mut self, task: Option<Task>, kind: EventKind) {
        let event = Event { time: BootTime(self.now), task, kind };
        self.tracker.apply(&event);
        self.events.push(event);
    }

    /// Records the events so far, with verdicts.
    pub fn judge(&mut self) {
        let events = std::mem::take(&mut self.events);
        let batch = Batch { time: BootTime(self.now), judged: true, events };
        self.recorder.record(batch, &self.tracker);
        // Waits for the disk, which may be slower than a made-up run.
        wait::until("the batch is written", || self.recorder.waiting() == 0);
    }

    pub fn cgroup(&mut self, cgroup: CgroupId, path: &str) {
        self.event(None, EventKind::CgroupFound { cgroup, path: path.into() });
    }

    pub fn name(&mut self, cgroup: CgroupId, namespace: &str, pod: &str, name: &str) {
        let names = Names {
            name: Some(name.to_owned()),
            pod_name: Some(pod.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..Names::default()
        };
        self.event(
            None,
            EventKind::ContainerNamed { cgroup, container: None, names: Box::new(names) },
        );
    }

    /// Creates an instance; descriptor numbers count up.
    pub fn create(&mut self, task: Task) -> InstanceId {
        let instance = InstanceId(self.next);
        self.next += 1;
        self.used += 1;
        let (fd, quota) = (i32::try_from(instance.0).unwrap() + 2, Some(self.quota()));
        self.event(Some(task), EventKind::InstanceCreated { instance, fd, flags: 0, quota });
        instance
    }

    /// Adds an instance from before the start, of a daemon with a cgroup of its own.
    pub fn found(&mut self, daemon: u32) {
        let cgroup = CgroupId(u64::from(50 + daemon));
        self.cgroup(cgroup, &format!("/system.slice/daemon-{daemon:02}.service"));
        let instance = InstanceId(self.next);
        self.next += 1;
        self.used += 1;
        let task = task(100 + daemon, &format!("daemon-{daemon:02}"), cgroup);
        let kind = EventKind::InstanceFound {
            instance,
            fd: 3,
            flags: 0,
            creator_cgroup: cgroup,
            queued: 0,
            quota: Some(self.quota()),
        };
        self.event(Some(task), kind);
        let target = Target { inode: 1, dev: 1, ..Target::default() };
        self.event(Some(task), EventKind::WatchFound { instance, wd: 1, target, mask: 2 });
    }

    pub fn watch(&mut self, task: Task, instance: InstanceId, path: &str, cgroup: CgroupId) {
        let fd = i32::try_from(instance.0).unwrap() + 2;
        // The same file for the same path.
        let inode = path.bytes().map(u64::from).sum();
        let path = Some(path.into());
        let target = Target { path, inode, dev: 1, cgroup, ..Target::default() };
        let kind = EventKind::WatchAdded { instance, fd, wd: 1, target, mask: 2, quota: None };
        self.event(Some(task), kind);
    }

    pub fn release(&mut self, task: Task, instance: InstanceId) {
        self.used -= 1;
        let quota = Some(self.quota());
        let fd = Some(i32::try_from(instance.0).unwrap() + 2);
        self.event(Some(task), EventKind::InstanceReleased { instance, fd, quota });
    }

    pub fn refuse(&mut self, task: Task) {
        let quota = Some(self.quota());
        self.event(Some(task), EventKind::CreateFailed { flags: 0, errno: 24, quota, files: None });
    }

    pub fn is_full(&self) -> bool {
        self.used >= 128
    }

    fn finish(self) {
        let (totals, result) = self.recorder.finish(BootTime(self.now));
        result.unwrap();
        assert_eq!(totals.unrecorded, 0);
    }
}

/// Makes a recording.
pub fn make<T>(path: &Path, host: &str, story: impl Fn(&mut Maker) -> T) -> T {
    make_in(path, Rotation::default(), host, story)
}

fn make_in<T>(path: &Path, rotation: Rotation, host: &str, story: impl Fn(&mut Maker) -> T) -> T {
    let mut made = Maker::new(path, rotation, host);
    let truth = story(&mut made);
    made.finish();
    truth
}

pub fn task(pid: u32, comm: &str, cgroup: CgroupId) -> Task {
    Task { pid, tid: pid, uid: 0, comm: comm.into(), cgroup, ..Task::default() }
}

/// The number of daemons with an instance each when [`night`] begins.
pub const DAEMONS: u32 = 12;

/// The facts of [`night`].
pub struct Truth {
    pub made: u64,
    pub released: u64,
    pub refused: u64,
    pub leaky_app: u64,
    pub shim: u64,
    pub lost: u64,
}

/// A command name with markup in it, which a program may choose.
pub const EVIL: &str = "<b>x</b>&'\"";
pub const EVIL_PATH: &str = "/srv/<img src=http://192.0.2.1/x.png onerror=alert(1)>";

/// A night on a node, made only once: a container creates more and more instances, a shim keeps
/// those of crashed containers, and in the end other processes get errors.
pub fn night(path: &Path) -> &'static Truth {
    static NIGHT: OnceLock<(Vec<u8>, Truth)> = OnceLock::new();
    let (recording, truth) = NIGHT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("night.itrec");
        let truth = make(&file, "node-7", make_night);
        (fs::read(file).unwrap(), truth)
    });
    fs::write(path, recording).unwrap();
    truth
}

/// The same night in several files of a directory.
pub fn rotated_night(directory: &Path) -> Truth {
    let rotation = Rotation { size: Some(2000), ..Rotation::default() };
    make_in(directory, rotation, "node-7", make_night)
}

fn make_night(made: &mut Maker) -> Truth {
    let mut truth = Truth { made: 0, released: 0, refused: 0, leaky_app: 0, shim: 0, lost: 5 };
    let pods =
        "/kubepods.slice/kubepods-pod0a1b2c3d_0000_4000_8000_0123456789ab.slice/cri-containerd-";
    made.cgroup(ROOT, "/");
    made.cgroup(CONTAINERD, "/system.slice/containerd.service");
    made.cgroup(WEB, &format!("{pods}{}.scope", "a1".repeat(32)));
    made.cgroup(LOGS, &format!("{pods}{}.scope", "b2".repeat(32)));
    made.name(WEB, "prod", "shop-5d8f", "web");
    made.name(LOGS, "prod", "shop-5d8f", "logs");
    (0..DAEMONS).for_each(|daemon| made.found(daemon));
    let (shim, leaky) = (task(900, "containerd-shim", CONTAINERD), task(3550, "leaky-app", WEB));
    let evil = task(666, EVIL, LOGS);
    for second in 0..3600_u32 {
        made.at(f64::from(second));
        // A container crashes every three minutes, and the shim keeps its instance.
        if second % 180 == 0 && !made.is_full() {
            let crashed = CgroupId(u64::from(100 + second));
            let id = format!("{second:04x}").repeat(16);
            let cgroup = format!("{pods}{id}.scope");
            made.event(None, EventKind::CgroupCreated { cgroup: crashed, path: cgroup.into() });
            let instance = made.create(shim);
            made.watch(shim, instance, &format!("/sys/fs/cgroup{pods}{id}/memory.events"), crashed);
            made.at(f64::from(second) + 0.5);
            made.event(None, EventKind::CgroupRemoved { cgroup: crashed });
            if truth.shim == 0 {
                let (id, namespace) = ("0f".repeat(32).into(), "k8s.io".into());
                let kind = EventKind::ShimIdentified { id, namespace, version: None };
                made.event(Some(shim), kind);
            }
            (truth.made, truth.shim) = (truth.made + 1, truth.shim + 1);
        }
        if second % 25 == 7 && !made.is_full() {
            let instance = made.create(leaky);
            made.watch(leaky, instance, "/srv/app/config", CgroupId(0));
            (truth.made, truth.leaky_app) = (truth.made + 1, truth.leaky_app + 1);
        }
        if second % 30 == 11 {
            let tail = task(4000 + second, "tail", LOGS);
            if made.is_full() {
                made.refuse(tail);
                truth.refused += 1;
            } else {
                let instance = made.create(tail);
                made.at(f64::from(second) + 0.9);
                made.release(tail, instance);
                (truth.made, truth.released) = (truth.made + 1, truth.released + 1);
            }
        }
        if second == 1800 {
            made.event(None, EventKind::Lost { count: truth.lost, what: Loss::Events });
            made.event(
                Some(evil),
                EventKind::WatchFailed {
                    instance: None,
                    fd: 3,
                    path: Some(EVIL_PATH.into()),
                    mask: 2,
                    errno: 2,
                    quota: None,
                },
            );
        }
        if second % 30 == 29 {
            made.judge();
        }
    }
    truth
}

/// A recording with one instance, which is created and closed.
pub fn quiet(path: &Path, host: &str) {
    make(path, host, |made| {
        made.cgroup(ROOT, "/");
        let tail = task(7, "tail", ROOT);
        let instance = made.create(tail);
        made.at(20.0);
        made.release(tail, instance);
        made.judge();
    });
}

/// A recording of users who have used up their limits, of one with a small leak, and of many
/// containers that run for a second.
pub fn crowd(path: &Path, users: u32) {
    make(path, "node-7", |made| {
        made.cgroup(ROOT, "/");
        made.cgroup(CONTAINERD, "/system.slice/containerd.service");
        let pods = "/kubepods.slice/kubepods-pod0a1b2c3d_0000_4000_8000_0123456789ab.slice/";
        for number in 0..20_u32 {
            made.at(f64::from(number));
            let cgroup = CgroupId(u64::from(500 + number));
            let id = format!("{number:04x}").repeat(16);
            made.cgroup(cgroup, &format!("{pods}cri-containerd-{id}.scope"));
            let job = task(5000 + number, "job", cgroup);
            let instance = made.create(job);
            made.release(job, instance);
            made.event(None, EventKind::CgroupRemoved { cgroup });
        }
        // The leaker's limit is far away.
        let shim = Task { uid: 700, ..task(900, "containerd-shim", CONTAINERD) };
        for number in 0..6_u32 {
            made.at(f64::from(30 + number));
            let cgroup = CgroupId(u64::from(900 + number));
            let path = format!("{pods}cri-containerd-{}.scope", format!("{number:04x}").repeat(16));
            made.event(None, EventKind::CgroupCreated { cgroup, path: path.clone().into() });
            let instance = InstanceId(2000 + u64::from(number));
            let quota = Some(Quota::own(number + 1, 1000, 700, User::INITIAL));
            let kind = EventKind::InstanceCreated { instance, fd: 50, flags: 0, quota };
            made.event(Some(Task { pid: 900, ..shim }), kind);
            made.watch(shim, instance, &format!("/sys/fs/cgroup{path}/memory.events"), cgroup);
            made.event(None, EventKind::CgroupRemoved { cgroup });
        }
        for user in 0..users {
            made.at(f64::from(100 + user));
            let app = Task { uid: 1000 + user, ..task(7000 + user, "app", ROOT) };
            let quota = Some(Quota::own(128, 128, 1000 + user, User::INITIAL));
            made.event(
                Some(app),
                EventKind::CreateFailed { flags: 0, errno: 24, quota, files: None },
            );
            made.judge();
        }
        made.at(300.0);
        made.judge();
    });
}
