//! Instances, watches and processes that existed before the agent started.

use std::{collections::HashSet, fs};

use inotify_trace_tests::{
    Agent, Cgroup, Process, Subject, World, live_test, process::hex, system,
};
use serde_json::{Value, json};

use crate::nothing_lost;

#[live_test(each = backend)]
fn an_instance_from_before_ends_with_its_true_holder() {
    let directory = system::directory();
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(libc::IN_CLOEXEC | libc::IN_NONBLOCK).unwrap();
    subject.watch(fd, directory.path(), libc::IN_CREATE | libc::IN_DELETE).unwrap();
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    subject.close(fd);
    let run = agent.finish(&world);
    nothing_lost(&run);
    let created = run.events.iter().any(|it| it["event"] == "create" && it["pid"] == subject.pid());
    assert!(!created, "it was made before");
}

#[live_test(each = backend)]
fn an_instance_from_before_is_used_and_ends_by_exit() {
    let directory = system::directory();
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    let wd = subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    subject.unwatch(fd, wd);
    subject.create(0).unwrap();
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = kernel)]
fn each_of_many_watches_from_before_is_known() {
    let directory = system::directory();
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    for name in 1..=300 {
        let path = directory.path().join(name.to_string());
        fs::write(&path, "").unwrap();
        assert_eq!(subject.watch(fd, path, libc::IN_MODIFY), Ok(name));
    }
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    subject.unwatch(fd, 17);
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_shared_instance_from_before_is_one() {
    let _machine = system::the_machine();
    let world = World::new();
    let mut parent = world.subject();
    let fd = parent.create(0).unwrap();
    let mut child = parent.fork();
    let copy = child.dup(fd);
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    assert_eq!(instances_found(&agent, &[parent.pid(), child.pid()]), 1);
    parent.close(fd);
    child.close(copy);
    child.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn many_shared_instances_from_before_count_once() {
    const EACH: usize = 100;
    let _machine = system::the_machine();
    let world = World::new();
    let mut parents = [world.subject(), world.subject()];
    let mut children = Vec::new();
    for parent in &mut parents {
        for _ in 0..EACH {
            parent.create(0).unwrap();
        }
        children.extend([parent.fork(), parent.fork()]);
    }
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    let pids: Vec<_> = parents.iter().chain(&children).map(|subject| subject.pid()).collect();
    assert_eq!(instances_found(&agent, &pids), 2 * EACH);
    // The parents exit almost at once. One child then holds all instances until its end.
    let mut last = children.pop().unwrap();
    let [first, second] = &mut parents;
    first.exit();
    children.remove(2).exit_under(second);
    second.exit();
    agent.wait_for_event(&json!({ "event": "exit", "pid": second.pid() }));
    last.close_range(3, 52);
    drop(children);
    let _ = agent;
}

#[live_test(each = kernel)]
fn a_machine_full_of_instances_is_found_whole() {
    const INSTANCES: usize = 4;
    /// Watches of each process: 6000 in all, where it is not emulated.
    const WATCHES: usize = 30;
    let processes = if system::is_emulated() { 50 } else { 200 };
    if processes < 200 {
        system::skip(
            "before::a_machine_full_of_instances_is_found_whole",
            "with 50 processes instead of 200, which emulation is too slow for",
        );
    }
    let _machine = system::the_machine();
    let directory = system::directory();
    let files: Vec<_> = (0..WATCHES).map(|it| directory.path().join(it.to_string())).collect();
    for file in &files {
        fs::write(file, "").unwrap();
    }
    let world = World::new();
    let mut subjects: Vec<_> = (0..processes).map(|_| world.subject()).collect();
    for subject in &mut subjects {
        let fds: Vec<_> = (0..INSTANCES).map(|_| subject.create(0).unwrap()).collect();
        for (file, &fd) in files.iter().zip(fds.iter().cycle()) {
            subject.watch(fd, file, libc::IN_MODIFY).unwrap();
        }
    }
    // Some instances are shared: the agent finds them several times, but counts them once.
    for parent in 0..processes / 10 {
        let mut child = subjects[parent].fork();
        child.dup(3);
        subjects.push(child);
    }
    for arguments in [&[][..], &["--walk-proc"]] {
        world.traced_from_now();
        let names = ["-e", "found,watch-found,create,release"];
        let agent = Agent::with(&[&names, arguments].concat());
        agent.expect(&world);
        let pids: Vec<_> = subjects.iter().map(Subject::pid).collect();
        assert_eq!(instances_found(&agent, &pids), processes * INSTANCES, "{arguments:?}");
        nothing_lost(&agent.stop());
    }
    for subject in &subjects {
        subject.process.signal(libc::SIGKILL);
    }
}

#[live_test]
fn every_cgroup_that_is_watched_is_found() {
    let Some(cgroup) = Cgroup::new() else {
        return system::skip("before::every_cgroup_that_is_watched_is_found", "no cgroup v2");
    };
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let directory = cgroup.directory();
    let names =
        ["", "cgroup.procs", "cgroup.events", "cgroup.threads", "cgroup.type", "cgroup.freeze"];
    for name in names {
        subject.watch(fd, directory.join(name), libc::IN_MODIFY).unwrap();
    }
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = kernel)]
fn unread_events_are_counted() {
    let directory = system::directory();
    let _machine = system::the_machine();
    let mut process = Process::start();
    let fd = process.call("init1 0").unwrap();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    process.call(&format!("watch {fd} {path} {}", libc::IN_CREATE)).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let agent = Agent::start();
    agent.wait_for_event(&json!({ "event": "found", "pid": process.pid, "queued": 3 }));
    nothing_lost(&agent.stop());
}

/// The number of distinct instances found in these processes.
fn instances_found(agent: &Agent, pids: &[u32]) -> usize {
    let events = agent.events();
    let ours = events
        .iter()
        .filter(|event| event["event"] == "found" && pids.iter().any(|&pid| event["pid"] == pid));
    ours.flat_map(|event| event["instance"].as_u64()).collect::<HashSet<_>>().len()
}

#[live_test(each = backend, emulated = "the agent starts many times")]
fn what_happens_while_the_agent_starts_is_told_once() {
    let _machine = system::the_machine();
    let mut process = Process::start();
    let directory = system::directory();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    // The storm runs without a pause before, during and after the agent's start.
    process.tell(&format!("storm_until_told {path}"));
    let names = "found,create,release";
    let agent = Agent::unparsed(&["-o", "json", "-p", &process.pid.to_string(), "-e", names]);
    agent.wait_for("some of it is told", |lines| lines.len() > 1000);
    process.tell("gettid");
    assert_eq!(process.answer("storm"), Ok(0));
    process.answer("gettid").unwrap();
    // The last instance has a flag that the earlier ones lack.
    let last = process.call(&format!("init1 {}", libc::IN_NONBLOCK)).unwrap();
    process.call(&format!("close {last}")).unwrap();
    agent.wait_for("the last one's end is told", |lines| {
        let mut latest = lines.iter().rev().flat_map(Value::as_str);
        let end = latest.next().is_some_and(|line| line.contains(r#""event":"release""#));
        end && latest.next().is_some_and(|line| line.contains(r#""flags":["nonblock"]"#))
    });
    let run = agent.stop();
    // Each instance, found or created, has one number and ends once.
    let mut open = HashSet::new();
    let mut ended = HashSet::new();
    for line in run.events.iter().flat_map(Value::as_str) {
        let Some(instance) = number_after(line, r#""instance":"#) else { continue };
        assert!(!ended.contains(&instance), "after its end: {line}");
        if line.contains(r#""event":"create""#) {
            assert!(open.insert(instance), "made twice: {line}");
        } else if line.contains(r#""event":"found""#) {
            open.insert(instance);
        } else {
            assert!(open.remove(&instance), "ended unknown: {line}");
            ended.insert(instance);
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
}

fn number_after(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
