//! Containers that come and go without end: the state, and the Parquet files that are being written,
//! take no more of memory than their bounds say, and the same after an hour as after minutes.
//!
//! What is measured is what the allocator has given away, so the test has a program of its own.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Quota, Target, Task},
    feed::{Batch, Item},
    identity::Names,
    story::{Audience, Story},
    tracker::{Forgotten, User},
    verdict::Grace,
};

/// An allocator that knows how many bytes are in use, and how many were at most.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work, with what this one is given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(used, Relaxed);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as for this function.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many come in a second as in the soak.
const A_SECOND: u64 = 50;

/// All that a container of a pod of its own does, whose names are on disk: nine events.
fn container(number: u64) -> Batch {
    let time = BootTime((1 + number) * 1_000_000_000 / A_SECOND);
    let [pod, own] = [2 * number + 10, 2 * number + 11].map(CgroupId);
    let path = format!("/kubepods/burstable/pod{number:08x}-1111-4222-8333-444455556666");
    let pid = u32::try_from(1000 + number % 4_000_000).unwrap();
    let task = Some(Task { pid, tid: pid, comm: "job".into(), cgroup: own, ..Task::default() });
    let quota = Some(Quota::own(1, 128, 0, User::INITIAL));
    let instance = InstanceId(number + 1);
    let text = |text: &str| Some(text.to_owned());
    let names = Names {
        name: text("job"),
        pod_name: Some(format!("job-{number}")),
        namespace: text("batch"),
        image: text("example.com/job:1"),
        is_sandbox: false,
    };
    let target = Target { path: Some("/".into()), inode: 2, dev: 1, ..Target::default() };
    let kinds = [
        (None, EventKind::CgroupCreated { cgroup: pod, path: path.as_str().into() }),
        (
            None,
            EventKind::CgroupCreated { cgroup: own, path: format!("{path}/{number:064x}").into() },
        ),
        (None, EventKind::ContainerNamed { cgroup: own, container: None, names: names.into() }),
        (task, EventKind::InstanceCreated { instance, fd: 3, flags: 0, quota }),
        (task, EventKind::WatchAdded { instance, fd: 3, wd: 1, target, mask: 256, quota }),
        (task, EventKind::ProcessExited),
        (task, EventKind::InstanceReleased { instance, fd: None, quota }),
        (None, EventKind::CgroupRemoved { cgroup: own }),
        (None, EventKind::CgroupRemoved { cgroup: pod }),
    ];
    let events = kinds.map(|(task, kind)| Event { time, task, kind });
    Batch { time, judged: number.is_multiple_of(A_SECOND), events: events.into() }
}

fn story() -> Story {
    let mut story = Story::new(BootTime(0), Grace::default());
    let root = EventKind::CgroupFound { cgroup: CgroupId(1), path: "/".into() };
    let events = vec![Event { time: BootTime(1), task: None, kind: root }];
    let batch = Batch { time: BootTime(1), judged: false, events };
    let Ok(()) = story.take(Item::Batch(batch), &mut ());
    story
}

/// The most bytes that were in use in each part of the time.
struct Used(Vec<usize>);

impl Used {
    /// That the last third takes no more than the second, after the first in which the bounds are
    /// reached, and that all stay below `bound`.
    fn is_flat_below(&self, bound: usize) {
        let third = |of: usize| self.0.chunks(self.0.len() / 3).nth(of).unwrap().iter().max();
        let (second, last) = (third(1).unwrap(), third(2).unwrap());
        assert!(*last <= second + (2 << 20), "it grows: {:?}", self.0);
        assert!(self.0.iter().all(|used| *used <= bound), "more than {bound}: {:?}", self.0);
    }
}

/// Passes on so many containers in each of nine parts.
fn churn<A: Audience>(audience: &mut A, each: u64) -> (Story, Used)
where
    A::Error: std::fmt::Debug,
{
    let before = USED.load(Relaxed);
    let mut story = story();
    let part = |part| {
        MOST.store(USED.load(Relaxed), Relaxed);
        for number in part * each..(part + 1) * each {
            story.take(Item::Batch(container(number)), audience).unwrap();
        }
        MOST.load(Relaxed) - before
    };
    let used = (0..9).map(part).collect();
    (story, Used(used))
}

/// The state alone: 100,000 containers, more than half an hour of them.
fn state() {
    let (story, used) = churn(&mut (), 11_200);
    let tracker = story.tracker();
    println!("state: {:?}, which count as {}", used.0, tracker.worth());
    used.is_flat_below(16 << 20);
    assert!(used.0[8] <= tracker.worth(), "what counts is no less than what it takes");
    assert_eq!((tracker.instances().count(), tracker.processes().count()), (0, 0));
    // The root of the hierarchy, and those that are kept.
    assert_eq!(tracker.cgroups().len(), 1 + (12 << 10));
    assert_eq!(tracker.forgotten(), Forgotten::default(), "nothing that may be needed is lost");
}

/// The Parquet files besides, of half an hour: several row groups.
#[cfg(feature = "parquet")]
fn files() {
    use inotify_trace::{
        export::{Existing, Exporter as _, Flat, Partitioned},
        recording::Header,
    };
    let directory = tempfile::tempdir().unwrap();
    let files = Partitioned::create(directory.path(), Existing::Kept).unwrap();
    let mut flat = Flat::new(Box::new(files));
    flat.begin(&Header::default()).unwrap();
    let (story, used) = churn(&mut flat, 3000);
    println!("with Parquet files: {:?}", used.0);
    used.is_flat_below(40 << 20);
    drop(story);
    Box::new(flat).finish().unwrap();
    println!("{} bytes of files", size(directory.path()));
}

/// Bytes of all files below a directory.
#[cfg(feature = "parquet")]
fn size(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let of_one = |it: std::fs::DirEntry| match it.file_type().unwrap().is_dir() {
        true => size(&it.path()),
        false => it.metadata().unwrap().len(),
    };
    entries.map(of_one).sum()
}

/// One after the other: all threads have the same allocator.
#[test]
fn no_number_of_containers_takes_more_than_the_bounds_say() {
    state();
    #[cfg(feature = "parquet")]
    files();
}
