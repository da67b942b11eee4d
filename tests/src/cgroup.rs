//! cgroups created by tests.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{
    leftovers::{self, Leftover},
    wait::Wait,
};

/// A cgroup of the v2 hierarchy, with the parents that were created for it. Removed on drop.
#[derive(Debug)]
pub struct Cgroup {
    /// Its path from the root of the hierarchy.
    pub path: String,
    /// The inode number of its directory.
    pub id: u64,
    /// The container expected from the path.
    pub container: Option<Value>,
    /// The created directories, innermost first.
    made: Vec<PathBuf>,
}

/// The mount point of the v2 hierarchy.
#[must_use]
pub fn mount_point() -> Option<PathBuf> {
    // Other mount points may be no UTF-8.
    let mounts = fs::read("/proc/self/mounts").ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.into_iter().find(|words| words.get(2) == Some(&"cgroup2")).map(|words| words[1].into())
}

/// The path and id of a process's cgroup.
#[must_use]
pub fn of_process(pid: u32) -> Option<(String, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let id = fs::metadata(mount_point()?.join(path.trim_start_matches('/'))).ok()?.ino();
    Some((path.to_owned(), id))
}

/// A name that no other test uses.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{:x}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Cgroup {
    /// Creates a cgroup of no container. None if no v2 hierarchy is mounted.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::at(&format!("inotify-trace-test-{}", unique()), None)
    }

    /// Creates a container's cgroup as containerd does for Kubernetes with the systemd driver.
    #[must_use]
    pub fn of_containerd() -> Option<Self> {
        Self::of_containerd_after(|_| ())
    }

    /// The same, after a call of `prepare` with the container's id.
    #[must_use]
    pub fn of_containerd_after(prepare: impl FnOnce(&str)) -> Option<Self> {
        let id = format!("{:0<64}", unique().replace('x', "f"));
        let pod = format!("{:08x}-1111-4222-8333-444455556666", std::process::id());
        let unit = format!("kubepods-burstable-pod{}", pod.replace('-', "_"));
        let path = format!(
            "kubepods.slice/kubepods-burstable.slice/{unit}.slice/cri-containerd-{id}.scope"
        );
        let container =
            json!({ "runtime": "containerd", "id": id, "pod": pod, "qos": "burstable" });
        prepare(&id);
        Self::at(&path, Some(container))
    }

    /// Creates a cgroup at a path from the root of the hierarchy.
    #[must_use]
    pub fn at_path(path: &str) -> Option<Self> {
        Self::at(path.trim_start_matches('/'), None)
    }

    fn at(path: &str, container: Option<Value>) -> Option<Self> {
        let mount = mount_point()?;
        let directory = mount.join(path);
        let made: Vec<_> = directory
            .ancestors()
            .take_while(|ancestor| !ancestor.exists())
            .map(Path::to_path_buf)
            .collect();
        for (level, made) in made.iter().enumerate().rev() {
            leftovers::note(if level == 0 {
                Leftover::Cgroup(made)
            } else {
                Leftover::Parent(made)
            });
        }
        fs::create_dir_all(&directory).expect("root may make cgroups");
        let id = fs::metadata(&directory).expect("it was just made").ino();
        Some(Self { path: format!("/{path}"), id, container, made })
    }

    /// The directory of the cgroup.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.made[0]
    }

    /// Moves a process into the cgroup.
    pub fn add(&self, pid: u32) {
        fs::write(self.directory().join("cgroup.procs"), pid.to_string())
            .expect("root may move processes");
    }

    /// Removes the cgroup now.
    pub fn remove(mut self) {
        self.remove_all();
    }

    fn remove_all(&mut self) {
        // The kernel removes a process from its cgroup a moment after its parent has waited for it.
        let wait = Wait::begin();
        for directory in std::mem::take(&mut self.made) {
            while let Err(error) = fs::remove_dir(&directory) {
                // Another test may use this cgroup as its parent.
                let busy = error.raw_os_error() == Some(libc::EBUSY);
                let children = fs::read_dir(&directory)
                    .is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()));
                if !busy || children || wait.left().is_zero() {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove_all();
    }
}
