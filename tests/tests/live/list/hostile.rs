//! Processes that choose what is mounted where.

use std::{
    fs,
    process::{Command, Stdio},
};

use inotify_trace_tests::{Cgroup, agent, live_test, system};
use serde_json::{Value, json};

use super::targets::{hex_of, targets, watcher};
use crate::hostile::loads::LinkInTheWay;

/// The mounts and watches of the process that has many.
const MOUNTS: u64 = 1000;
const WATCHES: u64 = 200;

#[live_test]
fn a_link_in_the_way_does_not_lead_the_agent_to_the_machine_s_files() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut way = LinkInTheWay::new(directory.path());
    for told in targets(way.pid()) {
        assert_eq!([&told[0]["path"], &told[0]["gone"]], [&Value::Null; 2], "{told:?}");
    }
    assert_eq!(way.openings(), 0, "the agent opened a directory that the process chose");
    // The guard sees whoever does.
    fs::read_dir(way.secret()).unwrap();
    assert_ne!(way.openings(), 0);
}

/// The bytes that a list with all watches reads, as the kernel counts them; None where it does not.
fn bytes_read() -> Option<u64> {
    let mut list = Command::new(agent::binary());
    list.args(["list", "--watches", "-o", "json"]).stdout(Stdio::null());
    let mut list = list.spawn().unwrap();
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to a local variable. The process stays a zombie, which has its counts.
    let result = unsafe {
        libc::waitid(libc::P_PID, list.id(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
    };
    assert_eq!(result, 0);
    let counts = fs::read_to_string(format!("/proc/{}/io", list.id()));
    assert!(list.wait().unwrap().success());
    counts.ok()?.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

#[live_test]
fn a_table_of_mounts_is_read_once_however_many_watches_ask_for_it() {
    const NAME: &str =
        "list::hostile::a_table_of_mounts_is_read_once_however_many_watches_ask_for_it";
    let _machine = system::the_machine();
    let directory = system::directory();
    let (gone, over) = (directory.path().join("gone"), directory.path().join("over"));
    for directory in [&gone, &over] {
        fs::create_dir(directory).unwrap();
    }
    let Some(before) = bytes_read() else {
        return system::skip(NAME, "this kernel does not count what a process reads");
    };
    let (mut process, fd) = watcher();
    process.call("mount_namespace").unwrap();
    process.call(&format!("mount {}", hex_of(&gone))).unwrap();
    process.call(&format!("watch_files {fd} {} {WATCHES}", hex_of(&gone))).unwrap();
    // The file system stays as long as a file is open, and has no place any more.
    process.call(&format!("open {}", hex_of(&gone))).unwrap();
    process.call(&format!("detach {}", hex_of(&gone))).unwrap();
    process.call(&format!("bind_over {} {MOUNTS}", hex_of(&over))).unwrap();
    let table = fs::read(format!("/proc/{}/mountinfo", process.pid)).unwrap().len() as u64;
    let more = bytes_read().unwrap().saturating_sub(before);
    // Beside the table there are the watches, and what other processes do meanwhile.
    assert!(more < 10 * table, "read {more} bytes more for a table of {table}");
    assert!(more >= table, "{more} of {table}: the table was not read at all");
}

#[live_test]
fn a_cgroup_is_found_however_deep_it_is() {
    const LEVELS: usize = 1500;
    let _machine = system::the_machine();
    let path = format!("/inotify-trace-test-{}{}", std::process::id(), "/d".repeat(LEVELS));
    let Some(cgroup) = Cgroup::at_path(&path) else {
        let name = "list::hostile::a_cgroup_is_found_however_deep_it_is";
        return system::skip(name, "no cgroup v2 hierarchy is mounted");
    };
    let (process, _) = watcher();
    cgroup.add(process.pid);
    // Neither descriptors nor the stack are there for each level.
    let list = Command::new("sh")
        .args(["-c", "ulimit -n 1024 && ulimit -S -s 256 && exec \"$@\"", "sh"])
        .arg(agent::binary())
        .args(["list", "-o", "json"])
        .output()
        .unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let rows = list["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["pid"] == process.pid).unwrap();
    assert_eq!(row["cgroup"], json!([path]));
}
