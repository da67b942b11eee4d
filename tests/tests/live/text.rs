//! Text output.

use inotify_trace_tests::{Agent, Run, World, live_test, system};
use serde_json::Value;

fn lines(run: &Run) -> Vec<&str> {
    run.events.iter().flat_map(Value::as_str).collect()
}

fn line_of<'a>(lines: &[&'a str], pid: u32, event: &str) -> &'a str {
    let pid = format!(" {pid} ");
    let found = lines.iter().find(|line| line.contains(&pid) && line.contains(event));
    found.unwrap_or_else(|| panic!("no {event} of {pid} in {lines:#?}"))
}

/// Runs a workload with long names and failures under an agent. Returns its pid and all lines.
fn run(arguments: &[&str], expected: usize) -> (u32, Run) {
    let directory = system::directory();
    let deep = directory.path().join("d".repeat(200)).join("é".repeat(60));
    std::fs::create_dir_all(&deep).unwrap();
    let agent = Agent::unparsed(arguments);
    let world = World::new();
    let mut subject = world.subject();
    subject.process.call("open_files 5").unwrap();
    let fd = subject.create(libc::IN_NONBLOCK | libc::IN_CLOEXEC).unwrap();
    subject.watch(fd, &deep, libc::IN_MODIFY).unwrap();
    subject.watch(fd, deep.join("missing"), libc::IN_MODIFY).unwrap_err();
    let other = subject.create(0).unwrap();
    subject.create(0).unwrap_err();
    subject.close(other);
    subject.close(fd);
    let pid = subject.pid();
    agent.wait_for("the last line", |lines| {
        let of_pid =
            |line: &&Value| line.as_str().is_some_and(|it| it.contains(&format!(" {pid} ")));
        lines.iter().filter(of_pid).count() == expected
    });
    (pid, agent.stop())
}

#[live_test]
fn lines_are_aligned_and_whole() {
    let _machine = system::the_machine();
    let (pid, run) = run(&[], 7);
    let lines = lines(&run);
    for heading in ["TIME", "EVENT", "PID", "COMM", "CONTAINER", "USED/LIMIT", "DETAIL"] {
        assert!(lines[0].contains(heading), "{}", lines[0]);
    }
    let pid_ends = lines[0].find("PID").unwrap() + 3;
    for line in &lines {
        assert!(!line.contains('\x1b'), "colour without a terminal: {line:?}");
        assert_eq!(*line, line.trim_end(), "blanks at the end");
    }
    for line in lines.iter().filter(|line| line.contains(&format!(" {pid} "))) {
        assert!(line[..pid_ends].ends_with(&pid.to_string()), "{line}");
    }
    assert!(line_of(&lines, pid, " create ").contains("nonblock,cloexec"));
    let whole = format!("{}/{}", "d".repeat(200), "é".repeat(60));
    assert!(line_of(&lines, pid, " watch ").ends_with(&whole), "no terminal, no limit");
    assert!(run.errors.contains("lost"), "the summary tells of losses: {}", run.errors);
}

#[live_test]
fn failures_name_their_limit() {
    let _machine = system::the_machine();
    let (pid, files) = run(&["-x"], 2);
    let told = lines(&files);
    let line = told.iter().find(|line| line.contains("EMFILE")).expect("a failed creation");
    assert!(line.contains("RLIMIT_NOFILE") && line.contains(&pid.to_string()), "{line}");
    let line = told.iter().find(|line| line.contains("ENOENT")).expect("a failed watch");
    assert!(line.contains("missing"), "{line}");
    assert_eq!(told.len(), 5, "a header, two failures, descriptors and a remedy: {told:#?}");

    let agent = Agent::unparsed(&["-x"]);
    let world = World::new();
    let mut subject = world.subject();
    while subject.create(0).is_ok() {}
    agent.wait_for("a failure", |lines| lines.len() == 4);
    let run = agent.stop();
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let line = lines(&run)[1];
    assert!(line.contains("inotify instance limit"), "{line}");
    assert!(line.contains(&format!("{limit}/{limit}")), "{line}");
    // The next lines name the culprit and the remedy.
    let (uid, pid) = (subject.actor.uid, subject.pid());
    let culprits = format!("  {limit} of {limit} instances of {uid}: workload ({pid}) {limit}");
    assert_eq!(lines(&run)[2], culprits);
    assert!(lines(&run)[3].contains("fs.inotify.max_user_instances"), "{}", lines(&run)[3]);
}
