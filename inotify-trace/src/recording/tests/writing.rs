//! A disk that is full, and has room again.

use std::{fs::OpenOptions, path::Path, time::Duration};

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, Loss},
    feed::{Batch, Item},
    tracker::Tracker,
};

use super::files::{header, writer};
use crate::recording::{Header, Reader, Recorder, RecordingError, Rotation, Store, writer::Writer};

/// Longer than any test takes.
const HOUR: Duration = Duration::from_secs(3600);

fn batch(ids: std::ops::Range<u64>) -> Batch {
    let time = BootTime(ids.end);
    let event = |id| {
        let kind = EventKind::CgroupCreated { cgroup: CgroupId(id), path: format!("/{id}").into() };
        Event { time: BootTime(id), task: None, kind }
    };
    Batch { time, judged: true, events: ids.map(event).collect() }
}

/// Makes writing fail, until the file is given back.
fn fill(writer: &mut Writer) -> std::fs::File {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    writer.output.as_mut().unwrap().exchange(full)
}

fn make_room(writer: &mut Writer, file: std::fs::File) {
    writer.output.as_mut().unwrap().exchange(file);
}

fn take(writer: &mut Writer, tracker: &mut Tracker, batch: &Batch) -> Result<(), RecordingError> {
    batch.events.iter().for_each(|event| tracker.apply(event));
    writer.batch(batch.clone())
}

/// Events, what is said to be missing, the state at the end, and how often it began anew.
fn read(path: &Path) -> (Vec<u64>, u64, Tracker, usize, bool) {
    let mut reader = Reader::open(path).unwrap();
    let (mut ids, mut lost, mut tracker, mut restarts) = (Vec::new(), 0, Tracker::new(), 0);
    let mut has_ended = false;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Batch(batch) => {
                for event in &batch.events {
                    tracker.apply(event);
                    match event.kind {
                        EventKind::CgroupCreated { cgroup, .. } => ids.push(cgroup.0),
                        EventKind::Lost { count, what: Loss::Unrecorded } => lost += count,
                        _ => panic!("{event:?}"),
                    }
                }
            }
            Item::Restart => {
                restarts += 1;
                tracker.forget();
            }
            Item::Part(part) => tracker.restore(part),
            Item::Gap => panic!("nothing is missing"),
            Item::End(_) => has_ended = true,
        }
    }
    (ids, lost, tracker, restarts, has_ended)
}

#[test]
fn a_full_disk_is_told_counted_and_overcome() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let (mut writer, mut tracker) = (writer(&path, Rotation::default(), 1), Tracker::new());
    // More than fits into a frame: what was written stays, whatever comes after it.
    take(&mut writer, &mut tracker, &batch(1..10_001)).unwrap();
    let file = fill(&mut writer);
    let error = take(&mut writer, &mut tracker, &batch(10_001..30_001)).unwrap_err();
    assert!(matches!(error, RecordingError::Write { .. }), "{error}");
    let written = writer.totals.events;
    assert_eq!(written + writer.totals.unrecorded, 30_000, "{:?}", writer.totals);
    // It is known: no second message, and nothing is wanted before it is time.
    take(&mut writer, &mut tracker, &batch(30_001..30_003)).unwrap();
    writer.retry = HOUR;
    assert!(!writer.wants_state());
    assert!(writer.due().unwrap() <= HOUR);
    writer.retry = Duration::ZERO;
    assert!(writer.wants_state());
    assert!(!writer.restart(BootTime(30_003), tracker.parts()).unwrap(), "the disk is full");
    make_room(&mut writer, file);
    assert!(writer.restart(BootTime(30_004), tracker.parts()).unwrap(), "there is room");
    take(&mut writer, &mut tracker, &batch(30_005..30_008)).unwrap();
    let (totals, result) = writer.finish(Some(BootTime(30_009)));
    result.unwrap();

    assert_eq!(totals.events + totals.unrecorded, 30_005);
    assert_eq!(totals.bytes, std::fs::metadata(&path).unwrap().len());
    let (ids, lost, state, restarts, has_ended) = read(&path);
    let expected: Vec<_> = (1..=written).chain(30_005..30_008).collect();
    assert_eq!(ids, expected);
    assert_eq!((lost, restarts, has_ended), (totals.unrecorded, 1, true));
    assert_eq!(state.parts(), tracker.parts());
}

#[test]
fn a_frame_is_written_when_it_is_due_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let writer = |name: &str, flush| {
        let path = directory.path().join(name);
        let store = Store::new(&path, Rotation::default()).unwrap();
        (Writer::new(store, header(1), flush).unwrap(), path)
    };
    let mut tracker = Tracker::new();
    let (mut late, path) = writer("late", HOUR);
    assert_eq!(late.due(), None, "there is nothing to write");
    take(&mut late, &mut tracker, &batch(1..5)).unwrap();
    let due = late.due().unwrap();
    assert!(due <= HOUR, "{due:?}");
    // What comes later does not put it off.
    take(&mut late, &mut tracker, &batch(5..7)).unwrap();
    assert!(late.due().unwrap() <= due);
    late.flush().unwrap();
    assert!(Reader::open(&path).unwrap().next_item().unwrap().is_none(), "it is not due");
    let (mut soon, path) = writer("soon", Duration::from_nanos(1));
    take(&mut soon, &mut tracker, &batch(7..9)).unwrap();
    while soon.due().is_some() {
        soon.flush().unwrap();
    }
    let item = Reader::open(&path).unwrap().next_item().unwrap();
    let Some(Item::Batch(written)) = item else { panic!("{item:?}") };
    assert_eq!(written, batch(7..9));
}

#[test]
fn what_is_missing_at_the_end_is_told_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let (mut writer, mut tracker) = (writer(&path, Rotation::default(), 1), Tracker::new());
    let file = fill(&mut writer);
    take(&mut writer, &mut tracker, &batch(1..9001)).unwrap_err();
    make_room(&mut writer, file);
    let (totals, result) = writer.finish(Some(BootTime(9002)));
    result.unwrap();
    let (ids, lost, _, _, has_ended) = read(&path);
    assert_eq!((ids.len(), lost, has_ended), (0, 9000, true));
    assert_eq!((totals.events, totals.unrecorded), (0, 9000));
}

#[test]
fn a_disk_that_is_full_to_the_end_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let (mut full, mut tracker) = (writer(&path, Rotation::default(), 1), Tracker::new());
    drop(fill(&mut full));
    take(&mut full, &mut tracker, &batch(1..9001)).unwrap_err();
    let (totals, result) = full.finish(Some(BootTime(9002)));
    result.unwrap();
    assert_eq!(totals.unrecorded, 9000);
    // Where it is full only at the end, that was not said before.
    let path = directory.path().join("two.itrec");
    let mut full = writer(&path, Rotation::default(), 1);
    drop(fill(&mut full));
    take(&mut full, &mut tracker, &batch(1..5)).unwrap();
    let (totals, result) = full.finish(Some(BootTime(6)));
    result.unwrap_err();
    assert_eq!((totals.events, totals.unrecorded), (0, 4));
    assert!(read(&path).0.is_empty());
}

#[test]
fn a_directory_that_is_gone_costs_what_happens_meanwhile() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("recordings");
    let rotation = Rotation { size: Some(1000), ..Rotation::default() };
    let store = Store::new(Path::new(&format!("{}/", directory.display())), rotation).unwrap();
    let (mut writer, mut tracker) =
        (Writer::new(store, header(1), Duration::ZERO).unwrap(), Tracker::new());
    take(&mut writer, &mut tracker, &batch(1..1000)).unwrap();
    writer.flush().unwrap();
    assert!(writer.wants_state());
    let elsewhere = parent.path().join("elsewhere");
    std::fs::rename(&directory, &elsewhere).unwrap();
    // Later than the first file began, after which files are named.
    let later = BootTime(2_000_000_000);
    writer.restart(later, tracker.parts()).unwrap_err();
    take(&mut writer, &mut tracker, &batch(1001..1003)).unwrap();
    std::fs::rename(&elsewhere, &directory).unwrap();
    assert!(writer.restart(later, tracker.parts()).unwrap());
    writer.finish(Some(later)).1.unwrap();
    let mut files: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let (_, lost, state, _, _) = read(&files[1]);
    assert_eq!(lost, 2);
    assert_eq!(state.parts(), tracker.parts());
    assert!(!Reader::open(&files[1]).unwrap().header().continues);
    assert!(read(&files[0]).4, "the first file was ended in good order");
}

#[test]
fn a_recorder_is_up_to_date_from_its_beginning_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(&directory.path().join("one.itrec"), Rotation::default()).unwrap();
    let started = BootTime(7_000_000_000);
    let header = Header { run: 1, started, ..Header::default() };
    let recorder = Recorder::start(store, header, HOUR, Box::new(|error| panic!("{error}")));
    let recorder = recorder.unwrap();
    // And not since the machine booted, weeks ago.
    assert_eq!(recorder.progress().safe(), started);
    recorder.finish(started).1.unwrap();
}

#[test]
fn a_recorder_that_cannot_keep_up_says_how_much_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let store = Store::new(&path, Rotation::default()).unwrap();
    let (mut tracker, mut recorded) = (Tracker::new(), 0);
    let header = Header { run: 1, ..Header::default() };
    let mut recorder =
        Recorder::start(store, header, Duration::ZERO, Box::new(|error| panic!("{error}")))
            .unwrap();
    // As fast as can be, each to be written at once, until the disk has not kept up with that.
    let mut more = 10;
    while more > 0 {
        let batch = batch(recorded + 1..recorded + 4);
        batch.events.iter().for_each(|event| tracker.apply(event));
        recorded += 3;
        recorder.record(batch, &tracker);
        if more < 10 || recorder.queue.missed() > 0 {
            more -= 1;
        }
    }
    let (totals, result) = recorder.finish(BootTime(recorded + 1));
    result.unwrap();
    assert_eq!(totals.events + totals.unrecorded, recorded);
    assert!(totals.unrecorded > 0);
    let (ids, lost, _, _, has_ended) = read(&path);
    assert_eq!((ids.len() as u64, lost, has_ended), (totals.events, totals.unrecorded, true));
}
