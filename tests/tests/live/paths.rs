//! Paths of every kind.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use inotify_trace_tests::{
    Agent, Process,
    agent::{binary, has},
    live_test,
    process::hex,
    system,
};
use serde_json::{Value, json};

use crate::{nothing_lost, scene};

/// The same path, this many bytes long.
fn stretched(path: &Path, length: usize) -> PathBuf {
    let mut text = path.to_str().unwrap().to_owned();
    while text.len() < length {
        text.push_str(if text.len() + 2 <= length { "/." } else { "/" });
    }
    text.into()
}

#[live_test]
fn paths_of_every_length_come_whole() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    // Lengths around powers of two, where buffers end, and the kernel's maximum.
    let lengths = [127, 128, 129, 250, 251, 252, 253, 254, 255, 256, 257, 300, 1000, 4000, 4095];
    for length in lengths {
        let path = stretched(directory.path(), length);
        assert_eq!(path.as_os_str().len(), length);
        subject.watch(fd, &path, libc::IN_MODIFY).unwrap();
    }
    let missing = stretched(directory.path(), 3000).join("missing");
    subject.watch(fd, missing, libc::IN_MODIFY).unwrap_err();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn odd_paths() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let names: [&[u8]; 5] =
        [b"\xff\xfe", b"new\nline", b"quote\"back\\slash", "\u{1f980}\u{1b}[31m".as_bytes(), b" "];
    for name in names {
        let path = directory.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&path).unwrap();
        subject.watch(fd, &path, libc::IN_MODIFY).unwrap();
    }
    subject.watch(fd, "", libc::IN_MODIFY).unwrap_err();
    subject.watch(fd, "/", libc::IN_MODIFY).unwrap();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

/// A process with an instance, and the events of its watches.
struct Watcher {
    process: Process,
    fd: i32,
    agent: Agent,
}

impl Watcher {
    fn start() -> Self {
        let agent = Agent::start();
        let mut process = Process::start();
        let fd = process.call("init1 0").unwrap();
        Self { process, fd, agent }
    }

    /// Adds a watch on a path, as it is given, and returns its event.
    fn watch(&mut self, path: &str, mask: u32) -> Value {
        let is_its = |event: &Value, pid: u32| {
            event["pid"] == pid && matches!(event["event"].as_str(), Some("watch" | "watch-failed"))
        };
        let pid = self.process.pid;
        let before = self.agent.events().iter().filter(|it| is_its(it, pid)).count();
        // The test reads the result in the event.
        let _ = self.process.call(&format!("watch {} {} {mask}", self.fd, hex(path.as_bytes())));
        self.agent.wait_for("the watch is told", |events| {
            events.iter().filter(|it| is_its(it, pid)).count() > before
        });
        self.agent.events().into_iter().filter(|it| is_its(it, pid)).nth(before).unwrap()
    }
}

#[live_test(each = backend)]
fn what_only_the_process_understands_is_resolved_at_the_call() {
    let _machine = system::the_machine();
    let directory = system::directory();
    // Links on the way would be in the path that is given, and not in the one found.
    let top = directory.path().canonicalize().unwrap();
    let (below, file) = (top.join("below"), top.join("below/file"));
    std::fs::create_dir(&below).unwrap();
    std::fs::write(&file, "").unwrap();
    let mut watcher = Watcher::start();
    let to_below = format!("chdir {}", hex(below.as_os_str().as_bytes()));
    watcher.process.call(&to_below).unwrap();
    let open = format!("open {}", hex(file.as_os_str().as_bytes()));
    let fd = watcher.process.call(&open).unwrap();
    let of_descriptor = [format!("/proc/self/fd/{fd}"), format!("/dev/fd/{fd}")];
    let given = [(".", &below), ("file", &file), ("../below/./file", &file), ("..", &top)];
    // Small machines have no /dev/fd.
    let has_dev_fd = Path::new("/dev/fd").exists();
    let of_descriptor = of_descriptor.iter().filter(|path| has_dev_fd || !path.starts_with("/dev"));
    let of_descriptor = of_descriptor.map(|path| (&**path, &file));
    for (path, found) in given.into_iter().chain(of_descriptor) {
        let event = watcher.watch(path, libc::IN_MODIFY);
        let expected = json!({ "event": "watch", "path": path, "resolved": found.to_str() });
        assert!(has(&event, &expected), "{event}");
    }
    // Never there: there is no file whose path could be told.
    let missing = watcher.watch("missing", libc::IN_MODIFY);
    let expected = json!({ "path": below.join("missing"), "errno": "ENOENT" });
    assert!(has(&missing, &expected), "{missing}");
    assert_eq!(missing["resolved"], Value::Null);
    let plain = watcher.watch(top.to_str().unwrap(), libc::IN_MODIFY);
    assert_eq!(plain["resolved"], Value::Null, "{plain}");
    let pid = watcher.process.pid;
    let run = watcher.agent.stop();
    // The state of the recording has the best path.
    let list = std::process::Command::new(binary())
        .args(["list", "--watches", "-o", "json", "--recording"])
        .arg(run.recording().unwrap())
        .output()
        .unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let row = list["rows"].as_array().unwrap().iter().find(|row| row["pid"] == pid).unwrap();
    let paths: Vec<_> = row["targets"].as_array().unwrap().iter().map(|it| &it["path"]).collect();
    assert_eq!(paths, [&json!(below), &json!(file), &json!(top)]);
}

#[live_test(each = backend)]
fn a_watch_that_is_changed_has_its_inode() {
    use std::os::unix::fs::MetadataExt as _;
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut watcher = Watcher::start();
    let path = |number: u32| directory.path().join(number.to_string());
    for number in 0..20 {
        std::fs::write(path(number), "").unwrap();
        watcher.watch(path(number).to_str().unwrap(), libc::IN_MODIFY);
    }
    // Far behind the newest watches, of which the kernel's list begins.
    for (number, mask) in [(3, libc::IN_ATTRIB), (4, libc::IN_ATTRIB | libc::IN_MASK_ADD)] {
        let event = watcher.watch(path(number).to_str().unwrap(), mask);
        let metadata = path(number).metadata().unwrap();
        let (major, minor) = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
        let expected = json!({
            "event": "watch", "wd": number + 1, "inode": metadata.ino(),
            "dev": format!("{major}:{minor}"),
        });
        assert!(has(&event, &expected), "{event}");
    }
    nothing_lost(&watcher.agent.stop());
}

#[live_test(each = backend)]
fn no_path_is_not_an_empty_one() {
    let _machine = system::the_machine();
    let mut watcher = Watcher::start();
    let null = format!("watch_null {} {}", watcher.fd, libc::IN_MODIFY);
    let errno = watcher.process.call(&null).unwrap_err();
    assert_eq!(errno, libc::EFAULT);
    let pid = watcher.process.pid;
    watcher.agent.wait_for_event(&json!({ "event": "watch-failed", "pid": pid }));
    let empty = watcher.watch("", libc::IN_MODIFY);
    let failed = watcher.agent.events();
    let failed: Vec<_> =
        failed.iter().filter(|it| it["pid"] == pid && it["event"] == "watch-failed").collect();
    let [null, also_empty] = failed[..] else { panic!("two failures: {failed:?}") };
    assert_eq!((&null["errno"], &null["path"]), (&json!("EFAULT"), &Value::Null), "{null}");
    assert_eq!((&empty["errno"], &empty["path"]), (&json!("ENOENT"), &json!("")), "{empty}");
    assert_eq!(also_empty, &empty);
    nothing_lost(&watcher.agent.stop());
}

#[live_test(each = backend)]
fn a_watch_that_fails_tells_the_directory_of_its_relative_path() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let here = directory.path().canonicalize().unwrap();
    let mut watcher = Watcher::start();
    watcher.process.call(&format!("chdir {}", hex(here.as_os_str().as_bytes()))).unwrap();
    for (given, told) in [
        ("conf.d/missing", here.join("conf.d/missing")),
        ("../missing", here.join("../missing")),
        ("/no/such", "/no/such".into()),
    ] {
        let failed = watcher.watch(given, libc::IN_MODIFY);
        assert_eq!(
            (&failed["errno"], &failed["path"]),
            (&json!("ENOENT"), &json!(told)),
            "{given}"
        );
    }
    nothing_lost(&watcher.agent.stop());
}
