//! Tests of when files are complete, and of what cannot be written.

use std::{fs, sync::Mutex};

use inotify_trace_model::event::{InstanceId, Quota};

use super::*;

/// 1970-01-01 00:00 is when the machine of these tests was booted.
fn hours(directory: &Path) -> (Hours, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let its = Arc::clone(&said);
    let say = Box::new(move |text: &str| its.lock().unwrap().push(text.to_owned()));
    let header = Header { host: "n1".to_owned(), run: 7, ..Header::default() };
    (Hours::new(directory.to_owned(), header, Arc::default(), say), said)
}

/// An instance is created so many seconds after the boot.
fn create(seconds: u64) -> Batch {
    let time = BootTime(seconds * 1_000_000_000);
    let quota = Some(Quota::own(1, 128, 0, 1));
    let kind = EventKind::InstanceCreated { instance: InstanceId(seconds), fd: 5, flags: 0, quota };
    let task = Some(inotify_trace_model::testing::task(1, "x"));
    Batch { time, judged: false, events: vec![Event { time, task, kind }] }
}

/// The files with their final names, below the node's directory.
fn complete(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for hour in ["00", "01", "02"] {
        let place = format!("date=1970-01-01/hour={hour}");
        let Ok(files) = fs::read_dir(directory.join("node=n1").join(&place)) else { continue };
        let names = files.flatten().map(|it| it.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| !name.ends_with(".partial"));
        found.extend(names.map(|name| format!("{hour}/{name}")));
    }
    found.sort();
    found
}

#[test]
fn a_file_has_its_name_when_its_hour_is_over_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let (mut hours, said) = hours(directory.path());
    hours.batch(create(3590));
    hours.batch(create(3599));
    assert_eq!(hours.due(), Some(BootTime(HOUR)));
    assert_eq!(complete(directory.path()), [""; 0]);
    hours.batch(create(3600));
    let first = "00/0000000000000007-0000-0.parquet";
    assert_eq!(complete(directory.path()), [first]);
    assert_eq!(hours.due(), Some(BootTime(2 * HOUR)));
    // One that comes late is not lost: its file follows.
    hours.batch(create(3599));
    hours.complete();
    let rest = ["00/0000000000000007-0001-1.parquet", "01/0000000000000007-0001-0.parquet"];
    assert_eq!(complete(directory.path()), [first, rest[0], rest[1]]);
    assert_eq!((hours.progress.files(), hours.progress.missed()), (2, 0));
    assert!(said.lock().unwrap().is_empty());
}

#[test]
fn what_cannot_be_written_is_counted_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    // A file is where the node's directory should be.
    fs::write(directory.path().join("node=n1"), "").unwrap();
    let (mut hours, said) = hours(directory.path());
    hours.batch(create(10));
    hours.batch(create(11));
    let count = |it: &Hours| (it.progress.files(), it.progress.errors(), it.progress.missed());
    assert_eq!(count(&hours), (0, 1, 2), "between two attempts there is time");
    assert_eq!(said.lock().unwrap().len(), 1);
    fs::remove_file(directory.path().join("node=n1")).unwrap();
    hours.failed = Instant::now().checked_sub(RETRY);
    hours.batch(create(12));
    hours.miss(BootTime(13_000_000_000), 5);
    hours.complete();
    assert_eq!(count(&hours), (1, 1, 7));
    assert_eq!(complete(directory.path()).len(), 1);
    let said = said.lock().unwrap();
    assert!(said[0].starts_with("exporting stopped: ") && said[0].contains("node=n1"), "{said:?}");
    assert!(said.len() == 2 && said[1].starts_with("exporting goes on"), "{said:?}");
    // The state has what was missed.
    assert_eq!(hours.story.tracker().instances().count(), 3);
}
