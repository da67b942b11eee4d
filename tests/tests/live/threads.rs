//! Threads with names of their own.

use inotify_trace_tests::{Agent, Listing, Process, live_test, process::hex, system};
use serde_json::{Value, json};

use crate::nothing_lost;

fn rename(process: &mut Process, name: &str) {
    process.call(&format!("name {}", hex(name.as_bytes()))).unwrap();
}

/// A process whose instances are all made by a thread, as calico-node's are.
fn calico() -> (Process, Process) {
    let mut process = Process::start();
    rename(&mut process, "calico-node");
    let mut thread = process.thread();
    rename(&mut thread, "user-config-watcher");
    (process, thread)
}

/// Both names as the kernel keeps them.
const NAMES: [&str; 2] = ["calico-node", "user-config-wat"];

#[live_test(each = backend)]
fn filters_and_listings_use_the_process_s_name() {
    let _machine = system::the_machine();
    let (mut process, mut thread) = calico();
    let agent = Agent::start();
    let [chosen, other] = NAMES.map(|name| Agent::with(&["-c", name]));
    let fd = thread.call("init1 0").unwrap();
    thread.call(&format!("watch {fd} {} 2", hex(b"/tmp"))).unwrap();
    let (pid, tid) = (process.pid, thread.tid);
    let [comm, name] = NAMES;
    let by_thread = |event: &str| json!({ "event": event, "pid": pid, "tid": tid, "comm": comm, "thread": name });
    for agent in [&agent, &chosen] {
        agent.wait_for_event(&by_thread("create"));
        agent.wait_for_event(&by_thread("watch"));
    }
    let listing = Listing::by("process", &[]);
    assert_eq!(listing.process(pid).unwrap()["comm"], json!([comm]), "{:?}", listing.json);
    // The first thread has no other name.
    let second = process.call("init1 0").unwrap();
    agent.wait_for_event(&json!({ "event": "create", "pid": pid, "fd": second }));
    // Under another name it is the same process, which still holds its instances.
    rename(&mut process, "renamed");
    process.call(&format!("close {second}")).unwrap();
    agent.wait_for_event(&json!({ "event": "release", "pid": pid }));
    let listing = Listing::by("process", &[]);
    let row = listing.process(pid).unwrap();
    assert_eq!([&row["comm"], &row["instances"]], [&json!(["renamed"]), &json!(1)], "{row}");
    let run = agent.stop();
    let own = run.events.iter().filter(|it| it["pid"] == pid && it["fd"] == second);
    assert!(own.clone().count() > 0 && own.clone().all(|it| it.get("thread").is_none()));
    nothing_lost(&run);
    let run = chosen.stop();
    nothing_lost(&run);
    let others: Vec<_> = run.events.iter().filter(|it| it["comm"] != comm).collect();
    assert_eq!(others, Vec::<&Value>::new());
    assert_eq!(other.stop().events, Vec::<Value>::new(), "a thread's name is no process's");
}

#[live_test]
fn lines_name_the_thread_where_it_differs() {
    let _machine = system::the_machine();
    let (mut process, mut thread) = calico();
    let agent = Agent::unparsed(&["-c", NAMES[0]]);
    thread.call("init1 0").unwrap();
    process.call("init1 0").unwrap();
    agent.wait_for("both lines", |lines| lines.len() == 3);
    let run = agent.stop();
    let lines: Vec<_> = run.events.iter().flat_map(Value::as_str).collect();
    assert!(lines[1].contains("calico-node"), "{}", lines[1]);
    assert!(lines[1].ends_with(" thread user-config-wat, -"), "{}", lines[1]);
    assert!(lines[2].contains("calico-node") && !lines[2].contains("thread"), "{}", lines[2]);
}

#[live_test]
fn those_who_use_up_a_limit_have_the_process_s_name() {
    let _machine = system::the_machine();
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let (mut process, mut thread) = calico();
    process.call(&format!("open_files {}", limit + 100)).unwrap();
    process.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let agent = Agent::unparsed(&["-x"]);
    thread.call(&format!("uid {}", system::fresh_uid())).unwrap();
    while thread.call("init1 0").is_ok() {}
    agent.wait_for("the failure, and who is to blame", |lines| lines.len() == 4);
    let run = agent.stop();
    let lines: Vec<_> = run.events.iter().flat_map(Value::as_str).collect();
    let who = format!("calico-node ({})", process.pid);
    assert!(lines[2].ends_with(&format!(": {who} {limit}")), "{}", lines[2]);
    assert!(
        lines[3].contains(&format!("look at {who} first, with {limit} of these")),
        "{}",
        lines[3]
    );
}
