//! Recordings of several machines, and of machines in other time zones.

use std::process::Output;

use serde_json::Value;

use crate::{
    agent,
    recordings::{made, made_on, run},
    text,
};

#[test]
fn every_command_names_each_of_several_machines() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    made_on("node-a", &path("a1.itrec"), 2, 0);
    made_on("node-a", &path("a2.itrec"), 3, 600);
    made_on("node-b", &path("b.itrec"), 11, 600);
    let all = directory.path().to_str().unwrap();
    let lines = |output: &Output| -> Vec<Value> {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let nodes = |lines: &[Value]| {
        let nodes = lines.iter().map(|it| it["node"].as_str().expect("a name").to_owned());
        nodes.collect::<Vec<_>>()
    };
    let listed = run(&["list", "--recording", all, "-o", "json"]);
    assert!(text(&listed.stderr).contains("node-a: the end of the last recording is shown"));
    assert!(text(&listed.stderr).contains("1 earlier one is left out"));
    let listed = lines(&listed);
    let count = |it: &Value| it["total"]["instances"].as_u64();
    assert_eq!(nodes(&listed), ["node-a", "node-b"]);
    assert_eq!(listed.iter().map(count).collect::<Vec<_>>(), [Some(3), Some(11)]);
    assert_eq!(listed[0]["time"], "2026-03-01T00:11:40.200000000Z");
    let csv = run(&["list", "--recording", all, "-o", "csv", "--columns", "pid,instances"]);
    // They are made with one descriptor, which only the last of them still has.
    let expected = "node,pid,instances\nnode-a,,2\nnode-a,7,1\nnode-b,,10\nnode-b,7,1\n";
    assert_eq!(text(&csv.stdout), expected);
    // The files by themselves are the same.
    let (one, other) = (path("a2.itrec"), path("b.itrec"));
    let both = ["--recording", one.to_str().unwrap(), "--recording", other.to_str().unwrap()];
    for command in ["list", "leaks", "limits"] {
        let output = run(&[&[command], &both[..]].concat());
        let shown = text(&output.stdout);
        for name in
            ["node-a, as of 2026-03-01T00:11:40+00:00:", "node-b, as of 2026-03-01T00:11:41"]
        {
            assert!(shown.contains(name), "{command}: {shown}");
        }
        assert!(output.stderr.is_empty(), "{command}: {}", text(&output.stderr));
    }
    let table = run(&[&["list"], &both[..]].concat());
    let rows = text(&table.stdout).lines().map_while(|row| row.split_whitespace().next());
    assert_eq!(rows.collect::<Vec<_>>(), ["NODE", "node-a", "node-a", "node-b", "node-b"]);
    assert_eq!(
        nodes(&lines(&run(&[&["limits", "-o", "json"], &both[..]].concat()))),
        ["node-a", "node-b"]
    );
    // A moment of one of them only.
    let then = run(&[&["list", "-o", "json", "--at", "00:11:41"], &both[..]].concat());
    assert!(text(&then.stderr).contains("node-a: nothing was recorded at 2026-03-01T00:11:41"));
    assert_eq!(nodes(&lines(&then)), ["node-b"]);
    let then = run(&[&["list", "-o", "json", "--at", "00:11:40.1"], &both[..]].concat());
    assert_eq!(lines(&then).iter().map(count).collect::<Vec<_>>(), [Some(2), Some(2)]);

    let replayed = lines(&run(&["replay", all, "-o", "json"]));
    assert_eq!(nodes(&replayed).iter().filter(|it| *it == "node-b").count(), 11 + 1);
    let replayed = run(&["replay", all]);
    let heads = text(&replayed.stdout).lines().filter(|line| line.ends_with("+00:00:"));
    assert_eq!(heads.count(), 3, "{}", text(&replayed.stdout));
    assert_eq!(nodes(&lines(&run(&["export", "-f", "jsonl", all]))).len(), 3 + 2 + 3 + 11);
}

#[test]
fn times_are_in_one_zone() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 11);
    let file = file.to_str().unwrap();
    let there = |arguments: &[&str]| {
        let output = agent(arguments).env("TZ", "CET-1").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let said = there(&["replay", file, "--timestamps", "iso", "--to", "1:01:40.5"]);
    assert!(said.contains("since 2026-03-01T01:01:40+01:00"), "{said}");
    assert!(said.contains("--to 01:01:40.5 is 2026-03-01T01:01:40.5+01:00"), "{said}");
    assert!(said.contains("2026-03-01T01:01:40.500000+01:00 create"), "{said}");
    assert!(!said.contains("00Z") && !said.contains("+00:00"), "{said}");
    let said = there(&["replay", file, "--utc", "--timestamps", "iso", "--to", "0:01:40.5"]);
    assert!(said.contains("since 2026-03-01T00:01:40+00:00"), "{said}");
    assert!(said.contains("--to 00:01:40.5 is 2026-03-01T00:01:40.5+00:00"), "{said}");
    assert!(said.contains("2026-03-01T00:01:40.500000+00:00 create"), "{said}");
    assert!(!said.contains("+01:00"), "{said}");
    let said = there(&["report", file, "--utc", "--format", "text"]);
    assert!(said.contains("2026-03-01 00:01:40 +00:00") && !said.contains("+01:00"), "{said}");
    let said = there(&["list", "--recording", file, "--utc", "--at", "0:01:40.5"]);
    assert!(said.contains("--at 00:01:40.5 is 2026-03-01T00:01:40.5+00:00"), "{said}");
}
