//! Recordings of several machines, and of machines in other time zones.

use std::{path::Path, process::Output};

use serde_json::Value;

use inotify_trace::recording::Header;
use inotify_trace_model::event::BootTime;

use crate::{
    agent,
    recordings::{made, made_of, made_on, run},
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
fn two_machines_of_one_name_are_told_by_their_ids() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other, old] = ["one", "other", "old"].map(|name| directory.path().join(name));
    let header = |run: u64, machine: &str, days: i64| Header {
        run,
        host: "node".to_owned(),
        machine: machine.to_owned(),
        boot_id: format!("boot-{run}"),
        // Neither is up while the other is.
        booted: days * 86_400_000_000_000,
        started: BootTime(100_000_000_000),
        ..Header::default()
    };
    made_of(header(1, "11111111abc", 1), &one, 2);
    made_of(header(2, "22222222abc", 3), &other, 11);
    made_of(header(3, "", 2), &old, 4);
    let both = |command: &[&str], [one, other]: [&Path; 2]| {
        let files = [one, other].map(|it| it.to_str().unwrap());
        let is_view = ["list", "limits", "leaks", "why"].contains(&command[0]);
        let files = match (is_view, files) {
            (true, [one, other]) => vec!["--recording", one, "--recording", other],
            (false, files) => files.to_vec(),
        };
        let output = run(&[command, &files].concat());
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let names = ["node (machine 11111111)", "node (machine 22222222)"];
    for command in ["list", "limits", "leaks", "why", "replay", "report"] {
        let format = if command == "report" { &["report", "-f", "text"] } else { &[command][..] };
        let (shown, errors) = both(format, [&one, &other]);
        for name in names {
            assert!(shown.contains(name), "{command}: {shown}");
        }
        assert!(!errors.contains("left out"), "{command}: {errors}");
    }
    let csv = ["list", "-o", "csv", "--columns", "instances"];
    let rows = "node,instances\nnode (machine 11111111),1\nnode (machine 11111111),1\n\
                node (machine 22222222),10\nnode (machine 22222222),1\n";
    assert_eq!(both(&csv, [&one, &other]).0, rows);
    for command in [&["list", "-o", "json"][..], &["export", "-f", "jsonl"]] {
        let machines = both(command, [&one, &other]).0;
        let machines = machines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut machines: Vec<_> =
            machines.map(|it| it["machine"].as_str().unwrap().to_owned()).collect();
        machines.dedup();
        assert_eq!(machines, ["11111111abc", "22222222abc"], "{command:?}");
    }
    // What was recorded before there were ids may be of the same machine.
    let (shown, errors) = both(&["list"], [&one, &old]);
    assert!(
        shown.ends_with("4 instances with 0 watches and 1 descriptor in 1 process\n"),
        "{shown}"
    );
    assert!(errors.contains("1 earlier one is left out"), "{errors}");
    assert!(errors.contains("whether these are of one machine cannot be told"), "{errors}");
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
