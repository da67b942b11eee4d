//! What grows, and what only looks as if it did.

mod soak;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use inotify_trace_tests::{
    Agent, Cgroup, Process, Run,
    agent::binary,
    live_test,
    process::{hex, workload},
    system,
    wait::Wait,
};
use serde_json::{Value, json};

/// Growth counts after these seconds here, so that the tests are short.
const SPAN: &str = "5";

/// The pace of what grows.
const PACE: Duration = Duration::from_millis(200);

/// A process whose charges are its own.
fn start() -> Process {
    let mut process = Process::start();
    process.call(&format!("uid {}", system::fresh_uid())).unwrap();
    process
}

/// Makes an instance that watches a path.
fn watch(process: &mut Process, path: &Path) -> i32 {
    let fd = process.call("init1 0").unwrap();
    let path = hex(path.as_os_str().as_encoded_bytes());
    process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
    fd
}

fn agent() -> Agent {
    Agent::unparsed(&["leaks", "--watch", "-o", "json", "--growth-span", SPAN])
}

/// An agent that records, and the file.
fn recorder() -> (tempfile::TempDir, String, Agent) {
    let directory = system::directory();
    let file = directory.path().join("growth.itrec").to_str().unwrap().to_owned();
    let agent = Agent::unparsed(&["record", "-o", &file]);
    (directory, file, agent)
}

/// The verdicts among the lines, of a kind.
fn verdicts(lines: &[Value], kind: &str) -> Vec<Value> {
    let parsed = lines.iter().map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap());
    parsed.filter(|verdict: &Value| verdict["verdict"] == kind).collect()
}

/// The verdicts on a process.
fn about(run: &Run, kind: &str, pid: u32) -> Vec<Value> {
    verdicts(&run.events, kind).into_iter().filter(|it| it["pid"] == pid).collect()
}

/// What `leaks` says about a recording, and its exit code.
fn recorded(file: &str, options: &[&str]) -> (Vec<Value>, Option<i32>) {
    let arguments = [&["leaks", "-o", "json", "--recording", file], options].concat();
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(arguments).output().unwrap();
    assert!(status.code() != Some(2), "{}", String::from_utf8_lossy(&stderr));
    let lines = String::from_utf8(stdout).unwrap();
    let said = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (said, status.code())
}

/// Acts at a pace until the agent has reached a verdict of this kind on the process.
fn until_told(agent: &Agent, kind: &str, pid: u32, mut act: impl FnMut()) {
    let wait = Wait::begin();
    loop {
        act();
        let events = agent.events();
        if verdicts(&events, kind).iter().any(|it| it["pid"] == pid) {
            return;
        }
        assert!(!wait.left().is_zero(), "waited in vain for {kind} of {pid}: {events:?}");
        thread::sleep(PACE);
    }
}

#[live_test(each = kernel)]
fn a_leak_among_many_that_are_closed_is_told_and_use_is_not() {
    let _machine = system::the_machine();
    let (directory, (_kept, file, recorder), agent) = (system::directory(), recorder(), agent());
    let (mut leaky, mut follower, mut tidy) = (start(), start(), start());
    let (mut kept, mut closed, mut followed) = (0_u64, 0_u64, 0_u64);
    until_told(&agent, "growing", leaky.pid, || {
        // Four made, three closed.
        let made: Vec<_> = (0..4).map(|_| watch(&mut leaky, directory.path())).collect();
        for fd in &made[1..] {
            leaky.call(&format!("close {fd}")).unwrap();
        }
        (kept, closed) = (kept + 1, closed + 3);
        // One for each log, all in use.
        let log = directory.path().join(format!("{followed}.log"));
        fs::write(&log, "").unwrap();
        watch(&mut follower, &log);
        followed += 1;
        let fd = watch(&mut tidy, directory.path());
        tidy.call(&format!("close {fd}")).unwrap();
    });
    // What was recorded after it would be of a process that does not grow any more.
    let (_, run) = (recorder.stop(), agent.stop());
    assert_eq!(run.status.code(), Some(1));
    let told = about(&run, "growing", leaky.pid);
    let [verdict] = &told[..] else { panic!("one verdict: {told:?}") };
    let count = verdict["instances"].as_u64().unwrap();
    assert!((8..=kept).contains(&count), "{kept} are kept, {closed} closed: {verdict}");
    assert_eq!((&verdict["leak"], &verdict["certain"]), (&json!(true), &json!(false)));
    assert_eq!(verdict["path"].as_str(), directory.path().to_str());
    let remedy = verdict["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("list --watches -p {}", leaky.pid)), "{remedy}");
    assert!(!remedy.contains("restart"), "{remedy}");
    // As many as are kept, and not as are made.
    let rate = verdict["per_minute"].as_f64().unwrap();
    assert!(rate < 60.0 / PACE.as_secs_f64(), "{verdict}");
    for process in [&follower, &tidy] {
        let told: Vec<_> = run.events.iter().filter(|it| it["pid"] == process.pid).collect();
        let leaks: Vec<_> = told.iter().filter(|it| it["leak"] == true).collect();
        assert_eq!(leaks, [] as [&&Value; 0], "{followed} are followed");
    }
    // The recording says the same.
    let (told, status) = recorded(&file, &["--growth-span", SPAN]);
    let of = |pid| told.iter().filter(move |it| it["pid"] == pid && it["leak"] == true);
    let [verdict] = &of(leaky.pid).collect::<Vec<_>>()[..] else { panic!("one: {told:?}") };
    assert_eq!(verdict["verdict"], "growing");
    assert_eq!((of(follower.pid).count(), of(tidy.pid).count(), status), (0, 0, Some(1)));
    // By default it takes longer to tell.
    assert!(recorded(&file, &[]).0.iter().all(|it| it["pid"] != leaky.pid || it["leak"] == false));
}

#[live_test]
fn what_is_not_decided_yet_is_told_while_the_limit_comes_near() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let agent = Agent::unparsed(&["leaks", "--watch", "-o", "json"]);
    let (mut leaky, mut follower) = (start(), start());
    let mut number = 0;
    until_told(&agent, "limit-near", follower.pid, || {
        if number < 100 {
            watch(&mut leaky, directory.path());
        }
        let log = directory.path().join(format!("{number}.log"));
        fs::write(&log, "").unwrap();
        watch(&mut follower, &log);
        number += 1;
    });
    agent.wait_for("the leak's", |lines| {
        verdicts(lines, "limit-near").iter().any(|it| it["pid"] == leaky.pid)
    });
    let run = agent.stop();
    for (process, looks_used) in [(&leaky, false), (&follower, true)] {
        let told = about(&run, "limit-near", process.pid);
        let first = told.first().unwrap();
        assert_eq!((&first["looks_used"], &first["leak"]), (&json!(looks_used), &json!(false)));
        let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
        assert_eq!(first["limit"], limit, "{first}");
        assert!(first["used"].as_u64().unwrap() <= number, "{number} were made: {first}");
        assert!(first["seconds_left"].as_u64().unwrap() <= 600, "{first}");
    }
}

#[live_test]
fn equal_processes_that_come_near_the_limit_are_one_note_before_it_is_decided() {
    const NAME: &str =
        "growth::equal_processes_that_come_near_the_limit_are_one_note_before_it_is_decided";
    let _machine = system::the_machine();
    let Some(service) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let directory = system::directory();
    let agent = Agent::unparsed(&["leaks", "--watch", "-o", "json"]);
    let uid = system::fresh_uid();
    let start = || {
        let mut process = Process::start();
        service.add(process.pid);
        process.call(&format!("uid {uid}")).unwrap();
        watch(&mut process, directory.path());
        process
    };
    let first = start();
    let oldest = first.pid;
    let mut tails = vec![first];
    until_told(&agent, "limit-near", oldest, || tails.push(start()));
    let run = agent.stop();
    let told = about(&run, "limit-near", oldest);
    let [note] = &told[..] else { panic!("one note: {told:?}") };
    assert_eq!((&note["leak"], &note["looks_used"]), (&json!(false), &json!(false)));
    assert_eq!((&note["comm"], &note["cgroup"]), (&json!("workload"), &json!(service.path)));
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let made = tails.len() as u64;
    assert_eq!(note["limit"], limit, "{note}");
    assert!(note["used"].as_u64().unwrap() <= made, "{made} were made: {note}");
    // The youngest may still end like others.
    let processes = note["processes"].as_u64().unwrap();
    assert!((12..=made).contains(&processes), "{made} were made: {note}");
    assert!(note["seconds_left"].as_u64().unwrap() <= 600, "{note}");
    let pids: Vec<_> = tails.iter().map(|it| json!(it.pid)).collect();
    let others = run.events.iter().map(|it| serde_json::from_str::<Value>(it.as_str().unwrap()));
    let others: Vec<_> = others.map(Result::unwrap).filter(|it| it != note).collect();
    assert!(others.iter().all(|it| !pids.contains(&it["pid"])), "{others:?}");
}

#[live_test]
fn equal_processes_that_pile_up_are_one_verdict_on_their_service() {
    const NAME: &str = "growth::equal_processes_that_pile_up_are_one_verdict_on_their_service";
    let _machine = system::the_machine();
    let Some(service) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let (directory, (_kept, file, recorder), agent) = (system::directory(), recorder(), agent());
    let (strays_program, tail_program) =
        (directory.path().join("stray"), directory.path().join("tail"));
    for program in [&strays_program, &tail_program] {
        fs::copy(workload(), program).unwrap();
    }
    let (mut strays, mut tails): (Vec<Process>, Vec<Process>) = Default::default();
    let start = |program: &Path, path: &Path| {
        let mut process = Process::start_as(program, &[]);
        service.add(process.pid);
        watch(&mut process, path);
        process
    };
    let first = start(&strays_program, directory.path());
    let oldest = first.pid;
    strays.push(first);
    until_told(&agent, "piling-up", oldest, || {
        strays.push(start(&strays_program, directory.path()));
        // Each of these has a file of its own.
        let log = directory.path().join(format!("{}.log", tails.len()));
        fs::write(&log, "").unwrap();
        tails.push(start(&tail_program, &log));
        // And these end.
        drop(start(&workload(), directory.path()));
    });
    let (run, _) = (agent.stop(), recorder.stop());
    let piles = verdicts(&run.events, "piling-up");
    let ours: Vec<_> = piles.iter().filter(|it| it["cgroup"] == service.path).collect();
    let [pile] = &ours[..] else { panic!("one pile: {piles:?}") };
    assert_eq!((&pile["comm"], &pile["pid"]), (&json!("stray"), &json!(oldest)));
    let count = pile["processes"].as_u64().unwrap();
    assert!((8..=strays.len() as u64).contains(&count), "{}: {pile}", strays.len());
    assert_eq!(pile["instances"], count, "one each: {pile}");
    assert_eq!(run.status.code(), Some(1));
    let (told, _) = recorded(&file, &["--growth-span", SPAN]);
    let told: Vec<_> = told.iter().filter(|it| it["cgroup"] == service.path).collect();
    let [pile] = &told[..] else { panic!("one pile: {told:?}") };
    assert_eq!((&pile["verdict"], &pile["pid"]), (&json!("piling-up"), &json!(oldest)));
}

#[live_test]
fn many_on_the_same_target_are_worth_a_note_at_once() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let (mut same, mut none, mut various) = (start(), start(), start());
    for number in 0..12 {
        watch(&mut same, directory.path());
        none.call("init1 0").unwrap();
        let own = directory.path().join(number.to_string());
        fs::write(&own, "").unwrap();
        watch(&mut various, &own);
    }
    let Output { stdout, status, .. } =
        Command::new(binary()).args(["leaks", "-o", "json", "--settle", "1"]).output().unwrap();
    let lines: Vec<Value> = String::from_utf8(stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |pid: u32| lines.iter().filter(move |it| it["pid"] == pid);
    for (process, path) in [(&same, directory.path().to_str()), (&none, None)] {
        let [note] = &of(process.pid).collect::<Vec<_>>()[..] else {
            panic!("one note: {lines:?}")
        };
        assert_eq!((&note["verdict"], &note["leak"]), (&json!("alike"), &json!(false)));
        assert_eq!((&note["instances"], note["path"].as_str()), (&json!(12), path));
        assert!(note["remedy"].as_str().unwrap().contains("leaks --watch"), "{note}");
    }
    assert_eq!(of(various.pid).count(), 0);
    let has_leak = lines.iter().any(|it| it["leak"] == true);
    assert_eq!(status.code(), Some(i32::from(has_leak)), "a note changes nothing: {lines:?}");
}

#[live_test]
fn the_pace_of_watches_is_told_with_that_of_instances() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let agent = Agent::unparsed(&["limits", "--watch", "-o", "json"]);
    let mut process = Process::start();
    let uid = system::fresh_uid();
    process.call(&format!("uid {uid}")).unwrap();
    let fd = process.call("init1 0").unwrap();
    let mut wds = Vec::new();
    for number in 0..40 {
        let path = directory.path().join(number.to_string());
        fs::write(&path, "").unwrap();
        let path = hex(path.as_os_str().as_encoded_bytes());
        wds.push(process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap());
    }
    for wd in &wds[..10] {
        process.call(&format!("unwatch {fd} {wd}")).unwrap();
    }
    let run = agent.stop();
    let report: Value = serde_json::from_str(run.events.last().unwrap().as_str().unwrap()).unwrap();
    let users = report["users"].as_array().unwrap();
    let user = users.iter().find(|it| it["user"]["uid"] == uid).unwrap();
    let rate = &user["watch_rate"];
    assert_eq!((&rate["added"], &rate["removed"]), (&json!(40), &json!(10)), "{user}");
    let (rate, seconds) = (rate["per_minute"].as_f64().unwrap(), rate["seconds"].as_f64().unwrap());
    assert!((rate * seconds / 60.0 - 30.0).abs() < 0.01, "{user}");
    let left = user["watch_limit"].as_f64().unwrap() - user["watches_used"].as_f64().unwrap();
    let told = user["watch_rate"]["seconds_left"].as_f64().unwrap();
    assert!((told - left / rate * 60.0).abs() < 0.01 * told, "{user}");
}
