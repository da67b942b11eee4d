//! Processes that make much work for whoever looks at them.

use inotify_trace_tests::{Agent, Listing, Process, live_test, system};
use serde_json::{Value, json};

use crate::nothing_lost;

/// The descriptors of the process that has many.
const MANY: u32 = 10_000;

/// Executes a program, and returns the agent's event of it.
fn execute(process: &mut Process, agent: &Agent) -> Value {
    process.ask("exec executed");
    let is_its = |event: &&Value| event["event"] == "exec" && event["pid"] == process.pid;
    agent.wait_for("the exec is told", |events| events.iter().any(|it| is_its(&it)));
    agent.events().iter().find(is_its).unwrap().clone()
}

#[live_test(each = backend)]
fn an_exec_with_very_many_descriptors_holds_up_nobody() {
    let _machine = system::the_machine();
    let agent = Agent::start();
    let mut many = Process::start();
    if many.call(&format!("open_files {}", MANY + 100)).is_err() {
        let name = "budgets::an_exec_with_very_many_descriptors_holds_up_nobody";
        return system::skip(name, "not so many descriptors are allowed here");
    }
    let fd = many.call("init1 0").unwrap();
    many.call(&format!("init1 {}", libc::IN_CLOEXEC)).unwrap();
    assert_eq!(many.call(&format!("dup_many {fd} {MANY}")), Ok(MANY.cast_signed()));
    let mut few = Process::start();
    let its = few.call("init1 0").unwrap();
    // They are not read one by one, which is said; those of others are.
    let event = execute(&mut many, &agent);
    assert!(event["kept"].is_null(), "they were read");
    assert_eq!(execute(&mut few, &agent)["kept"], json!([its]));
    // The instances are right all the same.
    agent.wait_for_event(&json!({ "event": "release", "pid": many.pid }));
    let run = agent.stop();
    nothing_lost(&run);
    let listing = Listing::recorded(&run.recording().unwrap(), "process", &[]);
    for process in [&many, &few] {
        assert_eq!(listing.process(process.pid).unwrap()["instances"], 1);
    }
}
