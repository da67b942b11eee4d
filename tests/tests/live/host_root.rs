//! The agent in a container that has the machine's files at /host, and a cgroup namespace of its own, as
//! on a Kubernetes node with cgroup v2 alone.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use inotify_trace_tests::{Cgroup, Process, World, agent, live_test, system};
use serde_json::{Value, json};

/// Runs the program $2 in the directory $1, where only /host shows the machine, in a mount namespace of
/// its own. The rest are the program's arguments.
const CONTAINER: &str = r#"
mount --make-rprivate /
root=$1 program=$2
shift 2
mount -t tmpfs none "$root"
mkdir "$root/host" "$root/proc" "$root/sys" "$root/dev"
touch "$root/program"
mount --bind "$program" "$root/program"
mount --rbind / "$root/host"
mount -t proc none "$root/proc"
mount --bind /dev "$root/dev"
mount -t sysfs none "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
exec chroot "$root" /program "$@"
"#;

/// What `list` says in such a container.
fn list(own: &Cgroup, root: &Path, options: &[&str]) -> Value {
    let mut command = Command::new("sh");
    command.args(["-ec", CONTAINER, "sh"]).arg(root).arg(agent::binary());
    let procs = File::options().write(true).open(own.directory().join("cgroup.procs")).unwrap();
    let enter = move || {
        (&procs).write_all(b"0")?;
        // SAFETY: takes no memory.
        match unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it writes to an open file and makes one call, and takes no memory.
    unsafe { command.pre_exec(enter) };
    let output = command.args(["list", "--no-agent", "-o", "json"]).args(options).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

#[live_test(each = kernel)]
fn a_container_with_the_machine_s_files_shows_what_the_machine_does() {
    let _machine = system::the_machine();
    let (Some(own), Some(other)) = (Cgroup::of_containerd(), Cgroup::of_containerd()) else {
        let test = "host_root::a_container_with_the_machine_s_files_shows_what_the_machine_does";
        return system::skip(test, "no cgroup v2 hierarchy is mounted");
    };
    let directory = system::directory();
    let world = World::new();
    // One in the container beside the agent's, and one that is root's, who has a name.
    let (mut beside, mut of_root) = (world.subject(), Process::start());
    beside.move_to(&other);
    let fd = beside.create(0).unwrap();
    beside.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    of_root.call("init1 0").unwrap();
    let root = system::directory();
    for road in [&[][..], &["--walk-proc"]] {
        let options = |more: &[&'static str]| [&["--host-root", "/host"], road, more].concat();
        let processes = list(&own, root.path(), &options(&[]));
        let row = |pid: u32| {
            let rows = processes["rows"].as_array().unwrap();
            let row = rows.iter().find(|row| row["pid"] == pid);
            row.unwrap_or_else(|| panic!("{pid} is missing: {processes}")).clone()
        };
        let row_beside = row(beside.pid());
        assert_eq!(row_beside["cgroup"], json!([other.path]), "{row_beside}");
        assert_eq!(row_beside["container"][0]["id"], other.container.as_ref().unwrap()["id"]);
        // A virtual machine has no names of users.
        if Path::new("/etc/passwd").exists() {
            assert_eq!(row(of_root.pid)["user"][0]["name"], "root");
        }
        let watches = list(&own, root.path(), &options(&["--watches"]));
        let path = directory.path().to_str().unwrap();
        let of = |pid: u32| {
            let rows = watches["rows"].as_array().unwrap();
            let is_it = |row: &&Value| row.to_string().contains(&format!("\"pid\":{pid}"));
            rows.iter().find(is_it).unwrap_or_else(|| panic!("{pid}: {watches}")).clone()
        };
        let watch = of(beside.pid());
        assert_eq!(watch["targets"][0]["path"], json!(path), "{watch}");
    }
}
