//! Recordings on the command line. The machines are made up, since no test here depends on a real
//! one.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use inotify_trace::recording::{Header, Recorder, Rotation, Store};
use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Task},
    feed::Batch,
    tracker::Tracker,
};
use serde_json::Value;

use inotify_trace_tests::wait;

use crate::{agent, make_pipe, refuses, text};

/// 2026-03-01T00:00:00Z.
const BOOTED: i64 = 1_772_323_200_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// A recorder of a made-up machine, which writes what it gets at once.
pub(crate) fn recorder(path: &Path, header: Header) -> Recorder {
    let store = Store::new(path, Rotation::default()).unwrap();
    let say = Box::new(|what: &str| panic!("{what}"));
    Recorder::start(store, header, Duration::ZERO, say).unwrap()
}

/// A recording of `instances` new instances, one every 0.1 seconds. The first is created when the
/// machine has been up for 100 seconds, and each has a frame of its own.
pub(crate) fn made(path: &Path, instances: u64) -> PathBuf {
    made_after(path, instances, 0)
}

/// The same for a machine that booted `later` seconds after the others.
fn made_after(path: &Path, instances: u64, later: u64) -> PathBuf {
    made_on("made-up", path, instances, later)
}

/// The same on a machine of this name.
pub(crate) fn made_on(host: &str, path: &Path, instances: u64, later: u64) -> PathBuf {
    let booted = BOOTED.checked_add_unsigned(later * SECOND).unwrap();
    let started = BootTime(100 * SECOND);
    let run = host.bytes().fold(1 + later, |run, byte| run * 31 + u64::from(byte));
    let host = host.to_owned();
    made_of(Header { run, booted, started, host, ..Header::default() }, path, instances)
}

/// The same with this header.
pub(crate) fn made_of(header: Header, path: &Path, instances: u64) -> PathBuf {
    let started = header.started;
    let mut recorder = recorder(path, header);
    let mut tracker = Tracker::new();
    let task = Task {
        pid: 7,
        tid: 7,
        uid: 0,
        comm: "maker".into(),
        cgroup: CgroupId(1),
        ..Task::default()
    };
    let mut time = started;
    for number in 0..instances {
        time = BootTime(started.0 + number * SECOND / 10);
        let instance = InstanceId(number + 1);
        let kind = EventKind::InstanceCreated { instance, fd: 3, flags: 0, quota: None };
        let event = Event { time, task: Some(task), kind };
        tracker.apply(&event);
        let written = fs::metadata(path).unwrap().len();
        recorder.record(Batch { time, judged: false, events: vec![event] }, &tracker);
        wait::until("it is written", || fs::metadata(path).unwrap().len() != written);
    }
    let (totals, result) = recorder.finish(time);
    result.unwrap();
    assert_eq!((totals.events, totals.unrecorded), (instances, 0));
    path.to_owned()
}

/// Runs the agent in UTC.
pub(crate) fn run(arguments: &[&str]) -> Output {
    agent(arguments).env("TZ", "UTC").output().expect("the agent must start")
}

pub(crate) fn replay(file: &Path, options: &[&str]) -> Output {
    run(&[&["replay", file.to_str().unwrap(), "-o", "json"], options].concat())
}

/// The times of the shown events, in tenths of a second since the start of the recording.
pub(crate) fn shown(output: &Output) -> Vec<u64> {
    let lines = text(&output.stdout).lines().map(serde_json::from_str::<Value>);
    let mut events: Vec<_> = lines.map(Result::unwrap).collect();
    events.retain(|event| event["event"] != "summary" && event["event"] != "lost");
    let at = |event: &Value| {
        let tenths = (event["boot_ns"].as_u64().unwrap() - 100 * SECOND) * 10 / SECOND;
        assert_eq!(event["instance"], tenths + 1, "known by the same number: {event}");
        tenths
    };
    events.iter().map(at).collect()
}

fn is_well(output: Output) -> Output {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let others = errors.lines().filter(|line| !line.starts_with("inotify-trace: --"));
    assert_eq!(others.count(), 1, "only a greeting, and which moment is meant: {errors}");
    output
}

#[test]
fn a_part_is_told_by_time_in_any_way_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    let of = |options: &[&str]| shown(&is_well(replay(&file, options)));
    let all: Vec<_> = (0..=10).collect();
    assert_eq!(of(&[]), all);
    for from in [
        "00:01:40.5",
        "2026-03-01T00:01:40.5",
        "2026-03-01T00:01:40.5Z",
        "2026-03-01T02:01:40.5+02:00",
        "2026-03-01 0:01:40.5",
        "@1772323300.5",
        "+0.5",
        "+500ms",
        "-0.5",
        "-500ms",
    ] {
        assert_eq!(of(&["--from", from]), [5, 6, 7, 8, 9, 10], "{from}");
        assert_eq!(of(&["--to", from]), [0, 1, 2, 3, 4, 5], "{from}");
        assert_eq!(of(&["--from", from, "--to", "+0.8"]), [5, 6, 7, 8], "{from}");
    }
    // A range beyond the recording is cut off.
    assert_eq!(of(&["--from", "-1h", "--to", "now"]), all);
    assert_eq!(of(&["--from=-200ms"]), [8, 9, 10]);
    assert_eq!(of(&["--from", "2020-01-01T00:00:00Z", "--to", "2030-01-01T00:00:00Z"]), all);
}

#[test]
fn a_time_means_the_same_in_each_run() {
    let directory = tempfile::tempdir().unwrap();
    made(&directory.path().join("a.itrec"), 11);
    // The machine booted ten minutes later; a range that ends before that is no error.
    made_after(&directory.path().join("b.itrec"), 11, 600);
    let of = |options: &[&str]| {
        let output = replay(directory.path(), options);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        shown(&output)
    };
    let second: Vec<_> = (0..=10).collect();
    let both = |first: &[u64]| [first, &second].concat();
    for from in ["00:01:40.8", "2026-03-01T00:01:40.8Z", "+0.8"] {
        assert_eq!(of(&["--from", from]), both(&[8, 9, 10]), "{from}");
    }
    assert_eq!(of(&["--to", "00:01:40.1"]), [0, 1]);
    assert_eq!(of(&["--from", "00:05", "--to", "00:11:40.2"]), [0, 1, 2]);
}

#[test]
fn at_each_speed_the_same_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    // The unit tests cover the pace itself.
    for (speed, to, last) in [("10", "+1", 10), ("5x", "+1", 10), ("0.5", "+0.2", 2)] {
        let of = |speed| replay(&file, &["--speed", speed, "--to", to]);
        let output = is_well(of(speed));
        assert_eq!(shown(&output), (0..=last).collect::<Vec<_>>(), "{speed}");
        assert_eq!(text(&output.stdout), text(&of("max").stdout), "{speed}");
    }
}

#[test]
fn mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let file = made(Path::new(&path("a.itrec")), 3);
    let file = file.to_str().unwrap();
    let (missing, empty, blank, other) =
        (path("missing"), path("empty"), path("blank"), path("other"));
    fs::create_dir(&empty).unwrap();
    fs::write(&blank, "").unwrap();
    fs::write(&other, "#!/bin/sh\necho 'not a recording at all'\n").unwrap();
    for command in ["--from", "--to"] {
        refuses(&run(&["replay", file, command, "noon"]), &["noon", command, "time of day"]);
        refuses(&run(&["replay", file, command, "+soon"]), &["+soon", command, "+90s"]);
    }
    let backwards = ["replay", file, "--from", "+0.2", "--to", "+0.1"];
    refuses(&run(&backwards), &["--to is before --from", "2026-03-01T00:01:40.2+00:00"]);
    for speed in ["0", "-1", "fast", "inf"] {
        let speed = format!("--speed={speed}");
        refuses(&run(&["replay", file, &speed]), &["--speed", "above 0", "max"]);
    }
    let words = [
        (&missing, "no such file: give a recording"),
        (&empty, "no recordings in this directory"),
        (&blank, "empty"),
        (&other, "no recording of inotify-trace"),
    ];
    for (path, words) in words {
        let output = run(&["replay", path]);
        refuses(&output, &[path, words]);
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
        for command in ["list", "leaks", "limits"] {
            refuses(&run(&[command, "--recording", path]), &[path, words]);
        }
        // The command still shows the other events.
        let output = run(&["replay", path, file, "-o", "json"]);
        assert_eq!((output.status.code(), shown(&output)), (Some(2), vec![0, 1, 2]));
        assert!(text(&output.stderr).contains(words));
    }
    refuses(&run(&["replay"]), &["FILE"]);
    for command in ["list", "leaks", "limits"] {
        refuses(&run(&[command, "--at", "+1"]), &["--recording"]);
    }
}

#[test]
fn what_is_outside_of_a_recording_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    let file = file.to_str().unwrap();
    let covered = "2026-03-01T00:01:40+00:00 to 2026-03-01T00:01:41+00:00 on made-up";
    let outside = ["03:05", "00:01", "2026-03-01T00:00:00Z", "2026-03-01 00:01:41.1", "+2s", "now"];
    for command in ["list", "leaks", "limits"] {
        for at in outside.into_iter().chain(["-2s", "@0"]) {
            let output = run(&[command, "--recording", file, "--at", at]);
            let instead = "such as 2026-03-01T00:01:40+00:00, or -10s";
            refuses(&output, &["--at", "outside of the recording", covered, instead]);
        }
    }
    for from in outside {
        if from != "2026-03-01T00:00:00Z" {
            refuses(&run(&["replay", file, "--from", from]), &["--from", covered]);
        }
    }
    for to in ["03:05", "2026-03-01T00:00:00Z", "@0", "-2s"] {
        refuses(&run(&["replay", file, "--to", to]), &["--to", covered]);
    }
    // A time of day is in the reader's time zone.
    let there = agent(&["list", "--recording", file, "--at", "03:05"]).env("TZ", "CET-1").output();
    refuses(&there.unwrap(), &["2026-03-01T01:01:40+01:00 to 2026-03-01T01:01:41+01:00"]);
}

/// The number of instances that `list --at` shows, and its messages on standard error.
pub(crate) fn listed(path: &Path, at: &str) -> (u64, String) {
    let path = path.to_str().unwrap();
    let output = run(&["list", "--recording", path, "-o", "json", "--at", at]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    (listing["total"]["instances"].as_u64().unwrap(), errors.to_owned())
}

#[test]
fn the_moment_taken_is_said_where_only_a_time_of_day_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    let taken = "inotify-trace: --at 00:01:40.5 is 2026-03-01T00:01:40.5+00:00\n";
    assert_eq!(listed(&file, "0:01:40.5"), (6, taken.to_owned()));
    for at in ["2026-03-01T00:01:40.5", "2026-03-01 00:01:40.5Z", "@1772323300.5", "+500ms", "-0.5"]
    {
        assert_eq!(listed(&file, at), (6, String::new()), "{at}");
    }
    assert_eq!(listed(&file, "+0"), (1, String::new()));
    assert_eq!(listed(&file, "-0s"), (11, String::new()));
    let output = replay(&file, &["--from", "0:01:40.5", "--to", "0:01:40.7"]);
    assert_eq!(shown(&output), [5, 6, 7]);
    for taken in ["--from 00:01:40.5 is 2026-03-01T00:01:40.5+00:00", "--to 00:01:40.7 is"] {
        assert!(text(&output.stderr).contains(taken), "{}", text(&output.stderr));
    }
}

#[test]
fn a_time_of_day_is_the_last_that_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    made(&directory.path().join("a.itrec"), 11);
    // The same time on the next day, but only half a second of it.
    made_after(&directory.path().join("b.itrec"), 6, 86_400);
    let (instances, said) = listed(directory.path(), "00:01:40.3");
    assert_eq!(instances, 4);
    assert!(said.contains("is 2026-03-02T00:01:40.3+00:00"), "{said}");
    let (instances, said) = listed(directory.path(), "00:01:40.8");
    assert_eq!(instances, 9);
    assert!(said.contains("is 2026-03-01T00:01:40.8+00:00"), "{said}");
    assert_eq!(listed(directory.path(), "2026-03-01T00:01:40.2").0, 3);
    assert_eq!(listed(directory.path(), "-0.1").0, 5);
    assert_eq!(listed(directory.path(), "+0.1").0, 2);
    // The recording has a gap during the night.
    let output = run(&["list", "--recording", directory.path().to_str().unwrap(), "--at", "12:00"]);
    refuses(&output, &["2026-03-01T00:01:40+00:00 to", "2026-03-02T00:01:40+00:00 to"]);
}

/// Where the last frame begins.
pub(crate) fn last_frame(bytes: &[u8]) -> usize {
    let mut at = 10;
    loop {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let next = at + 16 + length as usize;
        if next == bytes.len() {
            return at;
        }
        at = next;
    }
}

#[test]
fn the_end_of_what_was_killed_is_the_last_that_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    // Without the frame that marks a clean end, then with half of another frame.
    let bytes = fs::read(&file).unwrap();
    let end = last_frame(&bytes);
    fs::write(&file, &bytes[..end]).unwrap();
    assert_eq!(listed(&file, "-0.2"), (9, String::new()));
    fs::write(&file, [&bytes[..end], &[2, 1, 0, 0, 99, 0, 0, 0, 9]].concat()).unwrap();
    let output =
        run(&["list", "--recording", file.to_str().unwrap(), "-o", "json", "--at", "-0.2"]);
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listing["total"]["instances"], 9, "{}", text(&output.stderr));
    let output = run(&["list", "--recording", file.to_str().unwrap(), "--at", "00:01:41.1"]);
    refuses(&output, &["2026-03-01T00:01:40+00:00 to 2026-03-01T00:01:41+00:00"]);
}

#[test]
fn what_is_being_recorded_lasts_until_now() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    let bytes = fs::read(&file).unwrap();
    let end = last_frame(&bytes);
    fs::write(&file, &bytes[..end]).unwrap();
    let lock = fs::File::open(&file).unwrap();
    lock.lock().unwrap();
    for at in ["now", "-0s", "2026-03-01T00:01:41.1"] {
        assert_eq!(listed(&file, at), (11, String::new()), "{at}");
    }
    drop(lock);
    let output = run(&["list", "--recording", file.to_str().unwrap(), "--at", "now"]);
    refuses(&output, &["outside of the recording"]);
}

#[test]
fn one_file_has_no_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.itrec");
    let path = path.to_str().unwrap();
    for rotation in
        [["--rotate-size", "1M"], ["--rotate-time", "1h"], ["--keep", "3"], ["--max-total", "1G"]]
    {
        let output = run(&["record", "-o", path, rotation[0], rotation[1]]);
        refuses(&output, &[path, rotation[0], "directory"]);
    }
    let directory = directory.path().to_str().unwrap();
    let contradiction = ["--rotate-size", "2M", "--max-total", "1M"];
    let output = run(&[&["record", "-o", directory], &contradiction[..]].concat());
    refuses(&output, &["--rotate-size", "--max-total"]);
    for bad in ["1K", "255K"] {
        let output = run(&["record", "-o", directory, "--max-total", bad]);
        refuses(&output, &[bad, "--max-total", "at least 256K"]);
    }
    for bad in ["0", "many", "1X", "-1"] {
        for option in ["--rotate-size", "--rotate-time", "--keep", "--max-total", "--flush"] {
            refuses(&run(&["record", "-o", directory, &format!("{option}={bad}")]), &[option, bad]);
        }
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_reader_that_leaves_ends_a_replay_quietly() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 2000);
    for format in ["json", "text"] {
        let mut child = agent(&["replay", file.to_str().unwrap(), "-o", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent must start");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(out);
        let status = child.wait().unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!((status.code(), errors.lines().count()), (Some(0), 1), "{errors}");
    }
}

#[test]
fn what_is_no_file_is_no_recording() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("pipe.itrec");
    make_pipe(&fifo);
    let zero = Path::new("/dev/zero");
    for path in [fifo.as_path(), zero] {
        let path = path.to_str().unwrap();
        for command in
            [&["replay", path][..], &["report", path], &["export", "--format", "csv", path]]
        {
            refuses(&agent(command).output().unwrap(), &[path, "no regular file"]);
        }
    }
    // One in a directory hides no recording there.
    let whole = made(&directory.path().join("whole.itrec"), 3);
    assert!(whole.exists());
    let output = agent(&["replay", "-o", "json", directory.path().to_str().unwrap()]).output();
    let output = output.unwrap();
    assert!(text(&output.stderr).contains("pipe.itrec: cannot be read: no regular file"));
    assert_eq!(text(&output.stdout).matches("\"event\":\"create\"").count(), 3);
}
