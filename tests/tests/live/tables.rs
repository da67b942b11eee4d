//! Threads with a descriptor table of their own, in which a number is another descriptor than in their
//! process's.

use std::path::Path;

use inotify_trace_tests::{
    Agent, Listing, Process, agent::has, listing::ROADS, live_test, process::hex, system,
};
use serde_json::{Value, json};

use crate::nothing_lost;

/// `CLONE_FILES` of unshare(2).
const UNSHARE_FILES: &str = "unshare 1024";

/// The number that is a descriptor in both tables.
const FD: i32 = 50;

/// `IN_MODIFY`.
const MASK: u32 = 2;

/// A process, its thread with a table of its own, and three files.
struct Scene {
    directory: tempfile::TempDir,
    process: Process,
    thread: Process,
}

impl Scene {
    fn new() -> Self {
        let directory = system::directory();
        for name in ["a", "b", "c"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let mut process = Process::start();
        let mut thread = process.thread();
        thread.call(UNSHARE_FILES).unwrap();
        Self { directory, process, thread }
    }

    /// Makes an instance, which watches these files, at [`FD`] of a thread's table.
    fn instance(directory: &Path, by: &mut Process, files: &[&str]) {
        let fd = by.call("init1 0").unwrap();
        assert_eq!(by.call(&format!("dup2 {fd} {FD}")), Ok(FD));
        by.call(&format!("close {fd}")).unwrap();
        for file in files {
            let path = directory.join(file);
            let path = hex(path.to_str().unwrap().as_bytes());
            by.call(&format!("watch {FD} {path} {MASK}")).unwrap();
        }
    }

    fn of_thread(&mut self, files: &[&str]) {
        Self::instance(self.directory.path(), &mut self.thread, files);
    }

    fn of_process(&mut self, files: &[&str]) {
        Self::instance(self.directory.path(), &mut self.process, files);
    }

    /// The names of the files that each instance of the process watches, as `list` has them.
    fn watched(&self, road: &[&str]) -> Vec<Vec<String>> {
        let listing = Listing::by("instance", &[road, &["--watches"]].concat());
        let own = listing.rows().iter().filter(|row| row["pid"] == json!([self.process.pid]));
        let name = |target: &Value| {
            let path = Path::new(target["path"].as_str().unwrap_or_default());
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        let mut all: Vec<Vec<_>> =
            own.map(|row| row["targets"].as_array().unwrap().iter().map(name).collect()).collect();
        all.sort();
        all
    }
}

/// Whether descriptors can be copied from a thread: from Linux 6.9 on.
fn threads_can_be_copied_from(scene: &Scene) -> bool {
    let flags = libc::O_EXCL;
    // SAFETY: only numbers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, scene.thread.tid, flags) };
    let Ok(fd) = i32::try_from(fd) else { return false };
    // SAFETY: the descriptor was just opened, and nothing else uses it.
    fd >= 0 && unsafe { libc::close(fd) } == 0
}

#[live_test(each = kernel)]
fn watches_are_read_from_the_table_that_has_them() {
    const NAME: &str = "tables::watches_are_read_from_the_table_that_has_them";
    let _machine = system::the_machine();
    for road in ROADS {
        let mut scene = Scene::new();
        if !road.is_empty() && !threads_can_be_copied_from(&scene) {
            system::skip(NAME, "before Linux 6.9 no descriptor can be copied from a thread");
            continue;
        }
        scene.of_thread(&["a", "b"]);
        // The number is free in the process's table; then something else; then another instance.
        assert_eq!(scene.watched(road), [["a", "b"]], "{road:?}");
        let other = scene.process.call(&format!("open {}", hex(b"/dev/null"))).unwrap();
        scene.process.call(&format!("dup2 {other} {FD}")).unwrap();
        assert_eq!(scene.watched(road), [["a", "b"]], "{road:?}");
        scene.of_process(&["c"]);
        assert_eq!(scene.watched(road), [vec!["a", "b"], vec!["c"]], "{road:?}");
    }
}

/// The end of the instance with this many watches.
fn end(run: &[Value], pid: u32, watches: u64) -> Option<&Value> {
    let end = json!({ "event": "release", "pid": pid, "watches": watches });
    run.iter().find(|event| has(event, &end))
}

#[live_test(each = backend)]
fn a_thread_that_ends_takes_its_own_table() {
    let _machine = system::the_machine();
    let agent = Agent::start();
    let mut scene = Scene::new();
    scene.of_thread(&["a", "b"]);
    scene.of_process(&["c"]);
    let pid = scene.process.pid;
    scene.thread.tell("end");
    agent.wait_for("the end of the thread's", |events| end(events, pid, 2).is_some());
    assert_eq!(scene.watched(&[]), [["c"]]);
    scene.process.call(&format!("close {FD}")).unwrap();
    agent.wait_for("the end of the process's", |events| end(events, pid, 1).is_some());
    let backend = agent.backend();
    let run = agent.stop();
    assert_eq!(end(&run.events, pid, 2).unwrap()["how"], "exit");
    let last = end(&run.events, pid, 1).unwrap();
    assert_eq!(last["how"], "closed", "{last}");
    if backend == inotify_trace_tests::Backend::Tracepoints {
        assert_eq!(last["fd"], FD, "{last}");
    }
    nothing_lost(&run);
}

#[live_test(each = backend)]
fn the_same_number_is_closed_in_each_table() {
    let _machine = system::the_machine();
    let mut scene = Scene::new();
    // One exists before the agent starts.
    scene.of_thread(&["a", "b"]);
    let agent = Agent::start();
    scene.of_process(&["c"]);
    let pid = scene.process.pid;
    scene.process.call(&format!("close_range {FD} {FD} 0")).unwrap();
    agent.wait_for("the end of the process's", |events| end(events, pid, 1).is_some());
    assert!(end(&agent.events(), pid, 2).is_none(), "the thread's is open");
    assert_eq!(scene.watched(&[]), [["a", "b"]]);
    scene.thread.call(&format!("close {FD}")).unwrap();
    agent.wait_for("the end of the thread's", |events| end(events, pid, 2).is_some());
    let run = agent.stop();
    assert_eq!(end(&run.events, pid, 2).unwrap()["how"], "closed");
    nothing_lost(&run);
}

#[live_test(each = backend)]
fn a_child_has_the_table_of_the_thread_that_forked() {
    let _machine = system::the_machine();
    let agent = Agent::start();
    let mut scene = Scene::new();
    scene.of_thread(&["a", "b"]);
    scene.of_process(&["c"]);
    let child = scene.thread.fork();
    let pid = scene.process.pid;
    scene.thread.call(&format!("close {FD}")).unwrap();
    scene.process.call(&format!("close {FD}")).unwrap();
    agent.wait_for("the end of the process's", |events| end(events, pid, 1).is_some());
    let child_pid = child.pid;
    drop(child);
    agent.wait_for("the end of the child's", |events| end(events, child_pid, 2).is_some());
    let run = agent.stop();
    assert_eq!(end(&run.events, child_pid, 2).unwrap()["how"], "exit");
    nothing_lost(&run);
}
