//! A part of a recording, by time, in reports and exports.

use std::path::Path;

use super::{
    recordings::{made, run, shown},
    refuses, text,
};

fn file(directory: &tempfile::TempDir) -> String {
    made(&directory.path().join("a.itrec"), 11).to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn exports_have_what_a_replay_of_the_part_has() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(&directory);
    for (options, expected) in [
        (&["--from", "+0.5"][..], (5..=10).collect::<Vec<_>>()),
        (&["--to", "00:01:40.5"], (0..=5).collect()),
        (&["--from", "+0.5", "--to", "-0.2"], (5..=8).collect()),
        (&["--from", "-1h", "--to", "now"], (0..=10).collect()),
        // Nothing happened then, and that is no mistake.
        (&["--from", "+0.51", "--to", "+0.59"], vec![]),
    ] {
        let output = run(&[&["export", &file, "-f", "jsonl"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", text(&output.stderr));
        assert_eq!(shown(&output), expected, "{options:?}");
        let output = run(&[&["export", &file, "-f", "csv"], options].concat());
        // A row of names comes first.
        assert_eq!(text(&output.stdout).lines().count(), expected.len() + 1, "{options:?}");
    }
}

#[test]
fn a_report_covers_the_part_and_what_existed_when_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(&directory);
    let report = |options: &[&str]| {
        let output = run(&[&["report", &file, "-f", "text"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{options:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let (whole, part) = (report(&[]), report(&["--from", "+0.5", "--to", "+0.8"]));
    assert!(whole.contains("11 instances") && !part.contains("11 instances"), "{whole}\n{part}");
    assert!(!part.contains("no end") && part.contains("OK: made-up"), "{part}");
}

#[test]
fn what_is_outside_is_refused_as_by_a_replay() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(&directory);
    let covered = "2026-03-01T00:01:40+00:00 to 2026-03-01T00:01:41+00:00 on made-up";
    let target = directory.path().join("out.csv");
    let out = target.to_str().unwrap();
    for command in [&["report", &file, "-f", "text"][..], &["export", &file, "-o", out]] {
        let with = |options: &[&str]| run(&[command, options].concat());
        refuses(&with(&["--from", "+2s"]), &["--from", "outside of the recording", covered]);
        refuses(&with(&["--to", "@0"]), &["--to", "outside of the recording", covered]);
        refuses(&with(&["--from", "+0.5", "--to", "+0.1"]), &["--to is before --from"]);
        assert!(!Path::new(out).exists(), "{command:?}");
    }
}
