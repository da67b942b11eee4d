//! Containers of real runtimes in cgroups whose paths name no container.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use inotify_trace_tests::{
    Agent, Listing, cgroup,
    leftovers::{self, Leftover},
    listing::ROADS,
    live_test, system,
};
use serde_json::{Value, json};

use crate::nothing_lost;

/// A container of runc or crun. It runs tail, which waits for a file to grow. Deleted on drop.
pub struct Container {
    runtime: &'static str,
    pub id: String,
    /// The path from the root of the hierarchy.
    pub cgroup: String,
    bundle: tempfile::TempDir,
}

/// Skips the test, with a reason.
macro_rules! skip {
    ($($why:tt)*) => {{
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        return system::skip(&test, &format!($($why)*));
    }};
}

impl Container {
    /// Creates the container without starting it. Its cgroup is below `parent`.
    pub fn new(runtime: &'static str, parent: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("inotify-trace-test-{}-{number}", std::process::id());
        let cgroup = format!("{parent}/test{}x{number}", std::process::id());
        let bundle = system::directory();
        let rootfs = bundle.path().join("rootfs");
        for directory in ["etc", "proc", "dev"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
        }
        fs::write(rootfs.join("etc/log"), "").unwrap();
        // tail and its libraries come from the machine.
        let here =
            ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|it| Path::new(it).exists());
        let mut mounts: Vec<_> = here
            .map(|it| {
                let options = ["rbind", "ro"];
                json!({ "destination": it, "source": it, "type": "bind", "options": options })
            })
            .collect();
        mounts.push(json!({ "destination": "/proc", "type": "proc", "source": "proc" }));
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
        let config = json!({
            "ociVersion": "1.0.0",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/usr/bin/tail", "-f", "/etc/log"],
                "cwd": "/",
            },
            "root": { "path": "rootfs" },
            "mounts": mounts,
            "linux": { "cgroupsPath": cgroup, "namespaces": namespaces },
        });
        fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
        Self { runtime, id, cgroup, bundle }
    }

    /// Runs the runtime. crun needs the v2 hierarchy at the path it has on machines without v1.
    fn call(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        let mount = cgroup::mount_point().unwrap();
        let script = if self.runtime == "crun" && mount != Path::new("/sys/fs/cgroup") {
            "umount --recursive /sys/fs/cgroup && mkdir -p /sys/fs/cgroup \
             && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\""
        } else {
            "exec \"$@\""
        };
        // The started container keeps the runtime's descriptors; a pipe would never be closed.
        let (out, err) = ["out.txt", "err.txt"].map(|name| self.bundle.path().join(name)).into();
        let create = |path: &PathBuf| fs::File::create(path).unwrap();
        command.args(["--mount", "sh", "-c", script, "sh", self.runtime]).args(arguments);
        command.stdin(std::process::Stdio::null()).stdout(create(&out)).stderr(create(&err));
        let status = command.status().unwrap();
        let read = |path| fs::read(path).unwrap();
        Output { status, stdout: read(out), stderr: read(err) }
    }

    /// Starts the container. Returns the reason if it fails.
    pub fn start(&self) -> Result<(), String> {
        let mount = cgroup::mount_point().unwrap();
        leftovers::note(Leftover::Container(self.runtime, &self.id));
        leftovers::note(Leftover::Cgroup(&mount.join(self.cgroup.trim_start_matches('/'))));
        let bundle = self.bundle.path().to_str().unwrap();
        let output = self.call(&["run", "--detach", "--bundle", bundle, &self.id]);
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The expected container fields.
    fn described(&self) -> Value {
        json!({ "runtime": self.runtime, "id": self.id, "name": self.id })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.call(&["delete", "--force", &self.id]);
        // The parents that were created for the container's cgroup.
        let mount = cgroup::mount_point().unwrap();
        for above in Path::new(self.cgroup.trim_start_matches('/')).ancestors() {
            if !above.as_os_str().is_empty() && fs::remove_dir(mount.join(above)).is_err() {
                break;
            }
        }
    }
}

/// The parents of the cgroups: the root, and units whose names identify no container.
const PARENTS: [&str; 2] = ["", "/user.slice/inotify-trace-test.slice/session.scope"];

fn is_told(runtime: &'static str) {
    if system::which(runtime).is_none() {
        skip!("{runtime} is not installed");
    }
    if cgroup::mount_point().is_none() {
        skip!("no cgroup v2 hierarchy is mounted");
    }
    let _machine = system::the_machine();
    let before = Container::new(runtime, PARENTS[0]);
    if let Err(why) = before.start() {
        skip!("{runtime} cannot run a container here: {}", why.trim());
    }
    let events = "found,create,watch,release,cgroup-create,container-name";
    let agent = Agent::with(&["-e", events]);
    let is = |event: &str, container: &Container| json!({ "event": event, "cgroup": container.cgroup, "container": container.described() });
    agent.wait_for_event(&is("found", &before));
    let later: Vec<_> = PARENTS.iter().map(|parent| Container::new(runtime, parent)).collect();
    for container in &later {
        container.start().unwrap();
        // The runtime reports the container's cgroup before the container's program starts.
        agent.wait_for_event(&is("watch", container));
        agent.wait_for_event(&is("create", container));
        agent.wait_for_event(&json!({
            "event": "container-name",
            "target_cgroup": container.cgroup, "target_container": container.described(),
        }));
    }
    for road in ROADS {
        let listing = Listing::by("container", road);
        for container in later.iter().chain([&before]) {
            let row = listing.rows().iter().find(|row| row["cgroup"] == json!([container.cgroup]));
            let row = row.unwrap_or_else(|| panic!("{} is missing: {listing:?}", container.id));
            assert_eq!(row["container"], container.described());
            assert_eq!(row["runtime"], json!([runtime]));
            assert_eq!((&row["instances"], &row["watches"]), (&json!(1), &json!(1)));
        }
    }
    nothing_lost(&agent.stop());
}

#[live_test]
fn a_container_of_runc_is_told_by_its_state() {
    is_told("runc");
}

#[live_test]
fn a_container_of_crun_is_told_by_its_state() {
    is_told("crun");
}
