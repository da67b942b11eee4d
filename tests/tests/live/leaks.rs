//! Leaks from before the start, later leaks, and instances that only look like leaks.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use inotify_trace_tests::{
    Agent, Cgroup, Process,
    agent::binary,
    live_test,
    process::{hex, workload},
    system,
    system::boot_ns,
    wait::Wait,
};
use serde_json::{Value, json};

/// A second, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A file of a cgroup, encoded for the workload's commands.
fn path_of(cgroup: &Cgroup, file: &str) -> String {
    hex(cgroup.directory().join(file).as_os_str().as_encoded_bytes())
}

/// Creates an instance that watches a file of a cgroup.
fn watch(process: &mut Process, cgroup: &Cgroup) -> i64 {
    let fd = process.call("init1 0").unwrap();
    let path = path_of(cgroup, "cgroup.events");
    process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
    i64::from(fd)
}

/// The output of `leaks` for a process, and its exit code.
fn leaks(process: &Process, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let (mut verdicts, status) = said_by_leaks(arguments);
    verdicts.retain(|verdict| verdict["pid"] == process.pid);
    (verdicts, status)
}

/// All verdicts of `leaks`, and its exit status.
fn said_by_leaks(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(["leaks", "-o", "json"]).args(arguments).output().unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    let said = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let verdicts = said.collect();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.code() != Some(2), "{errors}");
    (verdicts, status.code())
}

// Linux 7 removes the watch with the cgroup, so no trace of the leak is left.
#[live_test]
fn what_is_leaked_already_is_found() {
    const NAME: &str = "leaks::what_is_leaked_already_is_found";
    let _machine = system::the_machine();
    let Some(living) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let mut process = Process::start();
    watch(&mut process, &living);
    assert_eq!(leaks(&process, &["--settle", "1"]).0, [] as [Value; 0], "nothing is gone");
    for _ in 0..3 {
        let gone = Cgroup::new().unwrap();
        watch(&mut process, &gone);
        gone.remove();
    }
    let (verdicts, status) = leaks(&process, &["--settle", "1"]);
    let [verdict] = &verdicts[..] else { panic!("one verdict: {verdicts:?}") };
    assert_eq!(verdict["verdict"], "target-gone", "{verdict}");
    assert_eq!((&verdict["instances"], &verdict["was_found"]), (&json!(3), &json!(true)));
    assert_eq!(status, Some(1));
}

#[live_test]
fn a_watched_file_that_is_replaced_is_no_leak() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let log = directory.path().join("app.log");
    fs::write(&log, "").unwrap();
    let mut process = Process::start();
    let fd = process.call("init1 0").unwrap();
    let path = hex(log.as_os_str().as_encoded_bytes());
    process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
    fs::remove_file(&log).unwrap();
    assert_eq!(leaks(&process, &["--settle", "1"]).0, [] as [Value; 0]);
    let watched = ["--watch", "3", "--grace", "1"];
    assert_eq!(leaks(&process, &watched).0, [] as [Value; 0]);
}

#[live_test(each = kernel)]
fn a_leak_is_told_when_the_grace_period_is_over_and_not_before() {
    const NAME: &str = "leaks::a_leak_is_told_when_the_grace_period_is_over_and_not_before";
    const GRACE: u64 = 2;
    let _machine = system::the_machine();
    // The test repeats if the tidy process was too late, because the machine did not run it within
    // the grace period: only measured times count.
    for _ in 0..20 {
        let Some(gone) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
        let in_time = Cgroup::new().unwrap();
        let grace = GRACE.to_string();
        let agent = Agent::unparsed(&["leaks", "--watch", "-o", "json", "--grace", &grace]);
        let (mut leaky, mut tidy) = (Process::start(), Process::start());
        watch(&mut leaky, &gone);
        let fd = watch(&mut tidy, &in_time);
        let removing = boot_ns();
        gone.remove();
        let removed = boot_ns();
        in_time.remove();
        tidy.call(&format!("close {fd}")).unwrap();
        let was_in_time = boot_ns() < removing + GRACE * SECOND;
        let leaky_is_told = |line: &Value| {
            let verdict: Value = serde_json::from_str(line.as_str().unwrap()).unwrap();
            verdict["pid"] == leaky.pid
        };
        agent.wait_for("a verdict", |lines| lines.iter().any(leaky_is_told));
        let run = agent.stop();
        if !was_in_time {
            continue;
        }
        assert_eq!(run.events.len(), 1, "only the leaky one: {:?}", run.events);
        let verdict: Value = serde_json::from_str(run.events[0].as_str().unwrap()).unwrap();
        assert_eq!((&verdict["pid"], &verdict["instances"]), (&json!(leaky.pid), &json!(1)));
        assert_eq!(verdict["verdict"], "target-gone");
        assert_eq!(run.status.code(), Some(1));
        let time =
            |field: &str| -> jiff::Timestamp { verdict[field].as_str().unwrap().parse().unwrap() };
        let after = time("time").duration_since(time("since")).as_nanos();
        let after = u64::try_from(after).unwrap();
        assert!(after >= GRACE * SECOND, "told before it was over: {verdict}");
        let since = verdict["boot_ns"].as_u64().unwrap() - after;
        assert!((removing..=removed).contains(&since), "{removing} to {removed}: {verdict}");
        return;
    }
    panic!("nobody is ever in time on this machine");
}

/// A copy of the workload as containerd's shim.
fn program(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    let program = directory.path().join(name).join("containerd-shim-runc-v2");
    fs::create_dir(program.parent().unwrap()).unwrap();
    fs::copy(workload(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Waits until the agent has told of all that was done so far, and returns the shims it told of: the
/// process, the container's id, and containerd's namespace.
fn shims_told(agent: Agent) -> Vec<[Value; 3]> {
    let mut last = Process::start();
    last.call("init1 0").unwrap();
    agent.wait_for_event(&json!({ "event": "create", "pid": last.pid }));
    let run = agent.stop();
    let shims = run.events.iter().filter(|event| event["event"] == "shim");
    let told = |event: &Value| {
        assert_eq!(event.get("containerd_version"), None);
        [&event["pid"], &event["target_container"]["id"], &event["containerd_namespace"]]
            .map(Value::clone)
    };
    shims.map(told).collect()
}

#[live_test]
fn a_shim_says_once_whom_it_serves_whether_it_was_there_before_or_not() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let program = program(&directory, "of-root");
    let shim = |id| Process::start_as(&program, &["-namespace", "k8s.io", "-id", id]);
    let mut earlier = shim("a1");
    earlier.call("init1 0").unwrap();
    earlier.call("init1 0").unwrap();
    let agent = Agent::with(&["-e", "shim,create"]);
    let (mut later, mut other) = (shim("b2"), Process::start());
    other.call("init1 0").unwrap();
    // After the close and before the next call the shim holds no instance.
    for _ in 0..300 {
        let fd = later.call("init1 0").unwrap();
        later.call(&format!("close {fd}")).unwrap();
    }
    let expected = |shim: &Process, id| [json!(shim.pid), json!(id), json!("k8s.io")];
    assert_eq!(shims_told(agent), [expected(&earlier, "a1"), expected(&later, "b2")]);
}

#[live_test]
fn who_only_looks_like_a_shim_is_none() {
    let _machine = system::the_machine();
    let Some(cgroup) = Cgroup::of_containerd() else {
        let test = "leaks::who_only_looks_like_a_shim_is_none";
        return system::skip(test, "no cgroup v2 hierarchy is mounted");
    };
    let directory = system::directory();
    let (of_root, of_all) = (program(&directory, "of-root"), program(&directory, "of-all"));
    fs::set_permissions(&of_all, fs::Permissions::from_mode(0o777)).unwrap();
    let start =
        |program: &Path, id| Process::start_as(program, &["-namespace", "k8s.io", "-id", id]);
    let agent = Agent::with(&["-e", "shim,create"]);
    let mut liars: Vec<_> = (0..5).map(|_| start(&of_root, "4fa3")).collect();
    let [user, set_user, namespace, contained, too_long] = &mut liars[..] else { unreachable!() };
    user.call("uid 65534").unwrap();
    set_user.call("euid 65534").unwrap();
    namespace.call(&format!("unshare {}", libc::CLONE_NEWUSER)).unwrap();
    cgroup.add(contained.pid);
    let id = "4".repeat(10_000);
    *too_long = start(&of_root, &id);
    liars.push(start(&of_all, "4fa3"));
    for liar in &mut liars {
        let fd = liar.call("init1 0").unwrap();
        liar.call(&format!("close {fd}")).unwrap();
        liar.call("init1 0").unwrap();
    }
    // Not that nobody is one.
    let mut honest = start(&of_root, "b2");
    honest.call("init1 0").unwrap();
    assert_eq!(shims_told(agent), [[json!(honest.pid), json!("b2"), json!("k8s.io")]]);
}

/// A cgroup with the files of the memory controller; None if the hierarchy has no such controller.
pub(crate) fn with_memory() -> Option<Cgroup> {
    let root = inotify_trace_tests::cgroup::mount_point()?;
    // It may be on already; and on the machines of this test, nobody else depends on it.
    let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
    Cgroup::new().filter(|cgroup| cgroup.directory().join("memory.events").exists())
}

/// A shim that keeps an instance on these files of each of two cgroups that are gone.
pub(crate) fn leaky_shim(program: &Path, files: &[&str], cgroup: impl Fn() -> Cgroup) -> Process {
    let mut shim = Process::start_as(program, &["-namespace", "k8s.io", "-id", "a1"]);
    for _ in 0..2 {
        let gone = cgroup();
        let fd = shim.call("init1 0").unwrap();
        for file in files {
            let path = path_of(&gone, file);
            shim.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
        }
        gone.remove();
    }
    shim
}

/// Whether the kernel has removed the watches of the process's instances.
fn is_emptied(process: &Process) -> bool {
    let directory = format!("/proc/{}/fdinfo", process.pid);
    let texts = fs::read_dir(directory).unwrap().flatten().map(|it| fs::read_to_string(it.path()));
    !texts.flatten().any(|text| text.contains("inotify wd:"))
}

#[live_test(each = kernel)]
fn a_known_bug_of_a_shim_has_the_same_name_by_every_road() {
    const NAME: &str = "leaks::a_known_bug_of_a_shim_has_the_same_name_by_every_road";
    let _machine = system::the_machine();
    if Cgroup::new().is_none() {
        return system::skip(NAME, "no cgroup v2");
    }
    let has_memory = with_memory().is_some();
    let directory = system::directory();
    let program = directory.path().join("containerd-shim-runc-v2");
    fs::copy(workload(), &program).unwrap();
    // All at once: a start of the agent takes seconds on an emulated processor.
    let recording = directory.path().join("a.itrec");
    let recording = recording.to_str().unwrap();
    let trace = Agent::with(&["-e", "shim", "--record", recording]);
    let watcher = Agent::unparsed(&["leaks", "--watch", "-o", "json", "--grace", "0"]);
    let make = || if has_memory { with_memory() } else { Cgroup::new() }.unwrap();
    let mut shims = Vec::new();
    for (files, expected) in [
        (&["memory.events"][..], Some("containerd#5670")),
        (&["memory.events", "cgroup.events"], Some("containerd-exit-before-watch")),
        (&["cgroup.events"], None),
        (&["cgroup.events", "cgroup.stat"], None),
    ] {
        if files.contains(&"memory.events") && !has_memory {
            system::skip(NAME, "cgroup v2 has no memory controller: its files are not tried");
            continue;
        }
        shims.push((leaky_shim(&program, files, make), files, expected));
    }
    let name = |verdict: &Value| (verdict["pattern"].clone(), verdict["remedy"].clone());
    let told = |lines: &[Value], shim: &Process| {
        let all = lines.iter().map(|it| serde_json::from_str(it.as_str().unwrap()).unwrap());
        let both = |it: &Value| it["pid"] == shim.pid && it["instances"] == 2;
        all.into_iter().find(both).as_ref().map(name)
    };
    watcher.wait_for("a verdict on both of each", |lines| {
        shims.iter().all(|(shim, ..)| told(lines, shim).is_some())
    });
    let told = shims.iter().map(|(shim, ..)| told(&watcher.events(), shim).unwrap());
    let told: Vec<_> = told.collect();
    drop(watcher);
    trace.wait_for("the shims", |events| events.len() >= shims.len());
    drop(trace.stop());
    let of = |arguments: &[&str]| -> Vec<_> {
        let (verdicts, _) = said_by_leaks(arguments);
        let of_shim = |shim: &Process| {
            let its: Vec<_> = verdicts.iter().filter(|it| it["pid"] == shim.pid).collect();
            let [verdict] = its[..] else { panic!("one verdict on {}: {verdicts:?}", shim.pid) };
            assert_eq!(verdict["instances"], 2, "{verdict}");
            name(verdict)
        };
        // Where nothing is left of the watches, only who holds it shows what it was for.
        let is_shown = |shim: &Process| arguments[0] == "--recording" || !is_emptied(shim);
        let shown = shims.iter().map(|(shim, ..)| is_shown(shim).then(|| of_shim(shim)));
        shown.collect()
    };
    let recorded = of(&["--recording", recording, "--settle", "0"]);
    let seen = of(&["--settle", "1"]);
    for (index, (_, files, expected)) in shims.iter().enumerate() {
        let told = &told[index];
        assert_eq!(told.0, expected.map_or(Value::Null, Value::from), "{files:?}");
        assert_eq!(recorded[index].as_ref(), Some(told), "{files:?}");
        assert!(seen[index].as_ref().is_none_or(|seen| seen == told), "{files:?}: {seen:?}");
    }
}

#[live_test]
fn the_program_of_a_holder_of_many_is_read_once() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let program = directory.path().join("python3.99");
    fs::copy(workload(), &program).unwrap();
    let arguments = ["-m", "homeassistant", "--password", "secret"];
    let mut earlier = Process::start_as(&program, &arguments);
    for _ in 0..4 {
        earlier.call("init1 0").unwrap();
    }
    let agent = Agent::with(&["-e", "program"]);
    let (mut later, mut few) = (Process::start(), Process::start());
    for _ in 0..3 {
        few.call("init1 0").unwrap();
    }
    for _ in 0..9 {
        later.call("init1 0").unwrap();
    }
    let is_told = |events: &[Value], process: &Process| {
        events.iter().any(|event| event["pid"] == process.pid)
    };
    agent.wait_for("both", |events| is_told(events, &earlier) && is_told(events, &later));
    later.call("init1 0").unwrap();
    let run = agent.stop();
    let of = |process: &Process| {
        let its = run.events.iter().filter(|event| event["pid"] == process.pid);
        its.map(|it| [it["exe"].clone(), it["arguments"].clone()]).collect::<Vec<_>>()
    };
    assert_eq!(of(&earlier), [[json!("python3.99"), json!("homeassistant")]]);
    assert_eq!(of(&later), [[json!("workload"), Value::Null]]);
    assert!(!is_told(&run.events, &few), "{:?}", run.events);
}

#[live_test]
fn a_program_that_grows_is_a_known_bug_only_if_it_watches_what_that_does() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let start = |name: &str| {
        let program = directory.path().join(name);
        fs::copy(workload(), &program).unwrap();
        Process::start_as(&program, &[])
    };
    let recording = directory.path().join("night.itrec");
    let span = ["--growth-span", "5s"];
    let trace = Agent::with(&["-e", "program", "--record", recording.to_str().unwrap()]);
    let watcher = Agent::unparsed(&["leaks", "--watch", "-o", "json", span[0], span[1]]);
    // As c-ares watches for aiodns's resolvers, and any other program of the same interpreter.
    let (mut resolver, mut other) = (start("python3.98"), start("python3.99"));
    let of_resolver = libc::IN_ONLYDIR | libc::IN_CREATE | libc::IN_MODIFY | libc::IN_MOVED_TO;
    let verdict = |process: &Process, lines: &[Value]| -> Option<Value> {
        let all = lines.iter().map(|it| serde_json::from_str(it.as_str().unwrap()).unwrap());
        all.into_iter().find(|it: &Value| it["pid"] == process.pid && it["verdict"] == "growing")
    };
    let wait = Wait::begin();
    let told = loop {
        for (process, path, mask) in
            [(&mut resolver, "/etc", of_resolver), (&mut other, "/var", libc::IN_ALL_EVENTS)]
        {
            let fd = process.call("init1 0").unwrap();
            process.call(&format!("watch {fd} {} {mask}", hex(path.as_bytes()))).unwrap();
        }
        let lines = watcher.events();
        if let Some(both) = verdict(&resolver, &lines).zip(verdict(&other, &lines)) {
            break both;
        }
        assert!(!wait.left().is_zero(), "no verdict: {lines:?}");
        // Root has 128 instances by default: slowly.
        std::thread::sleep(std::time::Duration::from_secs(1));
    };
    assert_eq!((&told.0["pattern"], told.1.get("pattern")), (&json!("aiodns#175"), None));
    drop(watcher);
    drop(trace.stop());
    let path = recording.to_str().unwrap();
    let of = |process: &Process| {
        let (verdicts, _) = leaks(process, &["--recording", path, span[0], span[1]]);
        let its = verdicts.iter().find(|it| it["verdict"] == "growing");
        its.map(|it| (it["pattern"].clone(), it["remedy"].clone()))
    };
    for (process, told) in [(&resolver, &told.0), (&other, &told.1)] {
        assert_eq!(of(process), Some((told["pattern"].clone(), told["remedy"].clone())));
    }
}
