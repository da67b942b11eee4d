//! What people call a container: from what its runtime left on disk. No daemon is asked for that;
//! `cri` asks for what is not there.
//!
//! What is read was written by programs of root, and is believed as such; it is never needed, so
//! whatever cannot be read is passed over.

#[cfg(feature = "cri")]
mod cri;
#[cfg(not(feature = "cri"))]
#[path = "cri_off.rs"]
mod cri;
mod docker;
mod oci;
mod podman;
mod states;
#[cfg(test)]
mod tests;

pub use cri::{Answer, Cri};
pub use states::{State, States};

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use inotify_trace_model::identity::{Container, Names, Runtime};

/// Bytes of the longest file that is read: a bundle with hundreds of mounts has a tenth of it.
const LONGEST: u64 = 4 << 20;

/// Where runtimes leave what they know.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The root of the machine's files.
    root: PathBuf,
    /// Where a runtime of Kubernetes can be asked, if not where one usually can.
    cri_socket: Option<PathBuf>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::below(PathBuf::from("/"))
    }
}

impl Registry {
    /// Of a machine whose files are below `root`: `/host` in a container that mounts them there.
    #[must_use]
    pub fn below(root: PathBuf) -> Self {
        Self { root, cri_socket: None }
    }

    /// The same, with the socket of a runtime that can be asked for what is not on disk.
    #[must_use]
    pub fn asking_at(self, cri_socket: Option<PathBuf>) -> Self {
        Self { cri_socket, ..self }
    }

    /// Those who can be asked for what is not on disk.
    #[must_use]
    pub fn cri(&self) -> Cri {
        Cri::new(&self.root, self.cri_socket.clone())
    }

    /// What a container is called, and by whom: whose file says so runs it, where its cgroup's path
    /// does not tell.
    #[must_use]
    pub fn find(&self, container: &Container) -> Option<(Runtime, Names)> {
        let id = container.id.as_str();
        // An id is part of paths here.
        if id.is_empty() || id.starts_with('.') || id.contains('/') {
            return None;
        }
        let by = |runtime| {
            let names = match runtime {
                Runtime::Containerd => oci::of_containerd(self, id),
                Runtime::CriO => oci::of_storage(self, id),
                Runtime::Docker => docker::names(self, id),
                Runtime::Podman => podman::names(self, id),
                // LXC and systemd-nspawn call a container by its name in the path.
                _ => None,
            };
            names.map(|names| (runtime, names))
        };
        match container.runtime {
            Some(runtime) => by(runtime),
            // kubelet's cgroupfs driver does not say whose it is, nor does a parent of one's choice.
            None => [Runtime::Containerd, Runtime::CriO, Runtime::Docker].into_iter().find_map(by),
        }
    }

    /// A file of the machine; None if it is not there, or absurdly long.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = self.root.join(path);
        // Some of these files are in directories of users, who could put a pipe there.
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let file = fs::File::options().read(true).custom_flags(flags).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return None;
        }
        io::read_to_string(file).ok()
    }

    /// The directories in a directory of the machine.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}
