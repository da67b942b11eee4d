//! Names and paths that are no UTF-8, or that would move a terminal's cursor: programs choose them.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::PathBuf,
    process::Command,
};

use inotify_trace_tests::{
    Agent, Listing, Process, agent, cgroup,
    leftovers::{self, Leftover},
    live_test,
    process::hex,
    require_program, system,
};
use serde_json::{Value, json};

use crate::nothing_lost;

/// The kernel cuts the name of a process inside a character, after 15 bytes.
const CUT: &str = "наблюда\\xd1";

#[live_test(each = kernel)]
fn a_name_that_is_cut_inside_a_character() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let program = directory.path().join("наблюдатель");
    std::fs::copy(inotify_trace_tests::process::workload(), &program).unwrap();
    let uid = system::fresh_uid();
    let mut before = Process::start_as(&program, &[]);
    before.call(&format!("uid {uid}")).unwrap();
    before.call("init1 0").unwrap();
    let agent = Agent::start();
    let mut during = Process::start_as(&program, &[]);
    during.call(&format!("uid {uid}")).unwrap();
    during.call("init1 0").unwrap();
    for (pid, event) in [(before.pid, "found"), (during.pid, "create")] {
        agent.wait_for_event(&json!({ "event": event, "pid": pid, "uid": uid, "comm": CUT }));
        let listing = Listing::by("process", &[]);
        assert_eq!(listing.process(pid).unwrap()["comm"], json!([CUT]));
    }
    nothing_lost(&agent.stop());
}

#[live_test(each = kernel)]
fn a_name_is_the_same_found_and_traced() {
    let _machine = system::the_machine();
    // `status` in /proc would escape the first three, and JSON escapes them once.
    let names = ["a\nb", "a\\b", "\u{1b}[31m", "a)b (c", "a b ", "\\x0a"];
    let mut processes = names.map(|name| {
        let mut process = Process::start();
        process.call(&format!("name {}", hex(name.as_bytes()))).unwrap();
        let fd = process.call("init1 0").unwrap();
        (name, process, fd)
    });
    let agent = Agent::start();
    for (name, process, first) in &mut processes {
        let second = process.call("init1 0").unwrap();
        for (event, fd) in [("found", *first), ("create", second)] {
            let fields = json!({ "event": event, "pid": process.pid, "fd": fd, "comm": *name });
            agent.wait_for_event(&fields);
        }
    }
    nothing_lost(&agent.stop());
}

#[live_test]
fn a_name_does_not_break_the_line() {
    let _machine = system::the_machine();
    let agent = Agent::unparsed(&[]);
    let mut process = Process::start();
    process.call(&format!("name {}", hex(b"a\nb\x1b[2J\xff"))).unwrap();
    process.call("init1 0").unwrap();
    let pid = format!(" {} ", process.pid);
    agent.wait_for("its line", |lines| lines.iter().any(|it| it.to_string().contains(&pid)));
    let run = agent.stop();
    let line = run.events.iter().flat_map(Value::as_str).find(|line| line.contains(&pid)).unwrap();
    assert!(line.contains(" a\\x0ab\\x1b[2J\\xff "), "{line}");
}

/// A cgroup with these bytes in its name. Removed on drop.
struct Group(PathBuf);

impl Group {
    fn new(name: &[u8]) -> Option<Self> {
        let path = cgroup::mount_point()?.join(OsStr::from_bytes(name));
        leftovers::note(Leftover::Cgroup(&path));
        std::fs::create_dir(&path).unwrap();
        Some(Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended may still be in it.
        for _ in 0..1000 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[live_test(each = kernel)]
fn a_cgroup_whose_name_is_no_utf_8() {
    const NAME: &str = "bytes::a_cgroup_whose_name_is_no_utf_8";
    let _machine = system::the_machine();
    let name = format!("inotify-trace-test-{}-", std::process::id());
    let made = b"\xfe\xff".map(|last| Group::new(&[name.as_bytes(), &[last]].concat()));
    let [Some(other), Some(group)] = made else {
        return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
    };
    let mut process = Process::start();
    process.call("init1 0").unwrap();
    std::fs::write(group.0.join("cgroup.procs"), process.pid.to_string()).unwrap();
    let agent = Agent::start();
    process.call("init1 0").unwrap();
    let (id, path) = (std::fs::metadata(&group.0).unwrap().ino(), format!("/{name}\\xff"));
    for event in ["found", "create"] {
        agent.wait_for_event(&json!({
            "event": event, "pid": process.pid, "cgroup_id": id, "cgroup": path,
        }));
    }
    let listing = Listing::by("process", &[]);
    assert_eq!(listing.process(process.pid).unwrap()["cgroup"], json!([path]));
    nothing_lost(&agent.stop());
    process.tell("exit 0");
    process.join();
    drop((other, group));
}

/// `list` with the mount point of another file system that is no UTF-8.
#[live_test]
fn a_mount_point_that_is_no_utf_8_hides_nothing() {
    const NAME: &str = "bytes::a_mount_point_that_is_no_utf_8_hides_nothing";
    const SCRIPT: &str =
        "mount --make-rprivate / && mount -t tmpfs none \"$1\" && shift && exec \"$@\"";
    let _unshare = require_program!("unshare");
    let _mount = require_program!("mount");
    let _machine = system::the_machine();
    let Some((path, _)) = cgroup::of_process(std::process::id()) else {
        return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
    };
    let directory = system::directory();
    let point = directory.path().join(OsStr::from_bytes(b"sec_\xff"));
    std::fs::create_dir(&point).unwrap();
    let watched = directory.path().join("watched");
    std::fs::write(&watched, "").unwrap();
    let mut process = Process::start();
    let fd = process.call("init1 0").unwrap();
    let file = hex(watched.as_os_str().as_bytes());
    process.call(&format!("watch {fd} {file} 2")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", SCRIPT, "sh"]).arg(&point).arg(agent::binary());
    let output = command.args(["list", "--watches", "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = listing["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["pid"] == process.pid).unwrap();
    assert_eq!(row["cgroup"], json!([path]), "{row}");
    assert_eq!(row["targets"][0]["path"], watched.to_str().unwrap(), "{row}");
}
