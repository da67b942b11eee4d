//! Pipes where files are expected: who opens one waits for a writer that never comes.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use inotify_trace_tests::{Agent, Cgroup, Process, agent::binary, live_test, system, wait};
use serde_json::json;

use super::loads::Ground;

/// The files that the agent reads of a machine.
fn files(uid: u32, id: &str) -> Vec<String> {
    let bundles = "run/containerd/io.containerd.runtime.v2.task";
    [
        "etc/passwd",
        "etc/sysctl.conf",
        "etc/sysctl.d/50-inotify.conf",
        "var/lib/kubelet/config.yaml",
        "run/systemd/machines/nsp",
        &format!("{bundles}/k8s.io/{id}/config.json"),
        &format!("{bundles}/moby/{id}/config.json"),
        &format!("var/lib/docker/containers/{id}/config.v2.json"),
        &format!("var/lib/containers/storage/overlay-containers/{id}/userdata/config.json"),
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!("run/runc/{id}/state.json"),
        &format!("run/crun/{id}/status"),
        &format!("run/user/{uid}/crun/{id}/status"),
        &format!("run/user/{uid}/runc/{id}/state.json"),
    ]
    .map(str::to_owned)
    .into()
}

fn make_pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a path that ends with a zero and lives until the call returns.
    let result = unsafe { libc::mkfifo(path.as_ptr(), 0o666) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A command that is killed if the test fails before it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command of the agent, which must end by itself.
fn ends(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let child = &mut running.0;
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut stream: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map(|_| bytes)
        })
    };
    let streams = [read(Box::new(out)), read(Box::new(err))];
    let mut status = None;
    wait::until(&format!("{arguments:?} ends"), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let [stdout, stderr] = streams.map(|stream| stream.join().unwrap().unwrap());
    Output { status: status.unwrap(), stdout, stderr }
}

#[live_test]
fn pipes_in_place_of_files_hold_nothing_up() {
    const NAME: &str = "hostile::files::pipes_in_place_of_files_hold_nothing_up";
    let _machine = system::the_machine();
    let ground = Ground::new();
    let (root, id) = (ground.root(), format!("a7{:0>62x}", std::process::id()));
    for file in files(ground.uid, &id) {
        make_pipe(&root.join(file));
    }
    let root = ["--host-root", root.to_str().unwrap()];
    let uid = ground.uid;
    let user =
        format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/libpod-{id}.scope");
    let agent = Agent::with(&[&root[..], &["-e", "create"]].concat());
    let cgroups =
        [format!("/docker/{id}"), user, format!("/machine.slice/nsp-{id}.service/payload")];
    let mut processes = Vec::new();
    for path in &cgroups {
        let Some(cgroup) = Cgroup::at_path(path) else {
            return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
        };
        let mut process = Process::start();
        cgroup.add(process.pid);
        process.call("init1 0").unwrap();
        agent.wait_for_event(&json!({ "event": "create", "pid": process.pid, "cgroup": path }));
        processes.push((process, cgroup));
    }
    for arguments in [
        &["list", "--watches"][..],
        &["list", "--by", "container"],
        &["leaks", "--settle", "0"],
        &["limits"],
    ] {
        let output = ends(&[arguments, &root].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {errors}");
    }
    drop(agent.stop());
    for (mut process, cgroup) in processes {
        process.tell("exit 0");
        process.join();
        drop(cgroup);
    }
}
