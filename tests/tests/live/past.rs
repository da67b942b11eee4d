//! `list`, `limits` and `leaks` print the same from a recording as they did live.

use std::{path::Path, process::Command};

use inotify_trace_tests::{Cgroup, Listing, agent::binary, live_test, system};
use serde_json::{Value, json};

use crate::scene;

/// The JSON output of a command, and its exit code.
fn said(arguments: &[&str], recording: Option<&Path>) -> (Vec<Value>, Option<i32>) {
    let mut command = Command::new(binary());
    command.args(arguments).args(["-o", "json"]);
    if let Some(recording) = recording {
        command.arg("--recording").arg(recording);
    }
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, output.status.code())
}

#[live_test]
fn a_listing_of_the_past_is_what_it_was_then() {
    let (_machine, world, agent) = scene();
    let directory = system::directory();
    let mut subject = world.subject();
    let mut fd = subject.create(0).unwrap();
    for _ in 0..2 {
        fd = subject.create(libc::IN_CLOEXEC).unwrap();
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    let child = subject.fork();
    // Waits for the fork's event: `list` has no other sign that the agent has seen it.
    agent.expect(&world);
    let then = jiff::Timestamp::now().to_string();
    let before = Listing::by("process", &[]);
    subject.close(fd);
    let _ = subject.create(0).unwrap();
    let run = agent.finish(&world);
    let recording = run.recording().unwrap();
    world.check_recording(&recording);
    let back_then = Listing::recorded(&recording, "process", &["--at", &then]);
    for pid in [subject.pid(), child.pid()] {
        assert_eq!(back_then.process(pid), before.process(pid), "{pid}");
        assert!(before.process(pid).is_some());
    }
    let at_the_end = Listing::recorded(&recording, "process", &[]);
    assert_ne!(before.process(subject.pid()), at_the_end.process(subject.pid()));
}

#[live_test]
fn limits_and_leaks_of_the_past_are_what_they_were() {
    const NAME: &str = "past::limits_and_leaks_of_the_past_are_what_they_were";
    let (_machine, world, agent) = scene();
    let Some(gone) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let file = gone.directory().join("cgroup.events");
    subject.watch(fd, &file, libc::IN_MODIFY).unwrap();
    let before = said(&["limits"], None).0;
    gone.remove();
    let (live, code) = said(&["leaks", "--settle", "1"], None);
    assert_eq!(code, Some(1), "{live:?}");
    let run = agent.stop();
    let recording = run.recording().unwrap();
    // Compares users and settings; the recommendation also depends on the rest of the list.
    let after = said(&["limits"], Some(&recording)).0;
    let user = |report: &Value| {
        let uid = json!(subject.actor.uid);
        let users = report["users"].as_array().unwrap().clone();
        users.into_iter().find(|user| user["user"]["uid"] == uid).unwrap()
    };
    for field in ["user", "used", "limit", "watches_used", "watch_limit"] {
        assert_eq!(user(&after[0])[field], user(&before[0])[field], "{field}");
    }
    assert_eq!(after[0]["settings"], before[0]["settings"]);
    let (told, code) = said(&["leaks", "--settle", "0.5"], Some(&recording));
    assert_eq!(code, Some(1), "{told:?}");
    let of = |verdicts: &[Value]| {
        let own = verdicts.iter().find(|verdict| verdict["pid"] == subject.pid()).unwrap();
        ["verdict", "comm", "instances", "remedy"].map(|field| own[field].clone())
    };
    assert_eq!(of(&told), of(&live));
    assert_eq!(of(&told)[0], "target-gone");
    let earlier = said(&["leaks", "--at", "+0"], Some(&recording));
    assert_eq!(earlier, (Vec::new(), Some(0)), "nothing was leaked when it began");
}
