//! Names of containers, from the files of their runtimes. No daemon is needed for these; `cri` asks
//! for names that are not on disk.
//!
//! The files were written by root's programs, and are trusted accordingly. Names are optional, so
//! unreadable files are skipped.

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

/// The most bytes of a file that is read: a bundle with hundreds of mounts has a tenth of it.
const LONGEST: u64 = 4 << 20;

/// The runtimes' files.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The root of the machine's files.
    root: PathBuf,
    /// The socket of a CRI runtime, if not a default one.
    cri_socket: Option<PathBuf>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::below(PathBuf::from("/"))
    }
}

impl Registry {
    /// The files of a machine below `root`: `/host` in a container that mounts them there.
    #[must_use]
    pub fn below(root: PathBuf) -> Self {
        Self { root, cri_socket: None }
    }

    /// Sets the socket of a runtime that can be asked for names that are not on disk.
    #[must_use]
    pub fn asking_at(self, cri_socket: Option<PathBuf>) -> Self {
        Self { cri_socket, ..self }
    }

    /// The runtimes that can be asked for names that are not on disk.
    #[must_use]
    pub fn cri(&self) -> Cri {
        Cri::new(&self.root, self.cri_socket.clone())
    }

    /// The names of a container, and the runtime whose file has them, which runs the container if
    /// its cgroup's path leaves that open.
    #[must_use]
    pub fn find(&self, container: &Container) -> Option<(Runtime, Names)> {
        let id = container.id.as_str();
        // The id becomes part of paths.
        if id.is_empty() || id.starts_with('.') || id.contains('/') {
            return None;
        }
        let by = |runtime| {
            let names = match runtime {
                Runtime::Containerd => oci::of_containerd(self, id),
                Runtime::CriO => oci::of_storage(self, id),
                Runtime::Docker => docker::names(self, id),
                Runtime::Podman => podman::names(self, id),
                // For LXC and systemd-nspawn, the id is the name already.
                _ => None,
            };
            names.map(|names| (runtime, names))
        };
        match container.runtime {
            Some(runtime) => by(runtime),
            // With kubelet's cgroupfs driver, or a chosen parent, the path does not name the runtime.
            None => [Runtime::Containerd, Runtime::CriO, Runtime::Docker].into_iter().find_map(by),
        }
    }

    /// A file of the machine; None if it does not exist, or is too long.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = self.root.join(path);
        // Some files are in users' directories, who could put a pipe or a link there.
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
