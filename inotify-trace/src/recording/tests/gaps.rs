//! No verdict rests on what is missing: whatever a damaged recording tells, the whole one tells too.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Quota, Target, Task},
    feed::Batch,
    story::{Audience, Story},
    testing::{at, task},
    tracker::Tracker,
    verdict::{Grace, Verdict, verdicts},
};
use proptest::{collection::vec, prelude::*};

use super::{boundaries, files::header};
use crate::{
    feed::{Recordings, Until},
    recording::{Rotation, Store, writer::Writer},
};

/// What happens next: how many seconds later, what, and to which of those that it may happen to.
type Step = (u64, u8, usize);

/// Processes that create instances, watch cgroups and files, and end some of what they have.
fn history(steps: &[Step]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut seconds = 10;
    let (mut open, mut cgroups): (Vec<(InstanceId, Task, i32)>, Vec<CgroupId>) = Default::default();
    let mut tell = |seconds, task, kind| {
        let time = at(seconds);
        batches.push(Batch { time, judged: true, events: vec![Event { time, task, kind }] });
    };
    let root = EventKind::CgroupCreated { cgroup: CgroupId(1), path: "/".into() };
    tell(seconds, None, root);
    for (number, &(later, what, which)) in (100_u64..).zip(steps) {
        seconds += later;
        let pick = which % open.len().max(1);
        let chosen = open.get(pick).copied();
        match (what, chosen) {
            (0, _) => {
                let cgroup = CgroupId(number);
                cgroups.push(cgroup);
                let path = format!("/made/{number}").into();
                tell(seconds, None, EventKind::CgroupCreated { cgroup, path });
            }
            (1, _) if !cgroups.is_empty() => {
                let cgroup = cgroups.remove(which % cgroups.len());
                tell(seconds, None, EventKind::CgroupRemoved { cgroup });
            }
            (2..=3, Some((instance, task, fd))) => {
                open.remove(pick);
                let kind = EventKind::InstanceReleased { instance, fd: Some(fd), quota: None };
                tell(seconds, Some(task), kind);
            }
            (4..=6, Some((instance, task, fd))) => {
                let cgroup = cgroups.get(which % cgroups.len().max(1)).copied();
                let cgroup = cgroup.filter(|_| what < 6).unwrap_or_default();
                let path = Some("/sys/fs/cgroup/x/memory.events".into());
                let target = Target { path, inode: 7 + cgroup.0, cgroup, ..Target::default() };
                let (wd, mask) = (i32::from(what), 2);
                let kind = EventKind::WatchAdded { instance, fd, wd, target, mask, quota: None };
                tell(seconds, Some(task), kind);
            }
            _ => {
                let task = task(50 + u32::try_from(which % 2).unwrap(), "daemon");
                let (instance, fd) = (InstanceId(number), i32::try_from(number).unwrap());
                open.push((instance, task, fd));
                let quota = Some(Quota::own(u32::try_from(open.len()).unwrap(), 128, 0, 1));
                let kind = EventKind::InstanceCreated { instance, fd, flags: 0, quota };
                tell(seconds, Some(task), kind);
            }
        }
    }
    batches
}

/// Records each batch in a frame of its own, and returns the files.
fn record(directory: &Path, batches: &[Batch]) -> Vec<PathBuf> {
    let rotation = Rotation { size: Some(3000), ..Rotation::default() };
    let store = Store::new(directory, rotation).unwrap();
    let mut writer = Writer::new(store, header(7), Duration::ZERO).unwrap();
    let mut tracker = Tracker::new();
    for batch in batches {
        batch.events.iter().for_each(|event| tracker.apply(event));
        writer.batch(batch.clone()).unwrap();
        writer.flush().unwrap();
        if writer.wants_state() {
            writer.restart(batch.time, tracker.parts()).unwrap();
        }
    }
    writer.finish(batches.last().map(|last| last.time)).1.unwrap();
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

/// The verdicts that are told, or hold at the end, and those that hold at each time.
#[derive(Default)]
struct Heard {
    told: Vec<(BootTime, Verdict)>,
    true_at: BTreeMap<BootTime, Vec<Verdict>>,
    restarts: usize,
}

impl Audience for Heard {
    type Error = std::convert::Infallible;

    fn restarted(&mut self, _: &Tracker, _: &Batch) -> Result<(), Self::Error> {
        self.restarts += 1;
        Ok(())
    }

    fn verdict(&mut self, it: &Verdict, _: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        self.told.push((now, it.clone()));
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> Result<(), Self::Error> {
        self.true_at.insert(batch.time, verdicts(tracker, batch.time, &Grace::default()));
        Ok(())
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        let last = verdicts(tracker, now, &Grace::default());
        self.told.extend(last.into_iter().map(|it| (now, it)));
        Ok(())
    }
}

fn hear(directory: &Path) -> Heard {
    let mut heard = Heard::default();
    for mut run in Recordings::open(&[directory.to_owned()]).runs {
        let mut story = Story::new(run.header().started, Grace::default());
        let Ok(()) = Until::end(&mut run).run(&mut story, &mut heard, |_| {});
        let Ok(()) = story.end(&mut heard);
    }
    heard
}

/// Removes whole frames, or whole files: `which` and `count` are taken modulo what there is.
fn damage(files: &[PathBuf], (file, first, count): (usize, usize, usize)) {
    let path = &files[file % files.len()];
    let Ok(mut bytes) = fs::read(path) else { return };
    let ends = boundaries(&bytes);
    // The first frame is the header, without which the file is as good as missing.
    let frames = ends.len() - 2;
    if count == 0 || frames < 2 {
        return fs::remove_file(path).unwrap();
    }
    let first = 1 + first % frames;
    let last = (first + count).min(ends.len() - 1);
    bytes.drain(ends[first]..ends[last]);
    fs::write(path, bytes).unwrap();
}

/// Mostly a few seconds; sometimes long enough for any verdict.
fn step() -> impl Strategy<Value = Step> {
    (prop_oneof![8 => 1_u64..20, 1 => 30_u64..700], 0_u8..12, 0_usize..1000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_verdict_rests_on_what_is_missing(
        steps in vec(step(), 40..160),
        damages in vec((0_usize..100, 0_usize..100, 0_usize..6), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let files = record(directory.path(), &history(&steps));
        let whole = hear(directory.path());
        prop_assert_eq!(whole.restarts, 0);
        for damaged in damages {
            damage(&files, damaged);
        }
        let left = hear(directory.path());
        for (time, verdict) in &left.told {
            let truth = whole.true_at.get(time).map_or(&[][..], Vec::as_slice);
            prop_assert!(truth.contains(verdict), "at {time:?}: {verdict:?}, and true is {truth:?}");
        }
    }
}

#[test]
fn after_the_next_state_verdicts_are_told_again() {
    // One instance whose cgroup is removed, and time that passes in many small batches.
    let mut steps: Vec<Step> = vec![(1, 0, 0), (1, 7, 0), (1, 4, 0)];
    steps.extend([(1, 0, 0); 60]);
    steps.push((1, 1, 0));
    steps.extend([(2, 0, 0); 300]);
    let directory = tempfile::tempdir().unwrap();
    let files = record(directory.path(), &history(&steps));
    assert!(files.len() > 3, "{} files", files.len());
    let first = hear(directory.path()).told[0].clone();
    damage(&files, (0, 5, 1));
    let left = hear(directory.path());
    assert!(left.restarts > 0);
    assert_eq!(left.told[0].1.kind, first.1.kind);
    assert!(left.told[0].0 >= first.0);
}
