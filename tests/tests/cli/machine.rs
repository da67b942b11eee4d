//! A recording of a made-up machine that has something of everything: a pod and its shim, users with
//! names, a limit that is reached, long paths.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use inotify_trace::recording::Header;
use inotify_trace_model::{
    event::{BootTime, CgroupId, EMFILE, Event, EventKind, InstanceId, Quota, Target, Task},
    feed::Batch,
    identity::Names,
    tracker::{Tracker, User},
};

use crate::recordings::recorder;

/// A path that fits no narrow terminal.
pub(crate) const LONG: &str = "/srv/shop/releases/2026-03-01T00:00:00/configuration/production/\
                               eu-west-1/settings-of-the-web-server.yaml";

const SECOND: u64 = 1_000_000_000;

const WEB: CgroupId = CgroupId(3);
const DAEMON: CgroupId = CgroupId(4);

/// The recording, `node` of process 7 and user `web` in pod prod/shop-5d8f, and its shim 8 of root.
pub(crate) fn machine(path: &Path) -> PathBuf {
    machine_during(path, 1, 100..100)
}

/// The same as one of several runs, from the first second after midnight of 2026-03-01 to the last, or
/// until the last event if that comes later.
pub(crate) fn machine_during(path: &Path, run: u64, seconds: Range<u64>) -> PathBuf {
    let started = BootTime(seconds.start * SECOND);
    let users = [(0, "root".to_owned()), (1000, "web".to_owned())].into();
    let header = Header {
        run,
        booted: 1_772_323_200_000_000_000,
        started,
        host: "node-1".to_owned(),
        users,
        ..Header::default()
    };
    let mut recorder = recorder(path, header);
    let mut tracker = Tracker::new();
    let task = |pid: u32| {
        let (uid, comm, cgroup) =
            if pid == 7 { (1000, "node", WEB) } else { (0, "containerd-shim", DAEMON) };
        Task { pid, tid: pid, uid, comm: comm.into(), cgroup, ..Task::default() }
    };
    let quota = |pid, used| {
        let uid = if pid == 7 { 1000 } else { 0 };
        Some(Quota::own(used, 128, uid, User::INITIAL))
    };
    let found = |cgroup, path: String| EventKind::CgroupFound { cgroup, path: path.into() };
    let id = "0123456789abcdef".repeat(4);
    let names = Names {
        name: Some("web".to_owned()),
        pod_name: Some("shop-5d8f".to_owned()),
        namespace: Some("prod".to_owned()),
        ..Names::default()
    };
    let pod = "pod11111111-2222-3333-4444-555555555555";
    let mut events = vec![
        (0, found(WEB, format!("/kubepods/{pod}/{id}"))),
        (0, found(DAEMON, "/system.slice/containerd.service".to_owned())),
        (0, EventKind::ContainerNamed { cgroup: WEB, container: None, names: Box::new(names) }),
    ];
    let created = |number: u32, used| EventKind::InstanceCreated {
        instance: InstanceId(number.into()),
        fd: i32::try_from(number).unwrap(),
        flags: 0,
        quota: quota(if number == 1 { 8 } else { 7 }, used),
    };
    let watched = |number: u32, path: Option<&str>, cgroup| EventKind::WatchAdded {
        instance: InstanceId(number.into()),
        fd: i32::try_from(number).unwrap(),
        wd: 1,
        target: Target {
            path: path.map(Into::into),
            inode: 5,
            dev: 6,
            cgroup,
            ..Target::default()
        },
        mask: 0xfff,
        quota: None,
    };
    events.push((8, created(1, 1)));
    events.push((8, watched(1, None, WEB)));
    for number in 2..=129 {
        events.push((7, created(number, number - 1)));
    }
    events.push((7, watched(2, Some(LONG), CgroupId::default())));
    events.push((
        7,
        EventKind::WatchFailed {
            instance: Some(InstanceId(2)),
            fd: 2,
            path: Some(LONG.into()),
            mask: 2,
            errno: libc::ENOENT,
            quota: None,
        },
    ));
    let refused =
        EventKind::CreateFailed { flags: 0, errno: EMFILE, quota: quota(7, 128), files: None };
    events.push((7, refused));
    let mut time = started;
    let mut all = Vec::new();
    for (pid, kind) in events {
        time = BootTime(time.0 + 10_000_000);
        let event = Event { time, task: (pid > 0).then(|| task(pid)), kind };
        tracker.apply(&event);
        all.push(event);
    }
    recorder.record(Batch { time, judged: false, events: all }, &tracker);
    recorder.finish(time.max(BootTime(seconds.end * SECOND))).1.unwrap();
    path.to_owned()
}
