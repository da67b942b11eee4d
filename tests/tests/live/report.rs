//! A report on real events, compared with the kernel's results of the calls.

use std::{path::Path, process::Command};

use inotify_trace_tests::{
    Process,
    agent::{Agent, binary},
    live_test, system,
};

/// The report on a recording, with all white space as single spaces.
fn report(recording: &Path) -> String {
    let mut command = Command::new(binary());
    let output = command.arg("report").arg(recording).args(["-f", "text"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[live_test]
fn a_report_tells_who_was_refused_and_who_had_it_all() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let recording = directory.path().join("run.itrec");
    let path = recording.to_str().unwrap();
    let agent = Agent::unparsed(&["record", "-o", path]);

    // A fresh user fills its limit, and gets seven more refusals.
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let mut greedy = Process::start();
    let uid = system::fresh_uid();
    greedy.call(&format!("open_files {}", u64::from(limit) + 100)).unwrap();
    greedy.call(&format!("uid {uid}")).unwrap();
    let mut made = 0;
    let refused = (0..limit + 7).filter(|_| match greedy.call("init1 0") {
        Ok(_) => {
            made += 1;
            false
        }
        Err(errno) => {
            assert_eq!(errno, libc::EMFILE);
            true
        }
    });
    let refused = refused.count();
    assert_eq!((made, refused), (limit, 7));

    let pid = greedy.pid;
    drop(greedy);
    let run = agent.stop();
    assert!(run.status.success(), "{}", run.errors);
    let text = report(&recording);
    for fact in [
        format!("{uid} ran out of inotify instances at"),
        format!("could not get an instance, {refused} times"),
        format!("{limit} of {limit} instances of {uid}: workload ({}) {limit}", pid),
        format!("{uid}: at most {limit} of {limit} instances"),
        "No leak was found.".to_owned(),
    ] {
        assert!(text.contains(&fact), "no {fact:?} in: {text}");
    }
}
