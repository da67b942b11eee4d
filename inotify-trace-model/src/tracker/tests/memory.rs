//! The state takes no more than it may, and what was forgotten leads to no verdict.

use crate::{
    event::{
        BootTime, CgroupId, Charge, Event, EventKind, InstanceId, Level, Loss, Quota, Target, Task,
    },
    feed::{Batch, Item},
    story::{Audience, Story},
    tracker::{Forgotten, Tracker, User, worth},
    verdict::{Grace, Kind, verdicts},
};

const CEILING: usize = 1 << 20;

fn event(time: u64, pid: u32, kind: EventKind) -> Event {
    let task = (pid != 0).then(|| Task { pid, tid: pid, comm: "x".into(), ..Task::default() });
    Event { time: BootTime(time), task, kind }
}

fn created(instance: u64, uid: u32) -> EventKind {
    EventKind::InstanceCreated {
        instance: InstanceId(instance),
        fd: i32::try_from(instance).unwrap(),
        flags: 0,
        quota: Some(Quota::own(1, 1 << 20, uid, User::INITIAL)),
    }
}

fn watched(instance: u64, wd: i32, path: &str, cgroup: u64) -> EventKind {
    let target =
        Target { path: Some(path.into()), inode: 7, cgroup: CgroupId(cgroup), ..Target::default() };
    let (instance, fd) = (InstanceId(instance), i32::try_from(instance).unwrap());
    EventKind::WatchAdded { instance, fd, wd, target, mask: 2, quota: None }
}

fn story() -> Story {
    Story::without_verdicts(BootTime(0)).within(Some(CEILING))
}

fn pass(story: &mut Story, events: Vec<Event>) {
    let time = events.last().unwrap().time;
    let Ok(()) = story.take(Item::Batch(Batch { time, judged: false, events }), &mut ());
}

#[test]
fn many_instances_of_a_process_take_no_more_than_they_may() {
    const INSTANCES: u64 = 20_000;
    let mut story = story();
    // Another user's instance is older, and stays.
    pass(&mut story, vec![event(1, 5, created(1, 8))]);
    let mut most = 0;
    for first in (2..INSTANCES + 2).step_by(1000) {
        let events = (first..first + 1000).flat_map(|id| {
            let watches = (0..9).map(move |wd| event(id, 7, watched(id, wd, "/x", 0)));
            std::iter::once(event(id, 7, created(id, 9))).chain(watches)
        });
        pass(&mut story, events.collect());
        most = most.max(story.tracker().worth());
    }
    assert!(most <= CEILING && most > CEILING / 2, "{most}");
    let tracker = story.tracker();
    let left = tracker.instances().count() as u64;
    let Forgotten { instances, .. } = tracker.forgotten();
    assert_eq!(instances + left, INSTANCES + 1);
    assert_eq!(tracker.summary().lost.get("instances"), Some(&instances));
    assert!(tracker.instance(InstanceId(1)).is_some(), "whoever makes many forgets their own");
    assert!(tracker.instance(InstanceId(INSTANCES + 1)).is_some(), "the newest");
    assert_eq!(tracker.process(7).map(|it| it.descriptors.len() as u64), Some(left - 1));
}

#[test]
fn long_paths_count_for_their_length() {
    let mut story = story();
    let path = "/x".repeat(2000);
    for instance in 1..100 {
        let watches = (0..1000).map(|wd| event(9, 7, watched(instance, wd, &path, 0)));
        let first = std::iter::once(event(9, 7, created(instance, 9)));
        pass(&mut story, first.chain(watches).collect());
        assert!(story.tracker().worth() <= CEILING);
    }
    assert!(story.tracker().forgotten().instances > 90);
}

#[test]
fn containers_that_come_and_go_and_those_that_stay_take_no_more_than_they_may() {
    for (stays, path) in [(false, "/short"), (true, "/short"), (false, &*"/long".repeat(800))] {
        let mut story = story();
        pass(
            &mut story,
            vec![event(1, 0, EventKind::CgroupFound { cgroup: CgroupId(1), path: "/".into() })],
        );
        for batch in 0..100_u64 {
            let mut events = Vec::new();
            for number in 0..100 {
                let cgroup = CgroupId(2 + batch * 100 + number);
                let path = format!("{path}/{}", cgroup.0).into();
                events.push(event(batch, 0, EventKind::CgroupCreated { cgroup, path }));
                if !stays {
                    events.push(event(batch, 0, EventKind::CgroupRemoved { cgroup }));
                }
            }
            pass(&mut story, events);
            assert!(story.tracker().worth() <= CEILING);
        }
        let cgroups = story.tracker().cgroups();
        let left = cgroups.len() as u64;
        assert_eq!(story.tracker().forgotten().cgroups + left, 10_001);
        assert!(cgroups.get(CgroupId(1)).is_some());
        // The oldest that exist stay, and the newest that were removed.
        assert_eq!(cgroups.get(CgroupId(2)).is_some(), stays);
    }
}

#[test]
fn a_forgotten_cgroup_is_not_one_that_is_gone() {
    let mut tracker = Tracker::new();
    let cgroup =
        |id: u64, path: &str| EventKind::CgroupFound { cgroup: CgroupId(id), path: path.into() };
    tracker.apply(&event(1, 0, cgroup(1, "/")));
    tracker.apply(&event(1, 0, cgroup(2, "/pod")));
    tracker.apply(&event(2, 7, created(1, 9)));
    tracker.apply(&event(2, 7, watched(1, 1, "/pod/cgroup.events", 2)));
    let grace = Grace::default();
    let later = BootTime(3_600_000_000_000);
    let kinds = |tracker: &Tracker| {
        verdicts(tracker, later, &grace).iter().map(|it| it.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&tracker), []);
    tracker.apply(&event(3, 0, EventKind::Lost { count: 1, what: Loss::Cgroups }));
    assert_eq!(tracker.forgotten(), Forgotten { instances: 0, cgroups: 1 });
    assert_eq!(kinds(&tracker), []);
    // Also for a reader that begins with this state.
    let mut restored = Tracker::new();
    tracker.parts().into_iter().for_each(|part| restored.restore(part));
    assert_eq!(restored.forgotten(), tracker.forgotten());
    assert_eq!(kinds(&restored), []);
    // Without that it would be a leak.
    let mut other = Tracker::new();
    let parts = tracker.parts().into_iter();
    parts
        .filter(|it| !matches!(it, crate::tracker::Part::Forgotten(_)))
        .for_each(|it| other.restore(it));
    assert_eq!(kinds(&other), [Kind::TargetGone]);
}

/// Keeps the batches that an audience gets: what a recorder writes.
#[derive(Default)]
struct Recorded(Vec<Batch>);

impl Audience for Recorded {
    type Error = std::convert::Infallible;

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> Result<(), Self::Error> {
        self.0.push(batch.clone());
        Ok(())
    }
}

#[test]
fn a_replay_forgets_the_same() {
    let (mut live, mut recorded) = (story(), Recorded::default());
    for batch in 0..20_u64 {
        let ids = (batch * 500..).map(|id| id + 1).take(500);
        let events = ids.flat_map(|id| {
            let charge = Charge {
                uid: 9,
                userns: 1,
                instances: Some(Level { used: 1, limit: 2 }),
                watches: None,
            };
            [
                event(id, 7, created(id, 9)),
                event(id, 7, watched(id, 1, "/some/path", 0)),
                event(id, 0, EventKind::Charged { charges: [charge].into() }),
            ]
        });
        let batch = Batch { time: BootTime(batch), judged: false, events: events.collect() };
        let Ok(()) = live.take(Item::Batch(batch), &mut recorded);
    }
    assert!(live.tracker().forgotten().instances > 0);
    for ceiling in [Some(CEILING), None] {
        let mut replay = Story::without_verdicts(BootTime(0)).within(ceiling);
        let mut again = Recorded::default();
        for batch in &recorded.0 {
            let Ok(()) = replay.take(Item::Batch(batch.clone()), &mut again);
        }
        assert!(replay.tracker().parts() == live.tracker().parts(), "{ceiling:?}");
        assert!(again.0 == recorded.0, "{ceiling:?}");
    }
    // A reader with less memory says what it forgets beside.
    let mut small = Story::without_verdicts(BootTime(0)).within(Some(CEILING / 2));
    for batch in &recorded.0 {
        let Ok(()) = small.take(Item::Batch(batch.clone()), &mut ());
        assert!(small.tracker().worth() <= CEILING / 2);
    }
    assert!(small.tracker().forgotten().instances > live.tracker().forgotten().instances);
}

#[test]
fn a_state_of_any_size_is_restored_within_the_ceiling() {
    let mut large = Tracker::new();
    for id in 1..20_000 {
        large.apply(&event(id, 7, created(id, 9)));
    }
    let mut story = story();
    let Ok(()) = story.take(Item::Restart, &mut ());
    for part in large.parts() {
        let Ok(()) = story.take(Item::Part(part), &mut ());
        // A part is on top of it.
        assert!(story.tracker().worth() <= CEILING + CEILING / 4);
    }
    let mut told = Recorded::default();
    let last = Batch { time: BootTime(20_001), judged: false, events: Vec::new() };
    let Ok(()) = story.take(Item::Batch(last), &mut told);
    assert!(story.tracker().worth() <= CEILING);
    let lost = told.0[0].events.iter().map(|event| match event.kind {
        EventKind::Lost { count, what: Loss::Instances } => count,
        _ => 0,
    });
    assert_eq!(lost.sum::<u64>(), story.tracker().forgotten().instances);
}

#[test]
fn the_document_says_what_each_entry_takes() {
    let text = include_str!("../../../../docs/security.md");
    for (entry, bytes) in [
        ("instance, with the addresses that the feed keeps", worth::INSTANCE),
        ("watch", worth::WATCH),
        ("descriptor", worth::DESCRIPTOR),
        ("process that holds instances", worth::PROCESS),
        ("process that gave up an instance", worth::LEAVER),
        ("user that is charged", worth::ACCOUNT),
        ("lifetimes of a command in a cgroup", worth::LIFETIMES),
        ("cgroup", worth::CGROUP),
        ("names of a container", worth::NAMES),
    ] {
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(&format!("| {entry} | ")));
        let row = rows.next().unwrap_or_else(|| panic!("no row for {entry}"));
        let number = row.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        assert_eq!(number.parse(), Ok(bytes), "{entry}");
    }
}
