//! Names in a recording are whatever containers chose, or whoever made the file.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use inotify_trace::recording::Header;
use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Task},
    feed::Batch,
    tracker::Tracker,
};

use crate::{recordings::recorder, refuses, run, text};

/// Moves the cursor, sets a colour in 8 bits, reverses what follows, and ends the line.
const NAME: &str = "=\x1b[2J\u{9b}31m\u{202e}\u{2066}\u{2028}\rx\n";

/// A recording with that name wherever text can be.
fn hostile(path: &Path) -> PathBuf {
    let started = BootTime(100_000_000_000);
    let text = || NAME.to_owned();
    let header = Header {
        run: 1,
        started,
        host: text(),
        kernel: text(),
        backend: text(),
        tool_version: text(),
        unseen: vec![text()],
        users: [(0, text())].into(),
        ..Header::default()
    };
    let mut recorder = recorder(path, header);
    let mut tracker = Tracker::new();
    let task = Task {
        pid: 7,
        tid: 7,
        uid: 0,
        comm: NAME[..13].into(),
        cgroup: CgroupId(9),
        ..Task::default()
    };
    let instance = InstanceId(1);
    let kinds = [
        EventKind::CgroupCreated { cgroup: CgroupId(9), path: format!("/{NAME}").into() },
        EventKind::InstanceCreated { instance, fd: 3, flags: 0, quota: None },
        EventKind::WatchFailed {
            instance: Some(instance),
            fd: 3,
            path: Some(NAME.into()),
            mask: 2,
            errno: 2,
            quota: None,
        },
    ];
    for (kind, number) in kinds.into_iter().zip(0..) {
        let event = Event { time: BootTime(started.0 + number), task: Some(task), kind };
        tracker.apply(&event);
        recorder.record(Batch { time: event.time, judged: false, events: vec![event] }, &tracker);
    }
    recorder.finish(BootTime(started.0 + 10)).1.unwrap();
    path.to_owned()
}

#[test]
fn nothing_moves_the_cursor_or_reverses_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = hostile(&directory.path().join("hostile.itrec"));
    let file = file.to_str().unwrap();
    for arguments in [
        &["replay", file][..],
        &["replay", file, "-e", "cgroup-create,create,watch-failed", "--wide"],
        &["report", file, "--format", "text"],
        &["report", file, "--format", "html"],
        &["list", "--recording", file],
        &["list", "--recording", file, "-o", "wide"],
        &["list", "--recording", file, "--by", "container"],
        &["list", "--recording", file, "--by", "user"],
        &["leaks", "--recording", file],
        &["limits", "--recording", file],
        // Errors name the host too.
        &["list", "--recording", file, "--at", "2020-01-01T00:00:00Z"],
    ] {
        let output = run(arguments);
        for stream in [&output.stdout, &output.stderr] {
            let is_bad = |c: &char| {
                let is_control = c.is_control() && *c != '\n';
                is_control || "\u{202e}\u{2066}\u{2028}".contains(*c)
            };
            let bad: Vec<_> = text(stream).chars().filter(is_bad).collect();
            assert_eq!(bad, [], "{arguments:?}: {}", text(stream));
        }
    }
}

#[test]
fn a_spreadsheet_runs_no_name_as_a_formula() {
    let directory = tempfile::tempdir().unwrap();
    let file = hostile(&directory.path().join("hostile.itrec"));
    let file = file.to_str().unwrap();
    for arguments in
        [&["list", "--recording", file, "-o", "csv"][..], &["export", file, "--format", "csv"]]
    {
        let rows = |options: &[&str]| {
            let output = run(&[arguments, options].concat());
            let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
            let rows = reader.records().map(Result::unwrap);
            rows.flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let is_formula = |cell: &String| cell.starts_with('=');
        assert!(rows(&[]).iter().any(is_formula), "as it is, for programs");
        let safe = rows(&["--csv-safe"]);
        assert!(!safe.iter().any(is_formula), "{safe:?}");
        assert!(safe.iter().any(|cell| cell.starts_with("'=")), "{safe:?}");
    }
    refuses(&run(&["export", file, "--format", "jsonl", "--csv-safe"]), &["--csv-safe"]);
    refuses(&run(&["list", "--recording", file, "--csv-safe"]), &["--csv-safe"]);
}

#[test]
fn a_report_follows_no_link_and_keeps_nobody_s_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = hostile(&directory.path().join("hostile.itrec"));
    let of = |path: &Path| {
        run(&["report", file.to_str().unwrap(), "-o", path.to_str().unwrap(), "--force"])
    };
    let [theirs, link, old] =
        ["theirs", "link.html", "old.html"].map(|name| directory.path().join(name));
    fs::write(&theirs, "theirs").unwrap();
    symlink(&theirs, &link).unwrap();
    refuses(&of(&link), &["link.html", "no regular file", "-o"]);
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");

    fs::write(&old, "old").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o666)).unwrap();
    let output = of(&old);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&old).unwrap().starts_with("<!DOCTYPE html>"));
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 4, "nothing temporary is left");
}
