//! One file after the other: when, and which are kept.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use inotify_trace_model::{
    event::{BootTime, Event},
    feed::{Batch, Item},
    tracker::Tracker,
};
use proptest::{collection::vec, prelude::*};
use rustix::fs::{IFlags, ioctl_setflags};

use super::samples;
use crate::{
    feed::Recordings,
    recording::{Header, RecordingError, Rotation, Store, writer::Writer},
};

pub(super) fn header(run: u64) -> Header {
    // Files are named after the time.
    let started = BootTime(run * 1_000_000_000);
    Header { run, started, host: "node".to_owned(), ..Header::default() }
}

pub(super) fn writer(path: &Path, rotation: Rotation, run: u64) -> Writer {
    let store = Store::new(path, rotation).unwrap();
    Writer::new(store, header(run), Duration::from_secs(60)).unwrap()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Writes as the recorder does, and says what the tracker knew when each file began.
fn record(writer: &mut Writer, tracker: &mut Tracker, batches: &[Batch]) -> Vec<Tracker> {
    let mut begun = Vec::new();
    for batch in batches {
        batch.events.iter().for_each(|event| tracker.apply(event));
        writer.batch(batch.clone()).unwrap();
        // Size and time are looked at once it is on disk.
        while writer.due() == Some(Duration::ZERO) {
            writer.flush().unwrap();
        }
        if writer.wants_state() {
            let files = writer.totals.files;
            writer.restart(batch.time, tracker.parts()).unwrap();
            assert_eq!(writer.totals.files, files + 1);
            let mut copy = Tracker::new();
            tracker.parts().into_iter().for_each(|part| copy.restore(part));
            begun.push(copy);
        }
    }
    begun
}

/// What a replay of `paths`, which are complete, leads to: the events, the state, and how often it
/// began anew.
fn replay(paths: &[PathBuf]) -> (Vec<Event>, Tracker, usize) {
    let (events, tracker, restarts, problems) = replay_all(paths);
    assert!(problems.is_empty(), "{problems:?}");
    (events, tracker, restarts)
}

/// The same for any files, with what is wrong with them.
fn replay_all(paths: &[PathBuf]) -> (Vec<Event>, Tracker, usize, Vec<String>) {
    let mut problems = Vec::new();
    let recordings = Recordings::open(paths);
    assert!(recordings.problems.is_empty(), "{:?}", recordings.problems);
    let (mut events, mut tracker, mut restarts) = (Vec::new(), Tracker::new(), 0);
    for mut run in recordings.runs {
        while let Some(item) = run.next_item() {
            match item {
                Item::Batch(batch) => {
                    batch.events.iter().for_each(|event| tracker.apply(event));
                    events.extend(batch.events);
                }
                Item::Restart => {
                    restarts += 1;
                    tracker.forget();
                }
                Item::Part(part) => tracker.restore(part),
                Item::Gap | Item::End(_) => {}
            }
        }
        problems.extend(run.problems().iter().map(|it| it.source.to_string()));
    }
    (events, tracker, restarts, problems)
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    names(directory).iter().map(|name| directory.join(name)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_set_of_files_is_one_recording_and_each_file_is_one_by_itself(
        batches in vec(samples::batch(), 1..40),
    ) {
        let directory = tempfile::tempdir().unwrap();
        // Never by size: made-up times go backwards, and files are told apart by their numbers.
        let rotation = Rotation { time: Some(Duration::from_nanos(1)), ..Rotation::default() };
        let mut writer = writer(directory.path(), rotation, 7);
        let mut tracker = Tracker::new();
        let mut begun = Vec::new();
        let mut time = 7_000_000_000;
        let batches: Vec<_> = batches.into_iter().map(|batch| {
            time += 1_000_000;
            Batch { time: BootTime(time), ..batch }
        }).collect();
        for batch in batches.chunks(3) {
            begun.extend(record(&mut writer, &mut tracker, batch));
        }
        let (totals, result) = writer.finish(Some(BootTime(time)));
        result.unwrap();
        let expected: Vec<_> = batches.iter().flat_map(|batch| batch.events.clone()).collect();
        prop_assert_eq!(totals.events, expected.len() as u64);
        let files = sorted(directory.path());
        prop_assert_eq!(files.len(), begun.len() + 1);
        prop_assert_eq!(files.len() as u64, totals.files);
        let sizes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        prop_assert_eq!(totals.bytes, sizes);

        let (events, state, restarts) = replay(&[directory.path().to_owned()]);
        prop_assert_eq!(&events, &expected);
        prop_assert_eq!(restarts, 0, "files that follow each other are one");
        prop_assert_eq!(state.parts(), tracker.parts());
        // A copy, and a file that is named twice, are no more than what they are copies of.
        let twice = [vec![directory.path().to_owned()], files.clone()].concat();
        prop_assert_eq!(replay(&twice).0, events);
        // Each by itself begins with what was known.
        for (file, begun) in files[1..].iter().zip(begun) {
            let mut run = Recordings::open(std::slice::from_ref(file)).runs.pop().unwrap();
            prop_assert_eq!(run.next_item(), Some(Item::Restart));
            let mut state = Tracker::new();
            while let Some(Item::Part(part)) = run.next_item() {
                state.restore(part);
            }
            prop_assert_eq!(state.parts(), begun.parts());
        }
        // Without one in the middle, the next begins anew, and the state at the end is right.
        if files.len() > 2 {
            fs::remove_file(&files[1]).unwrap();
            let (_, state, restarts, problems) = replay_all(&[directory.path().to_owned()]);
            prop_assert_eq!(&problems[..], [RecordingError::FilesMissing(1).to_string()]);
            prop_assert_eq!(restarts, 1);
            prop_assert_eq!(state.parts(), tracker.parts());
        }
    }
}

/// What cannot be packed into much less than 4 KiB.
fn noise(time: u64) -> Batch {
    let mut random = time.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        char::from(b' ' + (random % 95) as u8)
    };
    let path: String = (0..4096).map(|_| letter()).collect();
    let cgroup = inotify_trace_model::event::CgroupId(time);
    let kind = inotify_trace_model::event::EventKind::CgroupRemoved { cgroup };
    let failed = inotify_trace_model::event::EventKind::WatchFailed {
        instance: None,
        fd: 3,
        path: Some(path.into()),
        mask: 0,
        errno: 2,
        quota: None,
    };
    let event = |kind| Event { time: BootTime(time), task: None, kind };
    Batch { time: BootTime(time), judged: false, events: vec![event(kind), event(failed)] }
}

/// Writes each batch at once.
fn write_through(path: &Path, rotation: Rotation, run: u64, times: std::ops::Range<u64>) -> Writer {
    let store = Store::new(path, rotation).unwrap();
    let mut writer = Writer::new(store, header(run), Duration::ZERO).unwrap();
    for time in times {
        let time = run * 1_000_000_000 + time * 1_000_000;
        writer.batch(noise(time)).unwrap();
        writer.flush().unwrap();
        if writer.wants_state() {
            writer.restart(BootTime(time), Vec::new()).unwrap();
        }
    }
    writer
}

#[test]
fn files_are_private_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let writer = writer(&path, Rotation::default(), 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    writer.finish(Some(BootTime(1))).1.unwrap();
    let before = fs::read(&path).unwrap();
    let store = Store::new(&path, Rotation::default()).unwrap();
    let error = Writer::new(store, header(2), Duration::ZERO).unwrap_err();
    assert!(matches!(error, RecordingError::Exists(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    // Nor is what a link leads to.
    let link = directory.path().join("link.itrec");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &link).unwrap();
    let store = Store::new(&link, Rotation::default()).unwrap();
    assert!(Writer::new(store, header(2), Duration::ZERO).is_err());
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn a_file_is_over_at_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let rotation = Rotation { size: Some(20_000), ..Rotation::default() };
    write_through(directory.path(), rotation, 1, 1..200).finish(Some(BootTime(1))).1.unwrap();
    let files = sorted(directory.path());
    assert!(files.len() > 5, "{files:?}");
    for file in &files[..files.len() - 1] {
        let size = fs::metadata(file).unwrap().len();
        assert!((20_000..26_000).contains(&size), "{size}");
    }
    assert_eq!(replay(&[directory.path().to_owned()]).0.len(), 2 * 199);
}

#[test]
fn a_file_larger_than_all_may_be_together_is_told() {
    for (most, is_too_little) in [(20, true), (100_000, false)] {
        let directory = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_total: Some(most), ..Rotation::default() };
        let writer = write_through(directory.path(), rotation, 1, 1..20);
        assert_eq!(writer.has_exceeded, is_too_little, "{most}");
    }
}

#[test]
fn a_state_larger_than_a_file_is_to_be_does_not_make_a_file_of_each_batch() {
    let directory = tempfile::tempdir().unwrap();
    let rotation = Rotation { size: Some(1), ..Rotation::default() };
    let store = Store::new(directory.path(), rotation).unwrap();
    let mut writer = Writer::new(store, header(1), Duration::ZERO).unwrap();
    let mut tracker = Tracker::new();
    for id in 0..500 {
        let cgroup = inotify_trace_model::event::CgroupId(id * 7919);
        let path = noise(id).events.pop().map(|it| format!("/{:?}", it.kind)).unwrap();
        let kind = inotify_trace_model::event::EventKind::CgroupFound { cgroup, path: path.into() };
        tracker.apply(&Event { time: BootTime(0), task: None, kind });
    }
    for time in 1..100 {
        writer.batch(noise(time)).unwrap();
        writer.flush().unwrap();
        if writer.wants_state() {
            writer.restart(BootTime(time * 1_000_000), tracker.parts()).unwrap();
        }
    }
    assert!(writer.totals.files < 4, "{} files", writer.totals.files);
}

#[test]
fn what_is_too_much_goes_oldest_first_and_nothing_else_does() {
    let directory = tempfile::tempdir().unwrap();
    let others = [
        "notes.txt",
        "node.itrec",
        "node-2-20200101T000000000-0000.itrec",
        "other-20200101T000000000-0000.itrec",
        "node-20200101T000000000-0000.itrec.bak",
        "node-backup-0000.itrec",
        "node-2020-0000.itrec",
    ];
    for name in others {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let old = "node-19690101T000000000-0000.itrec";
    fs::write(directory.path().join(old), "x").unwrap();
    // From a clock that was ahead.
    let future = "node-29990101T000000000-0000.itrec";
    fs::write(directory.path().join(future), "x").unwrap();
    let rotation = Rotation { size: Some(10_000), keep: Some(3), ..Rotation::default() };
    let writer = write_through(directory.path(), rotation, 1, 1..100);
    assert!(writer.totals.files > 10);
    let current = writer.output.as_ref().unwrap().path.clone();
    let left = names(directory.path());
    for name in others {
        assert!(left.contains(name), "{name} is gone");
    }
    assert!(!left.contains(old) && current.exists());
    assert_eq!(left.len(), others.len() + 3, "{left:?}");
    let last = format!("-{:04}.itrec", writer.totals.files - 1);
    assert!(current.to_str().unwrap().ends_with(&last), "{current:?}");
}

#[test]
fn bytes_in_all_stay_below_what_was_said() {
    for size in [None, Some(30_000)] {
        let directory = tempfile::tempdir().unwrap();
        let total = 120_000;
        let rotation = Rotation { size, max_total: Some(total), ..Rotation::default() };
        let store = Store::new(directory.path(), rotation).unwrap();
        let mut writer = Writer::new(store, header(1), Duration::ZERO).unwrap();
        let mut most = 0;
        for time in 1..300 {
            let time = 1_000_000_000 + time * 1_000_000;
            writer.batch(noise(time)).unwrap();
            writer.flush().unwrap();
            if writer.wants_state() {
                writer.restart(BootTime(time), Vec::new()).unwrap();
            }
            let files = sorted(directory.path());
            let sizes = files.iter().map(|file| fs::metadata(file).unwrap().len());
            most = most.max(sizes.sum::<u64>());
        }
        // A file is over once it is too large: a frame more.
        assert!(most <= total + 6000 && most > total / 2, "{most} with {size:?}");
        assert!(writer.totals.bytes > 5 * total, "{}", writer.totals.bytes);
    }
}

#[test]
fn what_another_recorder_is_writing_stays() {
    let directory = tempfile::tempdir().unwrap();
    let rotation = Rotation { keep: Some(1), size: Some(5000), ..Rotation::default() };
    let other = write_through(directory.path(), Rotation::default(), 1, 0..1);
    let its = other.output.as_ref().unwrap().path.clone();
    let writer = write_through(directory.path(), rotation, 2, 1..50);
    assert!(writer.totals.files > 3 && its.exists());
    assert_eq!(names(directory.path()).len(), 2);
    other.finish(Some(BootTime(1))).1.unwrap();
    let last = write_through(directory.path(), rotation, 3, 60..61);
    assert_eq!(names(directory.path()).len(), 2, "one is over, the other is not");
    assert!(!its.exists());
    drop((writer, last));
    assert!(File::open(directory.path()).is_ok());
}

/// A file that not even root can remove.
struct Immutable(File);

impl Immutable {
    /// None where the user or the file system has no such flag.
    fn new(path: &Path) -> Option<Self> {
        let file = File::create(path).unwrap();
        ioctl_setflags(&file, IFlags::IMMUTABLE).ok().map(|()| Self(file))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        ioctl_setflags(&self.0, IFlags::empty()).unwrap();
    }
}

#[test]
fn what_cannot_be_removed_keeps_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let stuck = "node-19690101T000000000-0000.itrec";
    let Some(immutable) = Immutable::new(&directory.path().join(stuck)) else {
        eprintln!("SKIPPED: no file can be made immutable here: needs root, and ext4 or the like");
        return;
    };
    // Older and newer than that one; and what only has such a name.
    let [before, after, no_file] = [("1968", "0000"), ("1970", "0001"), ("1967", "0000")]
        .map(|(year, number)| format!("node-{year}0101T000000000-{number}.itrec"));
    fs::write(directory.path().join(&before), "x").unwrap();
    fs::write(directory.path().join(&after), "x").unwrap();
    fs::create_dir(directory.path().join(&no_file)).unwrap();
    let rotation = Rotation { keep: Some(1), ..Rotation::default() };
    let writer = write_through(directory.path(), rotation, 1, 1..2);
    let left = names(directory.path());
    assert_eq!(left.len(), 3, "the current one, the immutable one and the directory: {left:?}");
    assert!(left.contains(stuck) && left.contains(&no_file), "{left:?}");
    assert_eq!(writer.stuck, [directory.path().join(stuck)].into());
    drop(immutable);
    let writer = write_through(directory.path(), rotation, 2, 1..2);
    assert!(!names(directory.path()).contains(stuck));
    assert!(writer.stuck.is_empty());
}
