//! File systems that a container serves, and that stop to answer: nothing waits for them.

use std::{
    fs,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use inotify_trace_tests::{
    Agent, Process, agent::binary, listing::ROADS, live_test, process::hex, system, wait,
};
use serde_json::{Value, json};

/// A process in a private mount namespace that serves a file system at a directory, and watches
/// something there or beyond.
pub struct Scene {
    pub process: Process,
    /// Its first instance.
    fd: i32,
    served: PathBuf,
    directory: tempfile::TempDir,
}

fn hex_of(path: &Path) -> String {
    hex(path.as_os_str().as_encoded_bytes())
}

impl Scene {
    /// None if the kernel has no FUSE, which is said.
    fn new(test: &str) -> Option<Self> {
        Self::begin().map_err(|why| system::skip(test, why)).ok()
    }

    /// An error says what the kernel does not have.
    fn begin() -> Result<Self, &'static str> {
        // Overlays want a file system with extended attributes for their upper layers.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let served = directory.path().join("served");
        fs::create_dir(&served).unwrap();
        let mut process = Process::start();
        let fd = process.call("init1 0").unwrap();
        process.call("mount_namespace").unwrap();
        let mounted = process.call(&format!("fuse {}", hex_of(&served)));
        mounted.map_err(|_| "no file system can be served here")?;
        Ok(Self { process, fd, served, directory })
    }

    /// An overlay whose lower layer falls silent, which is the way to hold up those who look at it.
    pub fn overlaid() -> Result<Self, &'static str> {
        let mut scene = Self::begin()?;
        let at = |name: &str| scene.directory.path().join(name);
        let (merged, upper, work) = (at("merged"), at("upper"), at("work"));
        for directory in [&merged, &upper, &work] {
            fs::create_dir(directory).unwrap();
        }
        let (lower, upper, work) = (scene.served.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let command = format!("overlay {} {}", hex_of(&merged), hex(options.as_bytes()));
        scene.process.call(&command).map_err(|_| "no overlay of a served file system here")?;
        scene.watch(&merged.join("dir"));
        Ok(scene)
    }

    /// Moves the process's arguments to a file that it serves.
    pub fn hide_arguments(&mut self) {
        let file = self.served.join("dir/file");
        self.call("arguments_in", &file);
    }

    fn call(&mut self, command: &str, path: &Path) {
        self.process.call(&format!("{command} {}", hex_of(path))).unwrap();
    }

    fn watch(&mut self, path: &Path) {
        let (fd, mask) = (self.fd, libc::IN_MODIFY);
        self.process.call(&format!("watch {fd} {} {mask}", hex_of(path))).unwrap();
    }

    pub fn fall_silent(&mut self) {
        self.process.call("fuse_silent").unwrap();
    }

    /// Runs a command to its end, which comes though the file system is silent, and returns its
    /// output.
    fn output(&self, arguments: &[&str]) -> String {
        let mut out = tempfile::tempfile().unwrap();
        let mut child = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .spawn()
            .unwrap();
        wait::until(&format!("{arguments:?} ends"), || child.try_wait().unwrap().is_some());
        let mut text = String::new();
        out.rewind().unwrap();
        out.read_to_string(&mut text).unwrap();
        text
    }

    /// The targets of the process by both ways to look.
    fn targets(&self) -> [Vec<Value>; 2] {
        ROADS.map(|road| {
            let text = self.output(&[&["list", "--watches", "-o", "json"], road].concat());
            let listing: Value = serde_json::from_str(&text).unwrap();
            let rows = listing["rows"].as_array().unwrap();
            let row = rows.iter().find(|row| row["pid"] == self.process.pid).unwrap();
            row["targets"].as_array().unwrap().clone()
        })
    }
}

/// What a path is left out for.
#[track_caller]
fn is_untold(target: &Value, reason: &str) {
    assert_eq!([&target["path"], &target["gone"]], [&Value::Null; 2], "{target:?}");
    assert_eq!(target["path_unknown"], reason, "{target:?}");
}

#[live_test]
fn a_file_system_that_a_program_serves_is_not_asked() {
    const NAME: &str = "silent::a_file_system_that_a_program_serves_is_not_asked";
    let _machine = system::the_machine();
    let Some(mut scene) = Scene::new(NAME) else { return };
    let watched = scene.served.join("dir");
    let beside = scene.directory.path().join("beside");
    fs::create_dir(&beside).unwrap();
    scene.watch(&watched);
    scene.watch(&beside);
    scene.fall_silent();
    for told in scene.targets() {
        is_untold(&told[0], "not-asked");
        assert_eq!(told[1]["path"], json!(beside.to_str()), "{told:?}");
    }
    let text = scene.output(&["list", "--watches"]);
    assert!(text.contains("(file system not asked)"), "{text}");
}

#[live_test]
fn what_is_mounted_beyond_a_silent_file_system_is_not_looked_up() {
    const NAME: &str = "silent::what_is_mounted_beyond_a_silent_file_system_is_not_looked_up";
    let _machine = system::the_machine();
    let Some(mut scene) = Scene::new(NAME) else { return };
    let beyond = scene.served.join("dir");
    scene.call("mount", &beyond);
    let file = beyond.join("file");
    scene.process.call(&format!("write {} 61", hex_of(&file))).unwrap();
    scene.watch(&file);
    scene.fall_silent();
    for told in scene.targets() {
        is_untold(&told[0], "not-asked");
    }
}

/// An overlay whose lower layer is silent. None if the kernel has none, which is said.
fn overlaid(test: &str) -> Option<Scene> {
    let mut scene = Scene::overlaid().map_err(|why| system::skip(test, why)).ok()?;
    scene.fall_silent();
    Some(scene)
}

#[live_test]
fn an_overlay_of_a_silent_file_system_holds_nobody_up() {
    const NAME: &str = "silent::an_overlay_of_a_silent_file_system_holds_nobody_up";
    let _machine = system::the_machine();
    let Some(mut scene) = overlaid(NAME) else { return };
    let beside = scene.directory.path().join("beside");
    fs::create_dir(&beside).unwrap();
    scene.watch(&beside);
    for told in scene.targets() {
        is_untold(&told[0], "no-answer");
        assert_eq!(told[1]["path"], json!(beside.to_str()), "{told:?}");
    }
    let text = scene.output(&["list", "--watches"]);
    assert!(text.contains("(file system does not answer)"), "{text}");
    for command in [&["list"][..], &["leaks"], &["limits"]] {
        scene.output(command);
    }
}

#[live_test]
fn a_trace_begins_and_ends_beside_a_silent_file_system() {
    const NAME: &str = "silent::a_trace_begins_and_ends_beside_a_silent_file_system";
    let _machine = system::the_machine();
    let Some(scene) = overlaid(NAME) else { return };
    let agent = Agent::start();
    let mut other = Process::start();
    let fd = other.call("init1 0").unwrap();
    other.call(&format!("close {fd}")).unwrap();
    let run = agent.stop();
    let of = |pid: u32, name: &'static str| {
        run.events.iter().filter(move |it| it["pid"] == pid && it["event"] == name).count()
    };
    assert_eq!((of(other.pid, "create"), of(other.pid, "release")), (1, 1));
    assert_eq!(of(scene.process.pid, "found"), 1);
    let watches = run.events.iter().filter(|it| it["path_unknown"] == "no-answer");
    assert_eq!(watches.count(), 1);
}

#[live_test]
fn arguments_in_a_silent_file_hold_nobody_up() {
    const NAME: &str = "silent::arguments_in_a_silent_file_hold_nobody_up";
    let _machine = system::the_machine();
    let Some(mut scene) = Scene::new(NAME) else { return };
    let directory = scene.directory.path().join("x");
    fs::create_dir(&directory).unwrap();
    scene.watch(&directory);
    scene.hide_arguments();
    scene.fall_silent();
    // As many that its program is wanted; and a directory that only a search finds.
    assert_eq!(scene.process.call("create 8"), Ok(8));
    for told in scene.targets() {
        assert_eq!(told[0]["path"], json!(directory.to_str()), "{told:?}");
    }
    let mut agent = Command::new(binary())
        .args(["trace", "-o", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = vec![0; 4096];
    let length = agent.stderr.as_mut().unwrap().read(&mut greeting).unwrap();
    assert!(length > 0, "it began");
    terminate(&mut agent);
}

fn terminate(agent: &mut Child) {
    let pid = i32::try_from(agent.id()).unwrap();
    // SAFETY: no pointers; the child was not waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    wait::until("it ends", || agent.try_wait().unwrap().is_some());
}
