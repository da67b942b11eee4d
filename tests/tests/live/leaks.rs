//! Leaks from before the start, later leaks, and instances that only look like leaks.

use std::{
    fs,
    process::{Command, Output},
};

use inotify_trace_tests::{
    Agent, Cgroup, Process,
    agent::binary,
    live_test,
    process::{hex, workload},
    system,
    system::boot_ns,
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
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(["leaks", "-o", "json"]).args(arguments).output().unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    let said = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ours: Vec<_> = said.filter(|verdict| verdict["pid"] == process.pid).collect();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.code() != Some(2), "{errors}");
    (ours, status.code())
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

#[live_test]
fn a_shim_says_whom_it_serves_whether_it_was_there_before_or_not() {
    let _machine = system::the_machine();
    let directory = system::directory();
    // The name alone makes a process a shim.
    let program = directory.path().join("containerd-shim-runc-v2");
    fs::copy(workload(), &program).unwrap();
    let shim = |id| Process::start_as(&program, &["-namespace", "k8s.io", "-id", id]);
    let mut earlier = shim("a1");
    earlier.call("init1 0").unwrap();
    earlier.call("init1 0").unwrap();
    let agent = Agent::with(&["-e", "shim"]);
    let (mut later, mut other) = (shim("b2"), Process::start());
    other.call("init1 0").unwrap();
    // After the close and before the next call the shim holds no instance.
    let fd = later.call("init1 0").unwrap();
    later.call(&format!("close {fd}")).unwrap();
    later.call("init1 0").unwrap();
    agent.wait_for("the second shim, twice", |events| events.len() >= 3);
    let run = agent.stop();
    let fields = |event: &Value| {
        let known =
            [&event["pid"], &event["target_container"]["id"], &event["containerd_namespace"]]
                .map(Value::clone);
        assert_eq!((&event["event"], event.get("containerd_version")), (&json!("shim"), None));
        known
    };
    let expected = |shim: &Process, id| [json!(shim.pid), json!(id), json!("k8s.io")];
    assert_eq!(
        run.events.iter().map(fields).collect::<Vec<_>>(),
        [expected(&earlier, "a1"), expected(&later, "b2"), expected(&later, "b2")]
    );
}
