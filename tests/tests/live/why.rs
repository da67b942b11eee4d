//! `inotify-trace why` on machines with one thing wrong each: the answer names it, and what it says
//! to do is about it.

use std::{fs, process::Command};

use inotify_trace_tests::{
    Agent, Cgroup, Process, agent::binary, live_test, process::hex, system, wait,
};
use serde_json::Value;

use crate::{payers::of_one_user, queues, serve::Served};

const MAX_INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// The message of the bug that made most people look for this program.
const FSNOTIFY: &str = "failed to create fsnotify watcher: too many open files";

/// The answer, and its exit code.
fn why(arguments: &[&str]) -> (Value, Option<i32>) {
    let (text, code) = run(&[&["-o", "json"], arguments].concat());
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), code)
}

fn run(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(binary()).arg("why").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    (text, output.status.code())
}

/// The problems of this name.
fn problems<'a>(answer: &'a Value, name: &str) -> Vec<&'a Value> {
    let all = answer["problems"].as_array().unwrap();
    all.iter().filter(|it| it["problem"] == name).collect()
}

#[live_test]
fn a_full_quota_is_told_with_its_holders_by_every_question_about_it() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let greedy = Process::of_user_with(uid, limit - 2);
    let others = [Process::of_user_with(uid, 1), Process::of_user_with(uid, 1)];
    // Somebody without any, who is refused.
    let victim = Process::of_user_with(uid, 0);
    let user = uid.to_string();
    let pids = [greedy.pid.to_string(), victim.pid.to_string()];
    for question in [&[][..], &[FSNOTIFY], &[&*user], &[&*pids[0]], &[&*pids[1]]] {
        let (answer, code) = why(question);
        let full = problems(&answer, "limit-used-up");
        let full: Vec<_> = full.iter().filter(|it| it["user"]["uid"] == uid).collect();
        let [full] = full[..] else { panic!("{question:?}: {answer}") };
        assert_eq!((&full["used"], &full["limit"]), (&limit.into(), &limit.into()), "{full}");
        assert_eq!(full["resource"], "instances", "{full}");
        let who = format!("workload ({}) {}", greedy.pid, limit - 2);
        assert!(full["says"].as_str().unwrap().contains(&who), "{full}");
        let first = format!("look at workload ({}) first", greedy.pid);
        assert!(full["remedy"].as_str().unwrap().contains(&first), "{full}");
        assert_eq!((&answer["healthy"], code), (&false.into(), Some(1)), "{question:?}");
    }
    // What it is not.
    let own = std::process::id().to_string();
    for question in [&["ENOSPC: System limit for number of file watchers reached"][..], &[&*own]] {
        let (answer, code) = why(question);
        assert_eq!((&answer["healthy"], code), (&true.into(), Some(0)), "{question:?}: {answer}");
    }
    let (text, _) = run(&[FSNOTIFY]);
    assert!(
        text.starts_with(&format!("PROBLEM  {limit} of {limit} instances of {uid}: ")),
        "{text}"
    );
    assert!(text.lines().count() <= 10, "{text}");
    drop(others);
}

#[live_test]
fn nobody_is_to_blame_for_a_quota_that_many_use_up() {
    let _machine = system::the_machine();
    let (Some(one), Some(other)) = (Cgroup::new(), Cgroup::new()) else {
        let test = "why::nobody_is_to_blame_for_a_quota_that_many_use_up";
        return system::skip(test, "no cgroup v2");
    };
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let each = limit / 16;
    let in_place = |place: &Cgroup| {
        let process = Process::of_user_with(uid, each);
        place.add(process.pid);
        process
    };
    let mut holders: Vec<_> = (0..8).flat_map(|_| [in_place(&one), in_place(&other)]).collect();
    holders.push(Process::of_user_with(uid, limit - 16 * each));
    for question in [&[][..], &[FSNOTIFY], &[&*uid.to_string()]] {
        let (answer, code) = why(question);
        let full = problems(&answer, "limit-used-up");
        let full: Vec<_> = full.iter().filter(|it| it["user"]["uid"] == uid).collect();
        let [full] = full[..] else { panic!("{question:?}: {answer}") };
        let says = full["says"].as_str().unwrap();
        let share = format!("{} in 8 processes", 8 * each);
        assert_eq!(says.matches(&share).count(), 2, "{says}");
        let remedy = full["remedy"].as_str().unwrap();
        assert!(remedy.contains("raise fs.inotify.max_user_instances"), "{remedy}");
        assert!(!remedy.contains("look at"), "nobody has more than half: {remedy}");
        assert_eq!((&answer["healthy"], code), (&false.into(), Some(1)), "{answer}");
    }
}

#[live_test]
fn watches_that_grow_are_told_before_the_limit_is_reached() {
    let _machine = system::the_machine();
    // Room for as many as are made before a rate is told, on a machine with little memory too.
    let _limit = system::Setting::exactly("/proc/sys/fs/inotify/max_user_watches", 200_000);
    let (directory, agent) = (system::directory(), Served::start(&[]));
    let mut watcher = Process::of_user_with(system::fresh_uid(), 0);
    let (pid, fd) = (watcher.pid, watcher.call("init1 0").unwrap());
    let said = |question: &[&str]| {
        let (code, text) = agent.said(&[&["why", "-o", "json"], question].concat(), true);
        (serde_json::from_str::<Value>(&text).unwrap(), code)
    };
    let about = |answer: &Value| {
        let all = answer["problems"].as_array().unwrap().iter();
        let names = ["limit-near", "watches-growing"].map(Value::from);
        let mut told = all.filter(|it| it["pid"] == pid && names.contains(&it["problem"]));
        told.next().cloned()
    };
    let message = "ENOSPC: System limit for number of file watchers reached";
    let mut number = 0;
    wait::until("watches grow", || {
        for _ in 0..200 {
            number += 1;
            let file = directory.path().join(number.to_string());
            fs::write(&file, "").unwrap();
            let path = hex(file.as_os_str().as_encoded_bytes());
            watcher.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
        }
        about(&said(&[message]).0).is_some()
    });
    let (answer, code) = said(&[message]);
    let told = about(&answer).unwrap();
    let remedy = told["remedy"].as_str().unwrap();
    assert!(remedy.contains("watch"), "{remedy}");
    assert_eq!((&answer["healthy"], code), (&false.into(), Some(1)), "{answer}");
    // It is no reason for a lack of instances.
    assert_eq!(about(&said(&[FSNOTIFY]).0), None);
    agent.stop();
}

#[live_test]
fn the_payer_above_a_user_namespace_is_named() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let Some(mut inside) = of_one_user(uid) else { return };
    let _outside = Process::of_user_with(uid, 20);
    for _ in 20..limit {
        inside.call("init1 0").unwrap();
    }
    assert_eq!(inside.call("init1 0"), Err(libc::EMFILE));
    let (answer, code) = why(&[&inside.pid.to_string()]);
    let full = problems(&answer, "limit-used-up");
    let [full] = full[..] else { panic!("{answer}") };
    assert_eq!((&full["user"]["uid"], code), (&uid.into(), Some(1)), "{answer}");
    let remedy = full["remedy"].as_str().unwrap();
    assert!(remedy.contains("raise fs.inotify.max_user_instances"), "{full}");
}

#[live_test]
fn a_higher_limit_that_is_only_not_live_is_to_be_loaded() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let root = system::directory();
    for (file, text) in [
        ("proc/sys/fs/inotify/max_user_instances", limit.to_string()),
        ("proc/sys/fs/inotify/max_user_watches", "65536".to_owned()),
        ("proc/sys/fs/inotify/max_queued_events", "16384".to_owned()),
        ("etc/sysctl.d/50-more.conf", format!("fs.inotify.max_user_instances = {}\n", limit * 4)),
    ] {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let place = ["--host-root", root.path().to_str().unwrap()];
    // While there is room, it is no more than a note.
    let (answer, code) = why(&place);
    assert_eq!(problems(&answer, "setting-not-live").len(), 1, "{answer}");
    assert_eq!((&answer["healthy"], code), (&true.into(), Some(0)), "{answer}");
    let uid = system::fresh_uid();
    let _greedy = Process::of_user_with(uid, limit);
    let (answer, code) = why(&place);
    let full = problems(&answer, "limit-used-up");
    let [full] = full[..] else { panic!("{answer}") };
    let remedy = full["remedy"].as_str().unwrap();
    // And nothing else of the machine's settings.
    let command = format!("`sudo sysctl -w fs.inotify.max_user_instances={}`", limit * 4);
    assert!(remedy.starts_with(&command), "{full}");
    assert!(remedy.contains("50-more.conf:1 sets"), "{full}");
    assert_eq!((problems(&answer, "setting-not-live").len(), code), (0, Some(1)), "{answer}");
}

#[live_test]
fn a_lack_of_descriptors_is_no_limit_of_inotify() {
    let _machine = system::the_machine();
    let mut process = Process::start();
    process.call("open_files 40").unwrap();
    while process.call("init1 0").is_ok() {}
    let pid = process.pid.to_string();
    for question in [&[][..], &[FSNOTIFY], &[&*pid]] {
        let (answer, code) = why(question);
        let found = problems(&answer, "descriptors");
        let its: Vec<_> = found.iter().filter(|it| it["pid"] == process.pid).collect();
        let [its] = its[..] else { panic!("{question:?}: {answer}") };
        assert_eq!((&its["used"], &its["limit"]), (&40.into(), &40.into()), "{its}");
        assert!(its["says"].as_str().unwrap().contains("not a limit of inotify"), "{its}");
        assert!(its["remedy"].as_str().unwrap().contains(&format!("--pid={pid}")), "{its}");
        assert_eq!(code, Some(1), "{answer}");
    }
}

#[live_test]
fn a_leak_is_told_and_released_first() {
    let _machine = system::the_machine();
    if Cgroup::new().is_none() {
        return system::skip("why::a_leak_is_told_and_released_first", "no cgroup v2");
    }
    let mut process = Process::start();
    for _ in 0..3 {
        let gone = Cgroup::new().unwrap();
        let fd = process.call("init1 0").unwrap();
        let path = gone.directory().join("cgroup.events");
        let path = hex(path.as_os_str().as_encoded_bytes());
        process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
        gone.remove();
    }
    let pid = process.pid.to_string();
    let emptied = fs::read_to_string(format!("/proc/{pid}/fdinfo/3")).unwrap();
    if !emptied.contains("inotify wd:") {
        let why = "this kernel empties such an instance: at a look it is nobody's";
        return system::skip("why::a_leak_is_told_and_released_first", why);
    }
    for question in [&["--settle", "0"][..], &["--settle", "0", &pid]] {
        let (answer, code) = why(question);
        let leaks = problems(&answer, "target-gone");
        let leaks: Vec<_> = leaks.iter().filter(|it| it["pid"] == process.pid).collect();
        let [leak] = leaks[..] else { panic!("{question:?}: {answer}") };
        assert_eq!((&leak["instances"], &leak["leak"]), (&3.into(), &true.into()), "{leak}");
        assert_eq!((&answer["healthy"], code), (&false.into(), Some(1)), "{answer}");
    }
}

#[live_test]
fn a_full_queue_is_told_to_who_asks_for_lost_events() {
    let _machine = system::the_machine();
    let sleeper = queues::Sleeper::start();
    (0..=queues::LIMIT).for_each(|_| sleeper.change());
    let pid = sleeper.process.pid;
    for question in [&[][..], &["fsnotify: queue or buffer overflow"], &[&*pid.to_string()]] {
        let (answer, code) = why(question);
        let full = problems(&answer, "queue-full");
        assert!(full.iter().any(|it| it["pid"] == pid), "{question:?}: {answer}");
        assert_eq!(code, Some(1), "{answer}");
    }
    let (answer, _) = why(&[FSNOTIFY]);
    assert_eq!(problems(&answer, "queue-full").len(), 0, "{answer}");
}

#[live_test]
fn what_was_refused_is_told_of_a_recording_only() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let recording = directory.path().join("a.itrec");
    let recording = recording.to_str().unwrap();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let agent = Agent::with(&["--record", recording, "-x"]);
    let greedy = Process::of_user_with(uid, limit);
    let mut victim = Process::of_user_with(uid, 0);
    for _ in 0..3 {
        assert_eq!(victim.call("init1 0"), Err(libc::EMFILE));
    }
    agent.wait_for("the refusals", |events| {
        events.iter().filter(|it| it["event"] == "create-failed").count() >= 3
    });
    let full = why(&[FSNOTIFY]);
    drop(greedy);
    let _ = agent.stop();
    assert_eq!(full.1, Some(1), "{}", full.0);
    let (answer, code) = why(&[FSNOTIFY]);
    assert_eq!((&answer["healthy"], code), (&true.into(), Some(0)), "it is over: {answer}");
    for question in [&[][..], &[FSNOTIFY], &[&*uid.to_string()]] {
        let (answer, code) = why(&[&["--recording", recording], question].concat());
        let earlier = problems(&answer, "refused-earlier");
        let [earlier] = earlier[..] else { panic!("{question:?}: {answer}") };
        assert_eq!(earlier["refused"]["count"], 3, "{earlier}");
        assert_eq!(earlier["user"]["uid"], uid, "{earlier}");
        let all = format!("{limit} of {limit} instances of {uid}");
        assert!(earlier["says"].as_str().unwrap().contains(&all), "{earlier}");
        assert_eq!((&answer["healthy"], code), (&true.into(), Some(0)), "{answer}");
        // The command that it names shows the machine when it was wrong.
        let command = earlier["command"].as_str().unwrap();
        let then: Vec<_> = command.strip_prefix("inotify-trace why ").unwrap().split(' ').collect();
        let (answer, code) = why(&then);
        let full = problems(&answer, "limit-used-up");
        let [full] = full[..] else { panic!("{command}: {answer}") };
        assert_eq!((&full["user"]["uid"], code), (&uid.into(), Some(1)), "{answer}");
        assert_eq!(full["refused"]["count"], 3, "{full}");
    }
}

#[live_test]
fn a_running_agent_knows_that_it_was_wrong_before() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let recording = directory.path().join("recorded").display().to_string();
    let config = directory.path().join("agent.toml");
    fs::write(&config, format!("record = {recording:?}\n")).unwrap();
    let agent = Served::start(&["--config", config.to_str().unwrap()]);
    let said =
        || serde_json::from_str::<Value>(&agent.said(&["why", "-o", "json"], true).1).unwrap();
    assert_eq!(said()["agent"]["refused"], 0);
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let greedy = Process::of_user_with(uid, limit);
    let mut victim = Process::of_user_with(uid, 0);
    assert_eq!(victim.call("init1 0"), Err(libc::EMFILE));
    drop(greedy);
    wait::until("the agent knows", || {
        let answer = said();
        let again = answer["healthy"] == true;
        again && answer["agent"]["refused"] == 1 && answer["agent"]["recording"] == *recording
    });
    let (code, text) = agent.said(&["why"], true);
    let command = format!("`sudo inotify-trace why --recording {recording}`");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("1 call was refused") && text.contains(&command), "{text}");
    assert_eq!(code, Some(0));
    agent.stop();
    let (answer, _) = why(&["--recording", &recording]);
    let earlier = problems(&answer, "refused-earlier");
    assert_eq!(earlier.len(), 1, "{answer}");
}

#[live_test]
fn without_privileges_nothing_is_called_healthy() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let _machine = system::the_machine();
    let directory = system::directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("inotify-trace");
    fs::copy(binary(), &program).unwrap();
    let mut command = Command::new(program);
    command.uid(system::fresh_uid()).current_dir("/").args(["why", "-o", "json"]);
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["healthy"], output.status.code()), (&Value::Null, Some(2)), "{answer}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("CAP_BPF"), "{errors}");
}
