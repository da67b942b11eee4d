//! Makes the recordings that show later versions what format 1 was: `tests/recordings/v1`.

use std::{fs, path::Path, time::Duration};

use inotify_trace_model::{
    event::{
        BootTime, CgroupId, Charge, Event, EventKind, Files, InstanceId, Level, Loss, Quota,
        Target, Task,
    },
    feed::Batch,
    identity::{Container, Names, Qos, Runtime},
    tracker::{Part, Tracker},
};

use crate::{
    limits::{Source, Sysctls},
    recording::{Header, Rotation, Store, tests::samples, writer::Writer},
};

const SECOND: u64 = 1_000_000_000;

/// Its path names a container; the other's does not.
const POD: CgroupId = CgroupId(4242);
const PLAIN: CgroupId = CgroupId(77);

const CONTAINER: &str = "3f1c0a2b4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

fn header() -> Header {
    let text = "\n# fs.inotify.max_user_instances = 1024\nfs.inotify.max_user_instances=128\n";
    Header {
        tool_version: "0.1.0".to_owned(),
        run: 0x0123_4567_89ab_cdef,
        sequence: 0,
        host: "node-1".to_owned(),
        kernel: "6.12.48+deb13-amd64".to_owned(),
        machine: "e6fe4fa855d14d6eb523bebc385471cd".to_owned(),
        boot_id: "6f1d7c1e-0000-4000-8000-0123456789ab".to_owned(),
        // 2026-03-01T09:00:00Z
        booted: 1_772_355_600 * 1_000_000_000,
        started: BootTime(100 * SECOND),
        backend: "tracepoint".to_owned(),
        command: ["inotify-trace", "record", "-o", "v1/"].map(str::to_owned).into(),
        unseen: vec!["which descriptor an instance ended with".to_owned()],
        users: [(0, "root".to_owned()), (1000, "user".to_owned())].into(),
        sysctls: Sysctls {
            live: [Some(128), Some(65_536), Some(16_384)],
            files: vec![Source { path: "/etc/sysctl.conf".into(), text: text.to_owned() }],
            ends_with_sysctl_conf: true,
        },
        continues: false,
    }
}

fn task(pid: u32, uid: u32, comm: &str, cgroup: CgroupId) -> Task {
    let is_thread = pid == 301;
    let (comm, thread) = (comm.into(), is_thread.then(|| "worker".into()));
    let (tid, table) = (pid + u32::from(is_thread), is_thread.then_some(302));
    Task { pid, tid, uid, comm, thread, table, cgroup }
}

fn quota(used: u32, limit: u32) -> Option<Quota> {
    let (payer_uid, payer_userns) = (1000, 4_026_531_837);
    let (uid, userns) = (101_000, 4_026_532_009);
    Some(Quota { used, limit, uid, userns, level: 1, payer_uid, payer_userns })
}

fn target(path: &str, inode: u64) -> Target {
    Target {
        path: Some(path.into()),
        resolved: (inode == 12).then(|| "/from/the/root".into()),
        silence: None,
        is_gone: inode % 2 == 1,
        inode,
        dev: 0x0010_0002,
        cgroup: if inode == 9000 { PLAIN } else { CgroupId(0) },
        file: (inode == 9000).then(|| "cgroup.events".into()),
    }
}

/// What exists when it begins, and what happens then: each in a batch of its own.
fn story() -> Vec<(Option<Task>, EventKind)> {
    let node = task(301, 1000, "node", POD);
    let shim = task(200, 0, "containerd-shim", PLAIN);
    let (first, second, third) = (InstanceId(1), InstanceId(2), InstanceId(3));
    let tail = task(303, 1000, "tail", POD);
    let names = Names {
        name: Some("web".to_owned()),
        pod_name: Some("web-0".to_owned()),
        namespace: Some("shop".to_owned()),
        image: Some("registry.example/web:1".to_owned()),
        is_sandbox: false,
    };
    let container = Container {
        runtime: Some(Runtime::Crun),
        id: "plain".to_owned(),
        pod: Some("0d6f4f2e-1111-4222-8333-444455556666".to_owned().into()),
        qos: Some(Qos::Burstable),
        outer: None,
    };
    let charge = Charge {
        uid: 1000,
        userns: 4_026_531_837,
        instances: quota(2, 128).map(Level::from),
        watches: quota(3, 65_536).map(Level::from),
    };
    let pod_path = format!(
        "/kubepods.slice/kubepods-pod0d6f4f2e_1111_4222_8333_444455556666.slice/\
         cri-containerd-{CONTAINER}.scope"
    );
    let lost = |count, what| (None, EventKind::Lost { count, what });
    vec![
        (None, EventKind::CgroupFound { cgroup: POD, path: pod_path.into() }),
        (None, EventKind::CgroupFound { cgroup: PLAIN, path: "/plain".into() }),
        (None, EventKind::ContainerNamed { cgroup: POD, container: None, names: Box::new(names) }),
        (
            None,
            EventKind::ContainerNamed {
                cgroup: PLAIN,
                container: Some(Box::new(container)),
                names: Box::default(),
            },
        ),
        (
            Some(shim),
            EventKind::InstanceFound {
                instance: first,
                fd: 7,
                flags: 0o2_000_000,
                creator_cgroup: PLAIN,
                queued: 3,
                quota: quota(1, 128),
            },
        ),
        (
            Some(shim),
            EventKind::WatchFound {
                instance: first,
                wd: 1,
                target: target("/sys/fs/cgroup/plain/memory.events", 9000),
                mask: 2,
            },
        ),
        (
            Some(shim),
            EventKind::WatchFound { instance: first, wd: 2, target: Target::default(), mask: 2 },
        ),
        (
            Some(shim),
            EventKind::ShimIdentified {
                id: CONTAINER.into(),
                namespace: "k8s.io".into(),
                version: Some("1.7.24".into()),
            },
        ),
        (
            Some(node),
            EventKind::ProgramIdentified {
                exe: Some("node".into()),
                arguments: vec!["server.js".into()],
            },
        ),
        (None, EventKind::Charged { charges: vec![charge].into() }),
        (
            Some(node),
            EventKind::InstanceCreated {
                instance: second,
                fd: 20,
                flags: 0o2_004_000,
                quota: quota(2, 128),
            },
        ),
        (
            Some(node),
            EventKind::WatchAdded {
                instance: second,
                fd: 20,
                wd: 1,
                target: target("/srv/app/ü\n", 12),
                mask: 0x3c6,
                quota: quota(2, 65_536),
            },
        ),
        (
            Some(node),
            EventKind::WatchFailed {
                instance: None,
                fd: 21,
                path: Some("/srv/none".into()),
                mask: 0x100,
                errno: 9,
                quota: None,
            },
        ),
        (
            Some(node),
            EventKind::WatchFailed {
                instance: Some(second),
                fd: 20,
                path: Some("/srv/more".into()),
                mask: 0x100,
                errno: 28,
                quota: quota(65_536, 65_536),
            },
        ),
        (
            Some(node),
            EventKind::CreateFailed {
                flags: 0,
                errno: 24,
                quota: quota(128, 128),
                files: Some(Files { used: Some(1024), limit: 1024 }),
            },
        ),
        (Some(node), EventKind::ProcessForked { child: 302 }),
        (Some(task(302, 1000, "node", POD)), EventKind::ProcessExec { kept: Some(vec![20, 22]) }),
        (Some(task(302, 1000, "sh", POD)), EventKind::ProcessExec { kept: None }),
        (
            Some(task(302, 1000, "sh", POD)),
            EventKind::DescriptorClosed { instance: second, fd: 20, left: 1, quota: quota(2, 128) },
        ),
        (
            Some(node),
            EventKind::WatchRemoved {
                instance: second,
                fd: Some(20),
                wd: 1,
                quota: quota(1, 65_536),
            },
        ),
        (
            None,
            EventKind::WatchRemoved { instance: first, fd: None, wd: 1, quota: quota(0, 65_536) },
        ),
        (None, EventKind::CgroupRemoved { cgroup: PLAIN }),
        (None, EventKind::CgroupCreated { cgroup: CgroupId(78), path: "/new".into() }),
        (None, EventKind::CgroupRenamed { cgroup: CgroupId(78), path: "/newer".into() }),
        // It lets go at once, which says how long such processes hold instances.
        (Some(tail), EventKind::InstanceCreated { instance: third, fd: 3, flags: 0, quota: None }),
        (Some(tail), EventKind::InstanceReleased { instance: third, fd: Some(3), quota: None }),
        lost(5, Loss::Events),
        lost(1, Loss::Holders),
        lost(2, Loss::Calls),
        lost(u64::MAX, Loss::Runs),
        lost(3, Loss::Records),
    ]
}

/// After the rotation, which leaves a state that knows all of this.
fn ending() -> Vec<(Option<Task>, EventKind)> {
    let node = task(301, 1000, "node", POD);
    let first = InstanceId(1);
    vec![
        (Some(node), EventKind::RangeClosed { first: 3, last: i32::MAX }),
        (None, EventKind::InstanceHeld { instance: first, left: 2, quota: quota(2, 128) }),
        (
            None,
            EventKind::QueueOverflowed {
                instance: first,
                queued: 16_385,
                limit: 16_384,
                was_seen: true,
            },
        ),
        (
            Some(node),
            EventKind::InstanceReleased {
                instance: InstanceId(2),
                fd: Some(20),
                quota: quota(1, 128),
            },
        ),
        (Some(task(302, 1000, "sh", POD)), EventKind::ProcessExited),
        (None, EventKind::InstanceReleased { instance: first, fd: None, quota: quota(0, 128) }),
    ]
}

fn record(
    writer: &mut Writer,
    tracker: &mut Tracker,
    from: u64,
    story: Vec<(Option<Task>, EventKind)>,
) {
    for (at, (task, kind)) in (from..).zip(story) {
        // One is seen later than it happened.
        let early = if matches!(kind, EventKind::ProcessExited) { 2 * SECOND } else { 0 };
        let time = at * 10 * SECOND + at;
        let event = Event { time: BootTime(time - early), task, kind };
        tracker.apply(&event);
        let batch = Batch { time: BootTime(time + 1000), judged: true, events: vec![event] };
        writer.batch(batch).unwrap();
    }
}

#[test]
fn the_fixture_has_everything() {
    let mut seen = [false; samples::KINDS];
    for (_, kind) in story().iter().chain(&ending()) {
        seen[samples::which(kind)] = true;
    }
    assert_eq!(seen, [true; samples::KINDS]);
    let mut tracker = Tracker::new();
    for (task, kind) in story() {
        tracker.apply(&Event { time: BootTime(1), task, kind });
    }
    let mut kinds = [0; 7];
    for part in tracker.parts() {
        kinds[match part {
            Part::Cgroup { .. } => 0,
            Part::Names { .. } => 1,
            Part::Account { .. } => 2,
            Part::Process(_) => 3,
            Part::Instance(_) => 4,
            Part::Watches { .. } => 5,
            Part::Ended { .. } => 6,
            // The state is small.
            Part::Forgotten(_) => unreachable!(),
        }] += 1;
    }
    assert!(!kinds.contains(&0), "{kinds:?}");
}

#[test]
#[ignore = "rewrites tests/recordings/v1, which nobody may once 0.1 is released"]
fn remake_fixture() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/v1/");
    let _ = fs::remove_dir_all(&directory);
    // Over as soon as it has anything; the next has its state, and as much again to go.
    let rotation = Rotation { size: Some(1), ..Rotation::default() };
    let store = Store::new(&directory, rotation).unwrap();
    let mut writer = Writer::new(store, header(), Duration::from_secs(3600)).unwrap();
    let mut tracker = Tracker::new();
    record(&mut writer, &mut tracker, 8, story());
    writer.restart(BootTime(390 * SECOND), tracker.parts()).unwrap();
    assert_eq!(writer.totals.files, 2);
    record(&mut writer, &mut tracker, 40, ending());
    // As if the disk had been full for a moment.
    writer.miss(3);
    writer.restart(BootTime(450 * SECOND), tracker.parts()).unwrap();
    let (_, result) = writer.finish(Some(BootTime(460 * SECOND)));
    result.unwrap();
}
