//! Tests of when files are complete, of what cannot be written, and of what a killed agent left.

use std::{fs, sync::Mutex};

use inotify_trace_model::{
    event::{InstanceId, Quota},
    feed::Item,
    story::Story,
    verdict::Grace,
};
use inotify_trace_tests::wait;

use super::*;

fn header() -> Header {
    // 1970-01-01 00:00 is when the machine of these tests was booted.
    Header { host: "n1".to_owned(), run: 7, ..Header::default() }
}

/// An agent that exports.
struct Running {
    story: Story,
    exports: Exports,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let exports = Exports::start(directory, header(), Box::new(|_| ())).unwrap();
        Self { story: Story::new(BootTime(0), Grace::default()), exports }
    }

    /// An instance is created so many seconds after the boot.
    fn create(&mut self, seconds: u64) {
        self.story.take(Item::Batch(create(seconds)), &mut self.exports).unwrap();
    }

    fn finish(self) {
        self.exports.finish(self.story.tracker(), self.story.now()).unwrap();
    }
}

fn create(seconds: u64) -> Batch {
    let time = BootTime(seconds * 1_000_000_000);
    let quota = Some(Quota::own(1, 128, 0, 1));
    let kind = EventKind::InstanceCreated { instance: InstanceId(seconds), fd: 5, flags: 0, quota };
    let task = Some(inotify_trace_model::testing::task(1, "x"));
    Batch { time, judged: false, events: vec![Event { time, task, kind }] }
}

/// The files below the node's directory, with their final names or without.
fn files(directory: &Path, are_complete: bool) -> Vec<String> {
    let mut found = Vec::new();
    for hour in ["00", "01", "02"] {
        let place = format!("date=1970-01-01/hour={hour}");
        let Ok(files) = fs::read_dir(directory.join("node=n1").join(&place)) else { continue };
        let names = files.flatten().map(|it| it.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| name.ends_with(".partial") != are_complete);
        found.extend(names.map(|name| format!("{hour}/{name}")));
    }
    found.sort();
    found
}

fn complete(directory: &Path) -> Vec<String> {
    files(directory, true)
}

#[test]
fn a_file_has_its_name_when_its_hour_is_over_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path());
    running.create(3590);
    running.create(3599);
    // What came late may still follow.
    running.create(3604);
    wait::until("both hours have a file", || files(directory.path(), false).len() == 2);
    assert_eq!(running.exports.due(), Some(BootTime(HOUR + LATE)));
    assert_eq!(complete(directory.path()), [""; 0]);
    running.create(3605);
    wait::until("it is complete", || running.exports.progress().files.get() == 1);
    let first = ["00/0000000000000007-0000-0.parquet", "01/0000000000000007-0000-1.parquet"];
    assert_eq!(complete(directory.path()), first);
    assert_eq!(running.exports.due(), None);
    running.create(3700);
    assert_eq!(running.exports.due(), Some(BootTime(2 * HOUR + LATE)));
    let progress = running.exports.progress();
    running.finish();
    let rest = "01/0000000000000007-0001-0.parquet";
    assert_eq!(complete(directory.path()), [first[0], first[1], rest]);
    assert_eq!((progress.files.get(), progress.missed.get()), (2, 0));
}

#[test]
fn what_does_not_fit_is_told_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path());
    // So many rows wait already.
    running.exports.waiting.store(WAITING, Ordering::Relaxed);
    running.create(1);
    running.create(2);
    assert_eq!(running.exports.missed, Some((BootTime(2_000_000_000), 2)));
    running.exports.waiting.store(0, Ordering::Relaxed);
    running.create(3);
    assert_eq!(running.exports.missed, None);
    let progress = running.exports.progress();
    running.finish();
    assert_eq!((progress.files.get(), progress.missed.get()), (1, 2));
}

#[test]
fn what_cannot_be_written_is_counted_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let its = Arc::clone(&said);
    let say = Box::new(move |text: &str| its.lock().unwrap().push(text.to_owned()));
    let mut files = Files::new(directory.path().to_owned(), header(), Arc::default(), say);
    // A file is where the node's directory should be.
    fs::write(directory.path().join("node=n1"), "").unwrap();
    let row = || vec![Row::new()];
    files.write(row(), 0);
    files.write(row(), 0);
    let count =
        |it: &Files| (it.progress.files.get(), it.progress.errors.get(), it.progress.missed.get());
    assert_eq!(count(&files), (0, 1, 2), "between two attempts there is time");
    assert_eq!(said.lock().unwrap().len(), 1);
    fs::remove_file(directory.path().join("node=n1")).unwrap();
    files.failed = Instant::now().checked_sub(RETRY);
    files.write(row(), 5);
    files.complete();
    assert_eq!(count(&files), (1, 1, 7));
    assert_eq!(complete(directory.path()).len(), 1);
    let said = said.lock().unwrap();
    assert!(said[0].starts_with("exporting stopped: ") && said[0].contains("node=n1"), "{said:?}");
    assert!(said.len() == 2 && said[1].starts_with("exporting goes on"), "{said:?}");
}

#[test]
fn what_a_killed_agent_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let hour = directory.path().join("node=n1/date=1970-01-01/hour=00");
    fs::create_dir_all(&hour).unwrap();
    fs::write(hour.join(".0000000000000006-0000-0.parquet.AbCdEf.partial"), "PAR1").unwrap();
    fs::write(hour.join("0000000000000006-0001-0.parquet"), "PAR1").unwrap();
    Running::start(directory.path()).finish();
    assert_eq!(files(directory.path(), false), [""; 0]);
    assert_eq!(complete(directory.path()).len(), 1);
}
