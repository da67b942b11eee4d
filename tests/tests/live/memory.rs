//! An agent that may take little memory, and a process with more watches than fit.

use inotify_trace_tests::{Agent, Process, live_test, process::hex, system};

#[live_test]
fn what_is_too_much_is_forgotten_counted_and_learned_again_when_it_is_used() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    let agent = Agent::with(&["--memory", "1M", "-e", "create,found,watch,release,lost"]);
    let (mut small, mut large) = (Process::start(), Process::start());
    // What takes most is forgotten first, by user and cgroup.
    small.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let kept = small.call("init1 0").unwrap();
    let fd = large.call("init1 0").unwrap();
    // Each with its path takes more than 250 bytes.
    assert_eq!(large.call(&format!("watch_files {fd} {path} 6000")), Ok(6000));
    agent.wait_for("something is forgotten", |events| {
        events.iter().any(|it| it["event"] == "lost" && it["lost_what"] == "instances")
    });
    // It is not known any more, and then found.
    large.call(&format!("watch {fd} {path} {}", libc::IN_CREATE)).unwrap();
    agent.wait_for("it is found again", |events| {
        events.iter().any(|it| it["event"] == "found" && it["pid"] == large.pid)
    });
    small.call(&format!("close {kept}")).unwrap();
    let run = agent.stop();
    let lost = run.summary["lost"]["instances"].as_u64();
    assert!(lost.is_some_and(|lost| lost > 0), "{}", run.summary);
    let of = |pid: u32, name: &str| {
        run.events.iter().filter(|it| it["pid"] == pid && it["event"] == name).count()
    };
    // That of another process was never forgotten.
    assert_eq!(
        [of(small.pid, "create"), of(small.pid, "found"), of(small.pid, "release")],
        [1, 0, 1]
    );
    assert!(run.events.iter().all(|it| it["event"] != "leak"), "nothing is leaked");
}
