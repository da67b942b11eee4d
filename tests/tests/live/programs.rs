//! Programs that are not part of this project.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
};

use inotify_trace_tests::{Run, live_test, require_program, system};
use serde_json::{Value, json};

use crate::{count, nothing_lost, scene};

/// A program that is killed with its test.
struct Program(Child);

impl Program {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("an installed program"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process is gone if the test has killed it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn of<'a>(run: &'a Run, pid: u32, name: &'a str) -> impl Iterator<Item = &'a Value> {
    run.events.iter().filter(move |event| event["pid"] == pid && event["event"] == name)
}

#[live_test]
fn tail() {
    let program = require_program!("tail");
    if std::fs::canonicalize(&program).is_ok_and(|path| path.ends_with("busybox")) {
        return system::skip("programs::tail", "this tail is busybox's, which polls");
    }
    let directory = system::directory();
    let file = directory.path().join("log");
    std::fs::write(&file, "line\n").unwrap();
    let (_machine, _, agent) = scene();
    let mut tail = Program::start(&program, &["-f", file.to_str().unwrap()]);
    let pid = tail.pid();
    agent.wait_for_event(&json!({ "event": "watch", "pid": pid, "path": file.to_str() }));
    tail.kill();
    agent.wait_for_event(&json!({ "event": "release", "pid": pid, "how": "exit" }));
    let run = agent.stop();
    assert_eq!(of(&run, pid, "create").count(), 1);
    assert_eq!(of(&run, pid, "release").next().unwrap()["comm"], "tail");
    nothing_lost(&run);
}

#[live_test]
fn inotifywait_on_a_tree() {
    const DIRECTORIES: usize = 50;
    let program = require_program!("inotifywait");
    let directory = system::directory();
    let root = directory.path().to_str().unwrap();
    let mut expected = BTreeSet::from([root.to_owned()]);
    for number in 0..DIRECTORIES {
        let path = format!("{root}/{}/{number}", number % 5);
        std::fs::create_dir_all(&path).unwrap();
        expected.extend([path, format!("{root}/{}", number % 5)]);
    }
    let (_machine, _, agent) = scene();
    let mut wait = Program::start(&program, &["-m", "-r", "-q", root]);
    let pid = wait.pid();
    agent.wait_for("every directory is watched", |events| {
        count(events, pid, "watch") == expected.len()
    });
    wait.kill();
    let all = expected.len();
    agent.wait_for_event(&json!({ "event": "release", "pid": pid, "how": "exit", "watches": all }));
    let run = agent.stop();
    let watched = of(&run, pid, "watch").flat_map(|event| event["path"].as_str());
    let watched: BTreeSet<_> = watched.map(|path| path.trim_end_matches('/').to_owned()).collect();
    assert_eq!(watched, expected);
    let descriptors: BTreeSet<_> = of(&run, pid, "watch").map(|it| it["wd"].as_u64()).collect();
    assert_eq!(descriptors.len(), all);
    nothing_lost(&run);
}

#[live_test]
fn node() {
    let program = require_program!("node");
    let directory = system::directory();
    let path = directory.path().to_str().unwrap();
    let (_machine, _, agent) = scene();
    let script = format!("require('fs').watch({path:?}, () => process.exit(0))");
    let node = Program::start(&program, &["-e", &script]);
    let pid = node.pid();
    agent.wait_for_event(&json!({ "event": "watch", "pid": pid, "path": path }));
    std::fs::write(directory.path().join("file"), "").unwrap();
    agent.wait_for("it ends by itself", |events| count(events, pid, "exit") == 1);
    agent.wait_for("all it made is gone", |events| {
        count(events, pid, "create") > 0
            && count(events, pid, "release") == count(events, pid, "create")
    });
    nothing_lost(&agent.stop());
}

#[live_test]
fn stress_ng() {
    let program = require_program!("stress-ng");
    let (_machine, _, agent) = scene();
    let directory = system::directory();
    let path = directory.path().to_str().unwrap();
    let options = ["--inotify", "2", "--inotify-ops", "10", "--temp-path", path];
    let mut stress = Program::start(&program, &options);
    let status = stress.0.wait().unwrap();
    assert!(status.success(), "{status}");
    let run = agent.stop();
    let instances = |name: &str| {
        let named = run.events.iter().filter(|event| event["event"] == name);
        let by_stress = named.filter(|event| {
            event["comm"].as_str().is_some_and(|comm| comm.starts_with("stress-ng"))
        });
        by_stress.flat_map(|event| event["instance"].as_u64()).collect::<BTreeSet<_>>()
    };
    let created = instances("create");
    assert!(created.len() > 10, "it made {}", created.len());
    assert_eq!(created, instances("release"));
    nothing_lost(&run);
}
