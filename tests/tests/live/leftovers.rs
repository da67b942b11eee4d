//! A killed test, and the next one, which finds nothing of it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use inotify_trace_tests::{Cgroup, Process, cgroup, live_test, system, wait};

use crate::runtimes::Container;

/// Set in the process that is killed.
const VICTIM: &str = "INOTIFY_TRACE_VICTIM";

/// Makes what stays behind, says where it is, and waits to be killed.
fn stay() {
    let _machine = system::the_machine();
    let group = Cgroup::of_containerd().unwrap();
    let process = Process::start();
    group.add(process.pid);
    println!("\nleft {}", group.directory().display());
    let container = Container::new("runc", "");
    if system::which("runc").is_some() && container.start().is_ok() {
        let mount = cgroup::mount_point().unwrap();
        println!("\nleft /run/runc/{}", container.id);
        println!("\nleft {}{}", mount.display(), container.cgroup);
    }
    println!("\nleft");
    thread::sleep(Duration::from_secs(3600));
}

fn processes(cgroup: &Path) -> Vec<String> {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    processes.lines().map(str::to_owned).collect()
}

#[live_test]
fn what_a_killed_test_left_behind_is_removed() {
    if std::env::var_os(VICTIM).is_some() {
        return stay();
    }
    let test = thread::current().name().unwrap_or_default().to_owned();
    if cgroup::mount_point().is_none() {
        return system::skip(&test, "no cgroup v2 hierarchy is mounted");
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines = lines.filter(|line| line.starts_with("left")).take_while(|line| line != "left");
    let left: Vec<_> = lines.map(|line| line.replace("left ", "")).collect();
    let left: Vec<_> = left.iter().map(Path::new).collect();
    let pids: Vec<_> = left.iter().flat_map(|path| processes(path)).collect();
    assert!(!pids.is_empty(), "{left:?}");
    victim.kill().unwrap();
    assert_eq!(victim.wait().unwrap().signal(), Some(libc::SIGKILL));
    for path in &left {
        assert!(path.is_dir(), "{} is left behind", path.display());
    }
    let _machine = system::the_machine();
    for path in left {
        assert!(!path.exists(), "{} is still there", path.display());
    }
    for pid in pids {
        wait::until("the process has ended", || !Path::new("/proc").join(&pid).exists());
    }
}
