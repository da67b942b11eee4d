//! A row of `patterns.json` is met by what its source describes, and by nothing close to it.

use std::collections::BTreeSet;

use super::{find_by_name, patterns};
use crate::{
    event::{CgroupId, Comm, Event, EventKind, InstanceId, Target, Task},
    identity::Names,
    testing::at,
    tracker::Tracker,
    verdict::{Confidence, Evidence},
};

const ROOT: CgroupId = CgroupId(1);
/// A service, or whatever else the process runs in.
const PLACE: CgroupId = CgroupId(2);
/// What the instances of a shim are for.
const POD: CgroupId = CgroupId(3);

/// A process whose instances are all alike.
#[derive(Clone)]
struct Scene {
    comm: &'static str,
    thread: &'static str,
    uid: u32,
    place: String,
    image: Option<&'static str>,
    exe: Option<&'static str>,
    arguments: &'static [&'static str],
    /// Whether it is identified as a shim, and of which version.
    shim: Option<Option<&'static str>>,
    /// The paths and masks of each instance's watches; those of a cgroup's files are of [`POD`].
    watches: Vec<(&'static str, u32)>,
    /// Whether the snapshot found the instances, which has names of cgroup files and no paths.
    was_found: bool,
}

impl Scene {
    fn of(comm: &'static str) -> Self {
        Self {
            comm,
            thread: comm,
            uid: 0,
            place: "/system.slice/app.service".to_owned(),
            image: None,
            exe: Some(comm),
            arguments: &[],
            shim: None,
            watches: Vec::new(),
            was_found: false,
        }
    }

    /// The known bug that a verdict of this kind on ten of its instances matches.
    fn pattern(&self, kind: &str) -> Option<&'static str> {
        let mut tracker = Tracker::new();
        let comm = Comm::from(self.comm);
        let task = Task { pid: 7, tid: 7, uid: self.uid, comm, cgroup: PLACE, ..Task::default() };
        let maker = Task { tid: 8, thread: Some(Comm::from(self.thread)), ..task };
        let mut tell = |task, kind| tracker.apply(&Event { time: at(1), task, kind });
        for (cgroup, path) in [(ROOT, "/"), (PLACE, &*self.place), (POD, "/kubepods/pod/app")] {
            tell(None, EventKind::CgroupCreated { cgroup, path: path.into() });
        }
        if let Some(image) = self.image {
            let names = Box::new(Names { image: Some(image.to_owned()), ..Names::default() });
            tell(None, EventKind::ContainerNamed { cgroup: PLACE, container: None, names });
        }
        for number in 1..=10 {
            let (instance, fd) = (InstanceId(number), number as i32);
            let (flags, quota, queued, creator_cgroup) = (0, None, 0, PLACE);
            if self.was_found {
                let found =
                    EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota };
                tell(Some(task), found);
            } else {
                tell(Some(maker), EventKind::InstanceCreated { instance, fd, flags, quota });
            }
            for (wd, &(path, mask)) in (1..).zip(&self.watches) {
                let name = path.rsplit('/').next().map(Into::into);
                let is_of_cgroup = path.starts_with("/sys/fs/cgroup/");
                let target = Target {
                    path: (!self.was_found).then(|| path.into()),
                    inode: 5,
                    cgroup: if is_of_cgroup { POD } else { CgroupId(0) },
                    file: name.filter(|_| self.was_found && is_of_cgroup),
                    ..Target::default()
                };
                tell(
                    Some(task),
                    if self.was_found {
                        EventKind::WatchFound { instance, wd, target, mask }
                    } else {
                        EventKind::WatchAdded { instance, fd, wd, target, mask, quota }
                    },
                );
            }
        }
        if let Some(version) = self.shim {
            let version = version.map(Into::into);
            let (id, namespace) = ("a1".into(), "k8s.io".into());
            tell(Some(task), EventKind::ShimIdentified { id, namespace, version });
        }
        let exe = self.exe.map(Into::into);
        let arguments = self.arguments.iter().map(|&it| it.into()).collect();
        tell(Some(task), EventKind::ProgramIdentified { exe, arguments });
        let evidence = |number| Evidence {
            instance: InstanceId(number),
            since: at(1),
            cgroups: vec![POD],
            was_found: self.was_found,
            confidence: Confidence::Certain,
        };
        let evidence: Vec<_> = (1..=10).map(evidence).collect();
        let process = tracker.process(7).unwrap();
        find_by_name(&tracker, kind, process, &evidence).map(|it| &*it.name)
    }
}

fn container() -> String {
    format!("/system.slice/docker-{}.scope", "a1".repeat(32))
}

/// A change that makes a scene another one, and the row that this one meets, if any.
type NearMiss = (fn(&mut Scene), Option<&'static str>);

/// A row with its kind, what it is met by, and what is close to that.
fn rows() -> Vec<(&'static str, &'static str, Scene, Vec<NearMiss>)> {
    const MEMORY: (&str, u32) = ("/sys/fs/cgroup/kubepods/pod/app/memory.events", 0x2);
    const CGROUP: (&str, u32) = ("/sys/fs/cgroup/kubepods/pod/app/cgroup.events", 0x2);
    /// As c-ares sets it: with IN_ONLYDIR.
    const RESOLVER: (&str, u32) = ("/etc", 0x0100_0182);
    const SHORT: Option<&str> = Some("containerd#5670");
    const RACE: Option<&str> = Some("containerd-exit-before-watch");
    const EITHER: Option<&str> = Some("containerd#5670 or containerd-exit-before-watch");
    let shim = |watches: &[_]| Scene {
        place: "/system.slice/containerd.service".to_owned(),
        exe: Some("containerd-shim-runc-v2"),
        shim: Some(None),
        watches: watches.to_vec(),
        ..Scene::of("containerd-shim")
    };
    let resolver =
        Scene { exe: Some("python3.13"), watches: vec![RESOLVER], ..Scene::of("gunicorn") };
    let java = |arguments, watches: &[_]| Scene {
        thread: "main",
        arguments,
        watches: watches.to_vec(),
        ..Scene::of("java")
    };
    let not_a_shim: Vec<NearMiss> = vec![
        (|it| it.shim = None, None),
        (|it| it.uid = 1000, None),
        (|it| it.place = container(), None),
        (|it| it.watches[0].1 = 0x4, None),
        (|it| it.watches.push(("/sys/fs/cgroup/kubepods/pod/app/pids.events", 0x2)), None),
        (|it| it.watches[0].0 = "/sys/fs/cgroup/kubepods/pod/app/pids.events", None),
    ];
    let and = |mut rest: Vec<NearMiss>, mut more: Vec<NearMiss>| {
        more.append(&mut rest);
        more
    };
    vec![
        (
            "containerd#5670",
            "target-gone",
            shim(&[MEMORY]),
            and(
                not_a_shim.clone(),
                vec![
                    (|it| it.was_found = true, SHORT),
                    (|it| it.shim = Some(Some("1.4.13")), SHORT),
                    (|it| it.watches = vec![CGROUP], None),
                    (|it| it.watches.push(CGROUP), RACE),
                    (|it| it.shim = Some(Some("1.7.24")), SHORT),
                ],
            ),
        ),
        (
            "containerd-exit-before-watch",
            "target-gone",
            shim(&[MEMORY, CGROUP]),
            and(
                not_a_shim,
                vec![
                    (|it| it.was_found = true, RACE),
                    (|it| it.shim = Some(Some("2.1.9")), RACE),
                    (|it| it.watches.truncate(1), SHORT),
                ],
            ),
        ),
        (
            "containerd#5670 or containerd-exit-before-watch",
            "target-gone",
            Scene { was_found: true, ..shim(&[]) },
            vec![
                (|it| it.shim = None, None),
                (|it| it.uid = 1000, None),
                (|it| it.place = container(), None),
                // Made by the shim in view: there is more to know, and nothing of this is known.
                (|it| it.was_found = false, None),
                // What watches tell, or the version.
                (|it| it.watches = vec![MEMORY], SHORT),
                (|it| it.watches = vec![MEMORY, CGROUP], RACE),
                (|it| it.watches = vec![CGROUP], None),
                (|it| it.shim = Some(Some("1.4.13")), SHORT),
                (|it| it.shim = Some(Some("1.5.11")), SHORT),
                (|it| it.shim = Some(Some("1.5.12")), None),
                (|it| it.shim = Some(Some("1.7.24")), None),
                (|it| it.shim = Some(Some("2.1.9")), None),
                (|it| it.shim = Some(Some("1.6.0-rc.1")), EITHER),
            ],
        ),
        (
            "calico#13727",
            "growing",
            Scene::of("calico-node"),
            vec![
                (|it| it.comm = "calico-typha", None),
                (|it| it.watches = vec![("/var/run/calico/endpoint-status", 0x3c0)], None),
            ],
        ),
        (
            "home-assistant#144457",
            "growing",
            Scene { arguments: &["homeassistant"], ..resolver.clone() },
            vec![
                (|it| it.arguments = &[], Some("aiodns#175")),
                (
                    |it| {
                        it.place = container();
                        it.image = Some("ghcr.io/home-assistant/home-assistant:stable");
                        it.arguments = &[];
                    },
                    Some("home-assistant#144457"),
                ),
                (
                    |it| {
                        it.place = container();
                        it.image = Some("ghcr.io/other/home-assistant-x:stable");
                        it.arguments = &[];
                    },
                    Some("aiodns#175"),
                ),
                (|it| it.watches = vec![("/config", 0x182)], None),
                (|it| it.watches = vec![("/etc", 0x2)], None),
            ],
        ),
        (
            "aiodns#175",
            "growing",
            resolver,
            vec![
                (|it| it.exe = None, None),
                (|it| it.exe = Some("curl"), None),
                (|it| it.watches = vec![("/etc", 0x180)], None),
                (|it| it.watches = vec![("/etc/app", 0x182)], None),
                (|it| it.watches.push(("/srv", 0x182)), None),
                (|it| it.watches.clear(), None),
                (|it| it.was_found = true, None),
            ],
        ),
        (
            "bun#21017",
            "growing",
            Scene { watches: vec![("/srv/app", 0xfff)], ..Scene::of("bun") },
            vec![(|it| it.exe = Some("node"), None), (|it| it.exe = None, None)],
        ),
        (
            "amazon-cloudwatch-agent#2195",
            "piling-up",
            Scene {
                place: "/system.slice/amazon-cloudwatch-agent.service".to_owned(),
                ..Scene::of("dbus-daemon")
            },
            vec![
                (|it| it.comm = "amazon-cloudwat", None),
                (|it| it.place = "/system.slice/telegraf.service".to_owned(), None),
                (|it| it.place += "-x", None),
            ],
        ),
        (
            "habitat#5416",
            "growing",
            Scene { thread: "user-config-wat", ..Scene::of("hab-sup") },
            vec![
                (|it| it.thread = "hab-sup", None),
                (|it| it.comm = "hab", None),
                (|it| it.was_found = true, None),
            ],
        ),
        (
            "cas#5352",
            "growing",
            java(&["cas.war"], &[("/etc/cas/config", 0x3c6)]),
            vec![
                (|it| it.arguments = &[], None),
                (|it| it.watches[0].1 = 0x2, None),
                (|it| it.watches.clear(), None),
            ],
        ),
        (
            "linkerd#1781",
            "growing",
            java(&["io.buoyant.linkerd.Main"], &[]),
            vec![
                (|it| it.arguments = &[], None),
                (|it| it.exe = None, None),
                (|it| it.watches = vec![("/disco", 0x3c6)], None),
            ],
        ),
        (
            "porymap#743",
            "growing",
            Scene { watches: vec![("/home/me/game/map.json", 0x806)], ..Scene::of("porymap") },
            vec![(|it| it.exe = Some("plasmashell"), None)],
        ),
        (
            "loco#1811",
            "growing",
            Scene { watches: vec![("/srv/app/assets/views", 0x3ce)], ..Scene::of("app-cli") },
            vec![
                (|it| it.watches = vec![("/srv/app/assets", 0x3ce)], None),
                (|it| it.was_found = true, None),
            ],
        ),
    ]
}

#[test]
fn each_row_is_met_by_its_bug_and_by_nothing_close_to_it() {
    for (name, kind, scene, near) in rows() {
        assert_eq!(scene.pattern(kind), Some(name));
        assert_eq!(scene.pattern("idle"), None, "{name}: another kind of verdict");
        for (number, (change, expected)) in near.into_iter().enumerate() {
            let mut changed = scene.clone();
            change(&mut changed);
            assert_eq!(changed.pattern(kind), expected, "{name}: change {number}");
        }
    }
}

#[test]
fn each_row_is_tested() {
    let tested: BTreeSet<_> = rows().into_iter().map(|(name, ..)| name).collect();
    let all: BTreeSet<_> = patterns().iter().map(|pattern| &*pattern.name).collect();
    assert_eq!(tested, all);
}

/// Whatever else is true of it, `python3` alone has no name.
#[test]
fn a_python_that_grows_is_no_known_program() {
    for watches in [vec![], vec![("/var/log", 0xfff)], vec![("/etc", 0xfff)]] {
        let scene = Scene { exe: Some("python3"), watches, ..Scene::of("python3") };
        assert_eq!(scene.pattern("growing"), None);
    }
}
