//! 32-bit programs on ARM.

use std::process::Command;

use inotify_trace_tests::{Agent, Backend, Process, arm32, live_test, system};
use serde_json::{Value, json};

use crate::nothing_lost;

#[live_test(each = backend)]
fn a_32_bit_program() {
    const NAME: &str = "arm32::a_32_bit_program";
    let _machine = system::the_machine();
    let directory = system::directory();
    let program = directory.path().join("arm32");
    arm32::write(&program).unwrap();
    let agent = Agent::start();
    let mut child = match Command::new(&program).spawn() {
        Ok(child) => child,
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            return system::skip(NAME, "the kernel runs no 32-bit programs");
        }
        Err(error) => panic!("{error}"),
    };
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    // What comes after it is told after it.
    let mut later = Process::start();
    later.call("init1 0").unwrap();
    agent.wait_for_event(&json!({ "pid": later.pid, "event": "create" }));
    let backend = agent.backend();
    let run = agent.stop();
    nothing_lost(&run);
    let told: Vec<_> = run
        .events
        .iter()
        .filter(|event| event["pid"] == pid && event["event"] != "exit")
        .map(|event| json!([event["event"], event["fd"], event["wd"], event["path"]]))
        .collect();
    // 32-bit system calls pass no tracepoint.
    let expected: Vec<Value> = match backend {
        Backend::Functions => vec![
            json!(["create", 3, null, null]),
            json!(["watch", 3, 1, "/tmp"]),
            json!(["unwatch", 3, 1, null]),
            json!(["release", null, null, null]),
        ],
        Backend::Tracepoints => Vec::new(),
    };
    assert_eq!(told, expected);
}
