use super::*;
use crate::{
    container::Names,
    event::{Comm, Event, EventKind, Quota, Target, Task},
};

const SECOND: u64 = 1_000_000_000;

/// Seconds since boot.
pub(crate) fn at(seconds: u64) -> BootTime {
    BootTime(seconds * SECOND)
}

/// A machine to which things happen.
pub(crate) struct Story(pub(crate) Tracker);

impl Story {
    /// A machine with the root of its hierarchy and containerd's cgroup.
    pub(crate) fn new() -> Self {
        let mut story = Self(Tracker::new());
        story.cgroup(0, 1, "/").cgroup(0, 2, "/system.slice/containerd.service");
        story
    }

    pub(crate) fn tell(&mut self, seconds: u64, task: Option<Task>, kind: EventKind) -> &mut Self {
        self.0.apply(&Event { time: at(seconds), task, kind });
        self
    }

    fn cgroup(&mut self, seconds: u64, id: u64, path: &str) -> &mut Self {
        let (cgroup, path) = (CgroupId(id), path.into());
        self.tell(seconds, None, EventKind::CgroupCreated { cgroup, path })
    }

    fn container(&mut self, seconds: u64, id: u64) -> &mut Self {
        let name = format!("{id:0>64}");
        self.cgroup(seconds, id, &format!("/kubepods/burstable/podx/cri-containerd-{name}.scope"))
    }

    /// A container of the pod that the shim serves: the sandbox is number 10.
    pub(crate) fn of_pod(&mut self, seconds: u64, id: u64) -> &mut Self {
        let pod = "pod2c48913c-b29f-11e7-9350-020968147796";
        self.cgroup(seconds, id, &format!("/kubepods/burstable/{pod}/{id:0>64}"))
    }

    /// The pod's sandbox and its shim, which holds an instance for it; both have names.
    pub(crate) fn pod(version: Option<&str>) -> Self {
        let mut story = Self::new();
        story.of_pod(0, 10).create(0, shim(), 1).watch(0, shim(), 1, Ok(10));
        let names = Names {
            pod_name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            is_sandbox: true,
            ..Names::default()
        };
        let cgroup = CgroupId(10);
        story.tell(
            0,
            None,
            EventKind::ContainerNamed { cgroup, container: None, names: names.into() },
        );
        let (id, namespace) = (format!("{:0>64}", 10).into(), "k8s.io".into());
        let version = version.map(Into::into);
        story.tell(0, Some(shim()), EventKind::ShimIdentified { id, namespace, version });
        story
    }

    /// A container of that pod lives for three seconds, and its instance for ever.
    pub(crate) fn restart(&mut self, seconds: u64, id: u64) -> &mut Self {
        self.of_pod(seconds, id).create(seconds, shim(), id).watch(seconds, shim(), id, Ok(id));
        self.remove(seconds + 3, id)
    }

    /// An instance of the shim that the kernel had emptied before it was found.
    pub(crate) fn emptied(&mut self, seconds: u64, instance: u64) -> &mut Self {
        let (instance, fd) = (InstanceId(instance), i32::try_from(instance).unwrap());
        let (flags, creator_cgroup, queued) = (0, CgroupId(0), 1);
        let quota = Some(Quota { used: 9, limit: 128, uid: 0, userns: 1, level: 0 });
        let kind = EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota };
        self.tell(seconds, Some(shim()), kind)
    }

    pub(crate) fn remove(&mut self, seconds: u64, id: u64) -> &mut Self {
        self.tell(seconds, None, EventKind::CgroupRemoved { cgroup: CgroupId(id) })
    }

    pub(crate) fn create(&mut self, seconds: u64, task: Task, instance: u64) -> &mut Self {
        let quota = Some(Quota { used: 28, limit: 128, uid: 0, userns: 1, level: 0 });
        let fd = i32::try_from(instance).unwrap();
        let instance = InstanceId(instance);
        self.tell(seconds, Some(task), EventKind::InstanceCreated { instance, fd, flags: 0, quota })
    }

    /// A watch on the file of a cgroup, or on something else.
    pub(crate) fn watch(
        &mut self,
        seconds: u64,
        task: Task,
        instance: u64,
        on: Result<u64, &str>,
    ) -> &mut Self {
        let path = on.map_or_else(str::to_owned, |_| "/sys/fs/cgroup/x/memory.events".to_owned());
        let cgroup = CgroupId(on.unwrap_or(0));
        let target = Target { path: Some(path.into()), inode: 5, cgroup, ..Target::default() };
        let (instance, fd, wd, mask) = (InstanceId(instance), 3, 1, 2);
        let kind = EventKind::WatchAdded { instance, fd, wd, target, mask, quota: None };
        self.tell(seconds, Some(task), kind)
    }

    pub(crate) fn unwatch(&mut self, seconds: u64, instance: u64, fd: Option<i32>) -> &mut Self {
        let instance = InstanceId(instance);
        self.tell(seconds, None, EventKind::WatchRemoved { instance, fd, wd: 1, quota: None })
    }

    fn release(&mut self, seconds: u64, task: Task, instance: u64) -> &mut Self {
        let kind = EventKind::InstanceReleased {
            instance: InstanceId(instance),
            fd: Some(i32::try_from(instance).unwrap()),
            quota: None,
        };
        self.tell(seconds, Some(task), kind)
    }

    pub(crate) fn verdicts(&self, seconds: u64) -> Vec<Verdict> {
        verdicts(&self.0, at(seconds), &Grace::default())
    }

    /// Kind, process and how many instances of each verdict.
    fn short(&self, seconds: u64) -> Vec<(Kind, u32, usize)> {
        self.verdicts(seconds).iter().map(|it| (it.kind, it.pid, it.evidence.len())).collect()
    }
}

/// A process in containerd's cgroup.
fn task(pid: u32, comm: &str) -> Task {
    Task { pid, tid: pid, uid: 0, comm: Comm::from(comm), cgroup: CgroupId(2) }
}

pub(crate) fn shim() -> Task {
    task(100, "containerd-shim")
}

#[test]
fn a_shim_that_keeps_what_watched_a_removed_container_leaks() {
    let mut story = Story::new();
    // The pod's own container lives on.
    story.container(0, 10).create(0, shim(), 1).watch(0, shim(), 1, Ok(10));
    for restart in 1..=8 {
        let (id, start) = (10 + restart, 5 * restart);
        story.container(start, id).create(start, shim(), 1 + restart);
        story.watch(start, shim(), 1 + restart, Ok(id)).remove(start + 3, id);
    }
    // The first was removed at 8 s.
    assert_eq!(story.short(37), []);
    assert_eq!(story.short(38), [(Kind::TargetGone, 100, 1)]);
    assert_eq!(story.short(73), [(Kind::TargetGone, 100, 8)]);
    let [verdict] = &story.verdicts(80)[..] else { panic!("one verdict") };
    assert_eq!(verdict.pattern.unwrap().name, "containerd#5670");
    assert_eq!((verdict.since(), verdict.confidence()), (at(8), Confidence::Certain));
    assert_eq!(verdict.evidence[7].cgroups, [CgroupId(18)]);
    let growth = verdict.growth.unwrap();
    assert!((growth.per_minute - 12.0).abs() < 0.01, "{growth:?}");
    assert_eq!(growth.left, Some(100));
    // It is withdrawn when they are closed.
    for instance in 2..=9 {
        story.release(90, shim(), instance);
    }
    assert_eq!(story.short(100), []);
}

#[test]
fn one_that_the_kernel_emptied_leaks_as_well() {
    let mut story = Story::new();
    story.container(0, 10).create(0, shim(), 1).watch(0, shim(), 1, Ok(10));
    story.remove(3, 10).unwatch(3, 1, None);
    assert_eq!(story.short(32), []);
    assert_eq!(story.short(33), [(Kind::TargetGone, 100, 1)]);
}

#[test]
fn a_shim_that_closes_in_time_does_not() {
    let mut story = Story::new();
    for restart in 0..50 {
        let (id, start) = (10 + restart, 5 * restart);
        story.container(start, id).create(start, shim(), restart + 1);
        story.watch(start, shim(), restart + 1, Ok(id)).remove(start + 3, id);
        story.release(start + 4, shim(), restart + 1);
        assert_eq!(story.short(start + 4), []);
    }
    assert_eq!(story.short(10_000), []);
}

#[test]
fn a_watcher_of_a_file_that_is_gone_does_not() {
    let tail = task(7, "tail");
    let mut story = Story::new();
    story.create(0, tail, 1).watch(0, tail, 1, Err("/var/log/app.log"));
    story.unwatch(10, 1, None);
    assert_eq!(story.short(500), []);
    story.watch(550, tail, 1, Err("/var/log/app.log"));
    assert_eq!(story.short(5000), []);
    // Left without a watch for long it is odd, but no leak.
    story.unwatch(5000, 1, None);
    assert_eq!(story.short(5599), []);
    assert_eq!(story.short(5600), [(Kind::Idle, 7, 1)]);
}

#[test]
fn who_took_a_watch_off_has_other_plans() {
    let kubelet = task(8, "kubelet");
    let mut story = Story::new();
    story.container(0, 10).create(0, kubelet, 1).watch(0, kubelet, 1, Ok(10));
    story.unwatch(1, 1, Some(3)).remove(2, 10);
    assert_eq!(story.short(100), []);
}

#[test]
fn who_watches_many_cgroups_serves_none_in_particular() {
    let advisor = task(9, "cadvisor");
    let mut story = Story::new();
    story.create(0, advisor, 1);
    for id in 10..60 {
        story.container(id, id).watch(id, advisor, 1, Ok(id)).remove(id + 1, id);
    }
    assert_eq!(story.short(1000), []);
}

#[test]
fn what_a_removed_container_made_is_held_outside() {
    let app = Task { cgroup: CgroupId(10), ..task(20, "app") };
    let keeper = task(30, "keeper");
    let mut story = Story::new();
    story.container(0, 10).create(0, app, 1).watch(0, app, 1, Err("/etc"));
    let (instance, fd, flags, queued, quota) = (InstanceId(1), 5, 0, 0, None);
    let creator_cgroup = CgroupId(10);
    let found = EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota };
    story.tell(1, Some(keeper), found).tell(2, Some(app), EventKind::ProcessExited).remove(3, 10);
    assert_eq!(story.short(32), []);
    assert_eq!(story.short(33), [(Kind::ContainerGone, 30, 1)]);
}

#[test]
fn more_and_more_is_growth_and_a_burst_or_a_stable_number_is_not() {
    let (leaky, daemon, busy) = (task(1, "leaky"), task(2, "daemon"), task(3, "busy"));
    let mut story = Story::new();
    for number in 1..=40 {
        story.create(0, daemon, 1000 + number);
    }
    for number in 1..=20 {
        let time = 30 * number;
        story.create(time, leaky, number).watch(time, leaky, number, Err("/etc"));
        // As many, but it lets go of them.
        story.create(time, busy, 2000 + number).release(time + 20, busy, 2000 + number);
    }
    assert_eq!(story.short(601), [(Kind::Growing, 1, 20), (Kind::Idle, 2, 40)]);
    let growth = story.verdicts(601)[0].growth.unwrap();
    assert!((growth.per_minute - 2.0).abs() < 0.01, "{growth:?}");
    assert_eq!(growth.time_left(), Some(Duration::from_secs(3000)));
    // It stopped.
    assert!(story.short(1200).iter().all(|(kind, ..)| *kind != Kind::Growing));
}

#[test]
fn nothing_is_said_without_a_view_of_the_whole_hierarchy() {
    let mut story = Story(Tracker::new());
    story.create(0, shim(), 1).watch(0, shim(), 1, Ok(10));
    assert_eq!(story.short(100), []);
}

/// Containers that ended, instances of each, restarts left, and whether that is inferred.
fn restarts(story: &Story, seconds: u64) -> Option<(usize, f64, Option<u32>, bool)> {
    let verdicts = story.verdicts(seconds);
    let [verdict] = &verdicts[..] else { panic!("one verdict: {verdicts:?}") };
    let it = verdict.restarts?;
    assert_eq!(it.limit, it.left.map(|_| 128));
    Some((it.ended, it.per_restart, it.left, it.is_inferred))
}

#[test]
fn a_restart_costs_what_each_container_that_ended_has_left() {
    let mut story = Story::pod(None);
    for restart in 1..=8 {
        story.restart(10 * restart, 10 + restart);
    }
    // Of 128, 28 are used.
    assert_eq!(restarts(&story, 200), Some((8, 1.0, Some(100), false)));
    // Those that ended a moment ago are not counted either way.
    assert_eq!(restarts(&story, 63), Some((3, 1.0, Some(100), false)));
    // Others of that pod end without leaving anything, and others yet are of other pods.
    for id in 30..38 {
        story.of_pod(200, id).remove(201, id).container(200, 10 + id).remove(201, 10 + id);
    }
    assert_eq!(restarts(&story, 300), Some((16, 0.5, Some(200), false)));
}

#[test]
fn a_container_that_removes_cgroups_of_its_own_has_not_ended() {
    let mut story = Story::pod(None);
    story.restart(10, 11).of_pod(10, 12);
    let path = story.0.cgroups().get(CgroupId(12)).unwrap().path.to_string();
    story.cgroup(10, 13, &format!("{path}/init.scope")).remove(11, 13);
    assert_eq!(restarts(&story, 100), Some((1, 1.0, Some(100), false)));
}

#[test]
fn what_does_not_say_whom_it_served_costs_what_the_bug_does() {
    let mut story = Story::pod(None);
    for instance in 20..28 {
        story.emptied(5, instance);
    }
    assert_eq!(restarts(&story, 100), Some((8, 1.0, Some(119), true)));
}

#[test]
fn found_in_a_snapshot_each_cgroup_that_is_gone_was_a_container() {
    let mut story = Story::pod(None);
    for instance in 20..28 {
        story.emptied(5, instance).watch(5, shim(), instance, Ok(1000 + instance));
    }
    assert_eq!(restarts(&story, 100), Some((8, 1.0, Some(119), false)));
}

#[test]
fn who_serves_nobody_has_no_restarts() {
    let mut story = Story::new();
    let other = task(7, "other");
    story.container(0, 10).create(0, other, 1).watch(0, other, 1, Ok(10)).remove(3, 10);
    assert_eq!(restarts(&story, 100), None);
}

#[test]
fn a_watcher_says_when_a_verdict_can_be_due() {
    let mut story = Story::pod(None);
    let mut watcher = Watcher::new(Grace::default());
    let mut count = |story: &Story, time| {
        let is_due = watcher.is_due(time);
        (if is_due { watcher.reached(&story.0, time).len() } else { 0 }, watcher.due())
    };
    assert_eq!(count(&story, at(1)), (0, None));
    story.restart(10, 11).restart(20, 12);
    assert_eq!(count(&story, at(25)), (0, Some(at(43))));
    assert_eq!(count(&story, BootTime(at(43).0 - 1)), (0, Some(at(43))));
    // Too soon after the last time: what is due by now waits for the next.
    let next = BootTime(at(43).0 - 1 + 500_000_000);
    assert_eq!(count(&story, at(43)), (0, Some(next)));
    assert_eq!(count(&story, next), (1, Some(at(53))));
    assert_eq!(count(&story, at(53)), (1, None));
}
