//! The tracker against a naive model that keeps nothing but the list of events, and against a
//! few histories written by hand.

mod endings;
mod memory;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    event::{BootTime, CgroupId, EventName, Loss, Target, Task},
    identity::{Container, Names},
};

/// A process that is about to do something.
fn task(pid: u32) -> Task {
    Task { pid, tid: pid, uid: 0, comm: "test".into(), cgroup: CgroupId(1), ..Task::default() }
}

/// A descriptor in the table of a process.
fn held(pid: u32, fd: i32) -> Descriptor {
    Descriptor { pid, table: None, fd }
}

fn by(pid: u32, kind: EventKind) -> Event {
    Event { time: BootTime(u64::from(pid)), task: Some(task(pid)), kind }
}

fn created(pid: u32, fd: i32, id: u64) -> Event {
    by(pid, EventKind::InstanceCreated { instance: InstanceId(id), fd, flags: 0, quota: None })
}

fn found(pid: u32, fd: i32, id: u64) -> Event {
    let kind = EventKind::InstanceFound {
        instance: InstanceId(id),
        fd,
        flags: 0,
        creator_cgroup: CgroupId(0),
        queued: 0,
        quota: None,
    };
    by(pid, kind)
}

fn closed(pid: u32, fd: i32, id: u64) -> Event {
    by(pid, EventKind::DescriptorClosed { instance: InstanceId(id), fd, left: 1, quota: None })
}

fn released(pid: u32, fd: i32, id: u64) -> Event {
    let kind = EventKind::InstanceReleased { instance: InstanceId(id), fd: Some(fd), quota: None };
    by(pid, kind)
}

fn gone(id: u64) -> Event {
    let kind = EventKind::InstanceReleased { instance: InstanceId(id), fd: None, quota: None };
    Event { time: BootTime(1_000_000), task: None, kind }
}

fn watched(pid: u32, wd: i32, id: u64, path: Option<&str>, inode: u64) -> Event {
    let target = Target { path: path.map(Into::into), inode, ..Target::default() };
    let instance = InstanceId(id);
    by(pid, EventKind::WatchAdded { instance, fd: 3, wd, target, mask: 2, quota: None })
}

/// The same by another descriptor.
fn with_fd(mut event: Event, new: i32) -> Event {
    match &mut event.kind {
        EventKind::WatchAdded { fd, .. } | EventKind::WatchRemoved { fd: Some(fd), .. } => {
            *fd = new
        }
        other => panic!("{other:?}"),
    }
    event
}

fn unwatched(pid: u32, wd: i32, id: u64) -> Event {
    by(pid, EventKind::WatchRemoved { instance: InstanceId(id), fd: Some(3), wd, quota: None })
}

fn tracker_after(events: &[Event]) -> Tracker {
    let mut tracker = Tracker::new();
    for event in events {
        tracker.apply(event);
    }
    tracker
}

#[test]
fn an_instance_lives_from_its_creation_to_its_release() {
    let tracker = tracker_after(&[created(10, 3, 1), created(10, 4, 2), released(10, 3, 1)]);
    let open: Vec<_> = tracker.instances().map(|instance| instance.id).collect();
    assert_eq!(open, [InstanceId(2)]);
    let summary = tracker.summary();
    assert_eq!((summary.count(EventName::Create), summary.count(EventName::Release)), (2, 1));
    assert_eq!(summary.open, 1);
}

#[test]
fn what_an_exec_kept_is_still_held() {
    let mut tracker = tracker_after(&[created(10, 3, 1), created(10, 4, 2)]);
    tracker.apply(&by(10, EventKind::ProcessExec { kept: Some(vec![4]) }));
    assert!(tracker.instance(InstanceId(1)).unwrap().descriptors().is_empty());
    assert_eq!(tracker.instance(InstanceId(2)).unwrap().descriptors(), [held(10, 4)]);
    // The descriptors could not be read, and it was not created close-on-exec.
    tracker.apply(&by(10, EventKind::ProcessExec { kept: None }));
    assert_eq!(tracker.instance(InstanceId(2)).unwrap().descriptors(), [held(10, 4)]);
}

#[test]
fn an_exec_nobody_could_look_at_takes_what_was_made_close_on_exec() {
    let (instance, flags) = (InstanceId(1), 0o2_000_000);
    let made = by(10, EventKind::InstanceCreated { instance, fd: 3, flags, quota: None });
    let mut tracker = tracker_after(&[made]);
    tracker.apply(&by(10, EventKind::ProcessExec { kept: None }));
    tracker.apply(&by(10, EventKind::ProcessExited));
    let leavers = &tracker.instance(instance).unwrap().leavers;
    assert_eq!(leavers.iter().map(|it| it.how).collect::<Vec<_>>(), [Departure::Executed]);
}

#[test]
fn found_descriptors_of_one_instance_are_one_instance() {
    let tracker = tracker_after(&[found(10, 3, 1), found(11, 3, 1), found(11, 7, 1)]);
    let instance = tracker.instance(InstanceId(1)).unwrap();
    assert_eq!(instance.descriptors(), [held(10, 3), held(11, 3), held(11, 7)]);
    assert_eq!(tracker.instances().count(), 1);
}

#[test]
fn whoever_uses_an_instance_holds_it() {
    // A copy that dup(2) made, which is not seen; then the first descriptor is closed.
    let tracker = tracker_after(&[
        created(10, 3, 1),
        with_fd(watched(10, 1, 1, Some("/a"), 7), 50),
        closed(10, 3, 1),
        with_fd(watched(11, 2, 1, Some("/b"), 8), 4),
    ]);
    let instance = tracker.instance(InstanceId(1)).unwrap();
    assert_eq!(instance.descriptors(), [held(10, 50), held(11, 4)]);
}

#[test]
fn news_about_a_watch_does_not_wipe_out_what_was_known() {
    let mut tracker = tracker_after(&[created(10, 3, 1), watched(10, 1, 1, Some("/a"), 77)]);
    // The same inode again, by another name, from a hook that could not see the inode.
    tracker.apply(&watched(10, 1, 1, Some("/b"), 0));
    let watch = &tracker.instance(InstanceId(1)).unwrap().watches()[&1];
    assert_eq!((watch.target.path.as_deref(), watch.target.inode), (Some("/b"), 77));
    // And from a snapshot, which knows no path.
    tracker.apply(&watched(10, 1, 1, None, 77));
    let watch = &tracker.instance(InstanceId(1)).unwrap().watches()[&1];
    assert_eq!(watch.target.path.as_deref(), Some("/b"));
}

#[test]
fn losses_add_up() {
    let lost = |count| Event {
        time: BootTime(0),
        task: None,
        kind: EventKind::Lost { count, what: Loss::Events },
    };
    let tracker = tracker_after(&[lost(2), lost(5)]);
    assert_eq!(tracker.summary().lost["events"], 7);
}

/// The truth by brute force: walks the whole list of events for each question.
struct Model<'a>(&'a [Event]);

impl Model<'_> {
    fn open(&self) -> BTreeSet<u64> {
        let mut open = BTreeSet::new();
        for event in self.0 {
            match event.kind {
                EventKind::InstanceCreated { instance, .. }
                | EventKind::InstanceFound { instance, .. } => _ = open.insert(instance.0),
                EventKind::InstanceReleased { instance, .. } => _ = open.remove(&instance.0),
                _ => {}
            }
        }
        open
    }

    /// Process, descriptor and instance, for every descriptor there is.
    fn descriptors(&self) -> BTreeSet<(u32, i32, u64)> {
        let mut held: Vec<(u32, i32, u64)> = Vec::new();
        for event in self.0 {
            let pid = event.task.map_or(0, |task| task.pid);
            match &event.kind {
                EventKind::InstanceCreated { instance, fd, .. }
                | EventKind::InstanceFound { instance, fd, .. } => {
                    held.retain(|&(p, f, _)| (p, f) != (pid, *fd));
                    held.push((pid, *fd, instance.0));
                }
                EventKind::DescriptorClosed { instance, fd, .. } => {
                    held.retain(|&it| it != (pid, *fd, instance.0));
                }
                EventKind::InstanceReleased { instance, .. } => {
                    held.retain(|&(_, _, id)| id != instance.0);
                }
                EventKind::RangeClosed { first, last } => {
                    held.retain(|&(p, fd, _)| p != pid || fd < *first || fd > *last);
                }
                EventKind::ProcessForked { child } => {
                    let inherited: Vec<_> = held
                        .iter()
                        .filter(|&&(p, ..)| p == pid)
                        .map(|&(_, fd, id)| (*child, fd, id))
                        .collect();
                    held.extend(inherited);
                }
                EventKind::ProcessExec { kept: Some(kept) } => {
                    held.retain(|(p, fd, _)| *p != pid || kept.contains(fd));
                }
                EventKind::ProcessExited => held.retain(|&(p, ..)| p != pid),
                _ => {}
            }
        }
        held.into_iter().collect()
    }

    fn watches(&self) -> BTreeMap<u64, BTreeSet<i32>> {
        let open = self.open();
        let mut watches: BTreeMap<u64, BTreeSet<i32>> = BTreeMap::new();
        for event in self.0 {
            match event.kind {
                EventKind::WatchAdded { instance, wd, .. } => {
                    watches.entry(instance.0).or_default().insert(wd);
                }
                EventKind::WatchRemoved { instance, wd, .. } => {
                    watches.entry(instance.0).or_default().remove(&wd);
                }
                _ => {}
            }
        }
        watches.retain(|id, wds| open.contains(id) && !wds.is_empty());
        watches
    }
}

/// What a step of a made-up history does; numbers pick among what there is at that point.
#[derive(Clone, Debug)]
enum Step {
    Create { pid: usize, fd: i32 },
    Find { pid: usize, fd: i32, descriptor: usize },
    Watch { descriptor: usize, wd: i32 },
    Unwatch { descriptor: usize, wd: i32 },
    Close { descriptor: usize },
    CloseRange { pid: usize, first: i32, last: i32 },
    Fork { pid: usize },
    Exec { pid: usize, keep: usize },
    Exit { pid: usize },
    NoticeGone,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (pid, fd, wd) = (0_usize..6, 3..9_i32, 1..5_i32);
    prop_oneof![
        4 => (pid.clone(), fd.clone()).prop_map(|(pid, fd)| Create { pid, fd }),
        1 => (pid.clone(), fd.clone(), any::<usize>())
            .prop_map(|(pid, fd, descriptor)| Find { pid, fd, descriptor }),
        4 => (any::<usize>(), wd.clone()).prop_map(|(descriptor, wd)| Watch { descriptor, wd }),
        2 => (any::<usize>(), wd).prop_map(|(descriptor, wd)| Unwatch { descriptor, wd }),
        3 => any::<usize>().prop_map(|descriptor| Close { descriptor }),
        1 => (pid.clone(), fd.clone(), fd)
            .prop_map(|(pid, a, b)| CloseRange { pid, first: a.min(b), last: a.max(b) }),
        2 => pid.clone().prop_map(|pid| Fork { pid }),
        1 => (pid.clone(), any::<usize>()).prop_map(|(pid, keep)| Exec { pid, keep }),
        1 => pid.prop_map(|pid| Exit { pid }),
        3 => Just(NoticeGone),
    ]
}

/// Plays the steps as a kernel would: pids and instances are never used twice, an instance ends
/// with its last descriptor, and ends that no close tells are noticed later.
fn history(steps: Vec<Step>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut pids: Vec<u32> = (100..106).collect();
    let (mut next_pid, mut next_id) = (200, 1);
    for step in steps {
        let held: Vec<_> = Model(&events).descriptors().into_iter().collect();
        let is_free = |pid, fd| !held.iter().any(|&(p, f, _)| (p, f) == (pid, fd));
        match step {
            Step::Create { pid, fd } if is_free(pids[pid], fd) => {
                events.push(created(pids[pid], fd, next_id));
                next_id += 1;
            }
            Step::Find { pid, fd, descriptor } if !held.is_empty() && is_free(pids[pid], fd) => {
                events.push(found(pids[pid], fd, held[descriptor % held.len()].2));
            }
            Step::Watch { descriptor, wd } if !held.is_empty() => {
                let (pid, fd, id) = held[descriptor % held.len()];
                events.push(with_fd(watched(pid, wd, id, Some("/x"), 5), fd));
            }
            Step::Unwatch { descriptor, wd } if !held.is_empty() => {
                let (pid, fd, id) = held[descriptor % held.len()];
                events.push(with_fd(unwatched(pid, wd, id), fd));
            }
            Step::Close { descriptor } if !held.is_empty() => {
                let (pid, fd, id) = held[descriptor % held.len()];
                let holders = held.iter().filter(|&&(_, _, other)| other == id).count();
                events.push(if holders > 1 { closed(pid, fd, id) } else { released(pid, fd, id) });
            }
            Step::CloseRange { pid, first, last } => {
                events.push(by(pids[pid], EventKind::RangeClosed { first, last }));
            }
            Step::Fork { pid } => {
                events.push(by(pids[pid], EventKind::ProcessForked { child: next_pid }));
                pids[pid] = next_pid;
                next_pid += 1;
            }
            Step::Exec { pid, keep } => {
                let pid = pids[pid];
                let own = held.iter().filter(|&&(p, ..)| p == pid).map(|&(_, fd, _)| fd);
                let kept = own.enumerate().filter(|(n, _)| keep >> n & 1 == 1).map(|(_, fd)| fd);
                events.push(by(pid, EventKind::ProcessExec { kept: Some(kept.collect()) }));
            }
            Step::Exit { pid } => {
                events.push(by(pids[pid], EventKind::ProcessExited));
                pids[pid] = next_pid;
                next_pid += 1;
            }
            Step::NoticeGone => {
                let held: BTreeSet<_> = held.iter().map(|&(_, _, id)| id).collect();
                let open = Model(&events).open();
                events.extend(open.difference(&held).map(|&id| gone(id)));
            }
            _ => {}
        }
    }
    events
}

/// The same, of a process with a shim's name.
fn by_shim(event: Event) -> Event {
    let task = event.task.map(|task| Task { comm: "containerd-shim".into(), ..task });
    Event { task, ..event }
}

fn identified(pid: u32) -> Event {
    let (id, namespace, version) = ("4fa3".into(), "k8s.io".into(), None);
    by(pid, EventKind::ShimIdentified { id, namespace, version })
}

#[test]
fn a_shim_is_identified_once_however_often_it_holds_nothing() {
    let mut tracker = tracker_after(&[by_shim(created(7, 3, 1)), identified(7)]);
    let is_shim = |tracker: &Tracker| tracker.process(7).map(|process| process.shim.is_some());
    for id in 1..100 {
        assert_eq!(is_shim(&tracker), Some(true));
        tracker.apply(&released(7, 3, id));
        assert_eq!((is_shim(&tracker), tracker.processes().count()), (None, 0));
        // Whoever begins to read here knows it as well.
        let mut restored = Tracker::new();
        tracker.parts().into_iter().for_each(|part| restored.restore(part));
        for tracker in [&mut tracker, &mut restored] {
            tracker.apply(&by_shim(created(7, 3, id + 1)));
        }
        assert_eq!(is_shim(&restored), Some(true));
    }
    // Another program, another process of the same number, and a process that may be one.
    let lost = Event { task: None, ..by(7, EventKind::Lost { count: 1, what: Loss::Events }) };
    for end in [by(7, EventKind::ProcessExec { kept: None }), by(7, EventKind::ProcessExited), lost]
    {
        let mut tracker = tracker_after(&[created(7, 3, 1), identified(7), released(7, 3, 1)]);
        tracker.apply(&end);
        tracker.apply(&created(7, 3, 2));
        assert_eq!(is_shim(&tracker), Some(false), "{end:?}");
    }
}

#[test]
fn shims_that_hold_nothing_are_kept_within_bounds() {
    let pids = 1..=3 * IDLE_SHIMS as u32;
    let of = |pid| [created(pid, 3, pid.into()), identified(pid), released(pid, 3, pid.into())];
    let tracker = tracker_after(&pids.flat_map(of).collect::<Vec<_>>());
    assert_eq!((tracker.processes.len(), tracker.idle_shims.len()), (IDLE_SHIMS, IDLE_SHIMS));
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(steps in vec(step(), 0..60)) {
        let events = history(steps);
        let tracker = tracker_after(&events);
        let model = Model(&events);

        let open: BTreeSet<_> = tracker.instances().map(|instance| instance.id.0).collect();
        prop_assert_eq!(&open, &model.open());
        prop_assert_eq!(tracker.summary().open, open.len());

        let by_instance: BTreeSet<_> = tracker
            .instances()
            .flat_map(|it| it.descriptors().iter().map(move |held| (held.pid, held.fd, it.id.0)))
            .collect();
        prop_assert_eq!(&by_instance, &model.descriptors());
        let by_process: BTreeSet<_> = tracker
            .processes()
            .flat_map(|it| it.descriptors.iter().map(move |(&(_, fd), id)| (it.task.pid, fd, id.0)))
            .collect();
        prop_assert_eq!(by_process, by_instance);
        prop_assert!(tracker.processes().all(|process| !process.descriptors.is_empty()));

        let watches: BTreeMap<_, BTreeSet<_>> = tracker
            .instances()
            .map(|it| (it.id.0, it.watches().keys().copied().collect::<BTreeSet<_>>()))
            .filter(|(_, wds)| !wds.is_empty())
            .collect();
        prop_assert_eq!(watches, model.watches());
    }

    /// Where events are missing, what comes does not fit what is known: nothing may break, and
    /// what was released stays so.
    #[test]
    fn survives_missing_events(steps in vec(step(), 0..60), missing in vec(any::<bool>(), 600)) {
        let events: Vec<_> = history(steps)
            .into_iter()
            .zip(missing)
            .filter_map(|(event, missing)| (!missing).then_some(event))
            .collect();
        let tracker = tracker_after(&events);
        let open: BTreeSet<_> = tracker.instances().map(|instance| instance.id.0).collect();
        prop_assert_eq!(open, Model(&events).open());
    }
}

proptest! {
    /// State that was taken apart and put together again goes on as if nothing had been.
    #[test]
    fn can_be_put_together_from_its_parts(steps in vec(step(), 0..60), at in any::<usize>()) {
        let events = history(steps);
        let (before, after) = events.split_at(at % (events.len() + 1));
        let mut tracker = tracker_after(before);
        let mut restored = Tracker::new();
        tracker.parts().into_iter().for_each(|part| restored.restore(part));
        for event in after {
            tracker.apply(event);
            restored.apply(event);
            prop_assert_eq!(tracker.subject(event), restored.subject(event));
        }
        prop_assert_eq!(tracker.parts(), restored.parts());
    }
}

#[test]
fn parts_hold_what_paths_do_not_tell() {
    let own = CgroupId(7);
    let runtime = Some(crate::identity::Runtime::Runc);
    let id = "web".to_owned();
    let container = Container { runtime, id, pod: None, qos: None, outer: None };
    let found = |id, path: &str| EventKind::CgroupFound { cgroup: CgroupId(id), path: path.into() };
    let told = EventKind::ContainerNamed {
        cgroup: own,
        container: Some(Box::new(container.clone())),
        names: Box::default(),
    };
    let tracker = tracker_after(&[
        by(1, found(7, "/mine")),
        by(1, told),
        by(1, found(8, "/mine/gone")),
        by(9, EventKind::CgroupRemoved { cgroup: CgroupId(8) }),
    ]);
    let mut restored = Tracker::new();
    tracker.parts().into_iter().for_each(|part| restored.restore(part));
    assert_eq!(restored.parts(), tracker.parts());
    // And it goes on so.
    restored.apply(&by(10, found(9, "/mine/new")));
    for id in [7, 8, 9] {
        let cgroup = restored.cgroups().get(CgroupId(id)).unwrap();
        assert_eq!(cgroup.container.as_ref(), Some(&container), "{id}");
    }
}

#[test]
fn parts_hold_what_is_known_of_cgroups_and_users() {
    let (pod, gone) = (CgroupId(7), CgroupId(8));
    let id = "a".repeat(64);
    let path = format!("/kubepods/pod1/{id}");
    let names = Names { name: Some("web".to_owned()), ..Names::default() };
    let quota = Quota::own(3, 128, 5, 9);
    let charge = Charge { uid: 5, userns: 9, instances: Some(quota.into()), watches: None };
    let failed = EventKind::CreateFailed { flags: 0, errno: 24, quota: Some(quota), files: None };
    let tracker = tracker_after(&[
        by(1, EventKind::CgroupFound { cgroup: pod, path: path.as_str().into() }),
        by(
            1,
            EventKind::ContainerNamed {
                cgroup: pod,
                container: None,
                names: Box::new(names.clone()),
            },
        ),
        by(1, EventKind::CgroupCreated { cgroup: gone, path: "/gone".into() }),
        by(9, EventKind::CgroupRemoved { cgroup: gone }),
        by(1, EventKind::Charged { charges: Box::new([charge]) }),
        by(1, failed),
    ]);
    let mut restored = tracker_after(&[by(
        1,
        EventKind::CgroupFound { cgroup: CgroupId(99), path: "/of another time".into() },
    )]);
    restored.forget();
    tracker.parts().into_iter().for_each(|part| restored.restore(part));
    assert_eq!(restored.parts(), tracker.parts());
    assert_eq!(restored.cgroups().gone_since(gone), Some(Some(BootTime(9))));
    let container = restored.cgroups().get(pod).and_then(|it| it.container.as_ref()).unwrap();
    assert_eq!(restored.cgroups().names(container), Some(&names));
    assert_eq!(restored.cgroups().get(CgroupId(99)), None);
    let user = User { userns: 9, uid: 5 };
    assert_eq!(restored.users().get(user), tracker.users().get(user));
    assert_eq!(restored.summary().count(EventName::CgroupFound), 1, "what was counted stays");
}
