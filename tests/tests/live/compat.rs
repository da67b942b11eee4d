//! 32-bit programs.

use inotify_trace_tests::{Agent, Backend, Process, compat, live_test, process::hex, system};
use serde_json::json;

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
    let begun = |event: &&serde_json::Value| {
        event["pid"] == process.pid && (event["event"] == "found" || event["event"] == "create")
    };
    assert_eq!(run.events.iter().filter(begun).count(), 1);
}
