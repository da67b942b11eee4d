//! 32-bit programs.

use inotify_trace_tests::{Agent, Backend, Process, compat, live_test, process::hex, system};
use serde_json::{Value, json};

use crate::nothing_lost;

#[live_test(each = backend)]
fn a_32_bit_program() {
    if !compat::is_possible() {
        system::skip("compat::a_32_bit_program", "the kernel takes no 32-bit system calls");
        return;
    }
    let _machine = system::the_machine();
    let agent = Agent::start();
    let mut process = Process::start();
    let answers = process.ask(&format!("compat {}", hex(b"/tmp")));
    let [fd, wd, 0, 0, second, watched] = answers[..] else { panic!("{answers:?}") };
    agent.wait_for_event(&json!({ "pid": process.pid, "event": "release", "watches": 1 }));
    let backend = agent.backend();
    let run = agent.stop();
    let told: Vec<_> = run
        .events
        .iter()
        .filter(|event| event["pid"] == process.pid && event["event"] != "exit")
        .map(|event| json!([event["event"], event["fd"], event["wd"], event["path"]]))
        .collect();
    let expected = match backend {
        Backend::Functions => vec![
            json!(["create", fd, null, null]),
            json!(["watch", fd, wd, "/tmp"]),
            json!(["unwatch", fd, wd, null]),
            json!(["release", null, null, null]),
            json!(["create", second, null, null]),
            json!(["watch", second, watched, "/tmp"]),
            json!(["release", null, null, null]),
        ],
        // 32-bit system calls pass no tracepoint: the agent finds the instance when a 64-bit
        // program, here the same process, uses it.
        Backend::Tracepoints => vec![
            json!(["found", second, null, null]),
            json!(["watch", second, watched, "/tmp"]),
            json!(["release", second, null, null]),
        ],
    };
    assert_eq!(told, expected);
}

#[live_test(each = backend)]
fn a_32_bit_program_that_only_holds_is_found_after_a_while() {
    const NAME: &str = "compat::a_32_bit_program_that_only_holds_is_found_after_a_while";
    if !compat::is_possible() {
        return system::skip(NAME, "the kernel takes no 32-bit system calls");
    }
    let _machine = system::the_machine();
    let agent = Agent::start();
    let mut process = Process::start();
    let answers = process.ask(&format!("compat_hold {}", hex(b"/tmp")));
    let [fd, wd] = answers[..] else { panic!("{answers:?}") };
    let (begins, mask) = match agent.backend() {
        Backend::Functions => (["create", "watch"], json!(["modify"])),
        // The agent sees neither call, and finds the instance and the watch in its next scan.
        Backend::Tracepoints => (["found", "watch-found"], json!(["modify"])),
    };
    agent.wait_for_event(&json!({ "pid": process.pid, "event": begins[0], "fd": fd }));
    agent.wait_for_event(&json!({ "event": begins[1], "wd": wd, "mask": mask }));
    process.tell("exit 0");
    process.join();
    agent.wait_for_event(&json!({ "pid": process.pid, "event": "release", "watches": 1 }));
    let run = agent.stop();
    let begun = |event: &&Value| {
        event["pid"] == process.pid && (event["event"] == "found" || event["event"] == "create")
    };
    assert_eq!(run.events.iter().filter(begun).count(), 1);
}

/// A search drains what came meanwhile, in order with its answers: creations, too.
#[live_test(each = backend)]
fn a_search_finds_none_whose_creation_is_recorded() {
    /// Instances whose events are more than the agent reads at once.
    const MANY: u32 = 2000;
    const NAME: &str = "compat::a_search_finds_none_whose_creation_is_recorded";
    if !compat::is_possible() {
        return system::skip(NAME, "the kernel takes no 32-bit system calls");
    }
    let _machine = system::the_machine();
    let directory = system::directory();
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let agent = Agent::with(&["--buffer", "16M", "-e", "found,create,lost"]);
    let uid = system::fresh_uid();
    let [mut hidden, mut refused] = [(); 2].map(|()| {
        let mut process = Process::start();
        process.call(&format!("open_files {}", limit + 1000)).unwrap();
        process.call(&format!("uid {uid}")).unwrap();
        process
    });
    let (mut storm, mut other) = (Process::start(), Process::start());
    hidden.call(&format!("compat_create {limit}")).unwrap();
    // With tracepoints, a failure at a limit that nobody is known to use up makes the agent search. The
    // other process's creation is not read then.
    agent.signal(libc::SIGSTOP);
    assert_eq!(refused.call("init1 0"), Err(libc::EMFILE));
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    assert_eq!(storm.call(&format!("storm {MANY} {path}")), Ok(MANY.cast_signed()));
    other.call("init1 0").unwrap();
    agent.signal(libc::SIGCONT);
    let count = |events: &[Value], pid: u32, name: &str| {
        events.iter().filter(|it| it["pid"] == pid && it["event"] == name).count()
    };
    agent.wait_for("all are told", |events| {
        let told = ["found", "create"].map(|name| count(events, hidden.pid, name));
        told.iter().sum::<usize>() == limit as usize && count(events, other.pid, "create") == 1
    });
    let run = agent.stop();
    nothing_lost(&run);
    assert_eq!(count(&run.events, other.pid, "found"), 0);
}
