//! Names of containers, from the files of their runtimes. No daemon is needed for these; `cri` asks
//! for names that are not on disk, and `users` reads the files of users' own containers.
//!
//! The machine's files were written by root's programs, and are trusted accordingly. Names are
//! optional, so unreadable files are skipped. Every text has a length limit: [`Names::bounded`].

mod asking;
mod counts;
#[cfg(feature = "cri")]
mod cri;
#[cfg(not(feature = "cri"))]
#[path = "cri_off.rs"]
mod cri;
mod docker;
mod files;
mod kubelet;
mod machines;
mod oci;
mod podman;
mod states;
#[cfg(test)]
mod tests;
mod users;

pub use counts::CriCounts;
pub use cri::Cri;
pub(super) use files::Below;
pub use states::{State, States};
pub use users::{OfUser, Users};

use std::path::{Path, PathBuf};

use inotify_trace_model::identity::{Container, Names, Runtime};

/// The most bytes of a file that is read: a bundle with hundreds of mounts has a tenth of it.
const LONGEST: u64 = 4 << 20;

/// The most of containerd's namespaces that are looked into.
const MOST_NAMESPACES: usize = 64;

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its names.
    pub names: Names,
    /// Its runtime, if a file says which it is.
    pub runtime: Option<Runtime>,
    /// Whether these are all names that it has. Those of a pod's container may be in several places.
    pub is_whole: bool,
}

/// An answer about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The container in the question.
    pub asked: Container,
    /// Its names; None if no runtime knows it.
    pub names: Option<Names>,
    /// Its runtime, if that was unknown in the question.
    pub runtime: Option<Runtime>,
}

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

    /// The users of the machine, whose files have the names of their own containers.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.root)
    }

    /// The names of a container by its runtime's files.
    fn of_runtime(&self, container: &Container) -> Option<Found> {
        let id = container.id.as_str();
        // The id becomes part of paths.
        if !is_component(id) {
            return None;
        }
        let by = |runtime| {
            let unlike = |names| oci::Found { names, is_of_pod: false };
            let oci::Found { names, is_of_pod } = match runtime {
                Runtime::Containerd => oci::of_containerd(self, id)?,
                Runtime::CriO => oci::of_storage(self, id)?,
                Runtime::Docker => unlike(docker::names(self, id)?),
                Runtime::Podman => unlike(podman::names(self, id)?),
                // For LXC and systemd-nspawn, the id is the name already.
                _ => return None,
            };
            let names = names.bounded();
            let is_whole = names.is_whole() || !(is_of_pod || is_of_kubelet(container));
            Some(Found { names, runtime: Some(runtime), is_whole })
        };
        match container.runtime {
            Some(runtime) => by(runtime),
            // With kubelet's cgroupfs driver, or a chosen parent, the path does not name the runtime.
            None => [Runtime::Containerd, Runtime::CriO, Runtime::Docker].into_iter().find_map(by),
        }
    }

    /// A file of the machine; None if it does not exist, or is too long.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        files::read(&self.root.join(path), LONGEST)
    }

    /// The directories in a directory of the machine.
    fn directories(&self, path: &str) -> Vec<PathBuf> {
        let path = self.root.join(path);
        let names = files::names(&path, MOST_NAMESPACES, files::is_directory);
        names.into_iter().map(|name| path.join(name)).collect()
    }
}

/// The names of this machine's containers.
#[derive(Debug)]
pub struct Files {
    registry: Registry,
    logs: kubelet::Logs,
}

impl Files {
    /// The files of a registry, not read yet.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry, logs: kubelet::Logs::default() }
    }

    /// What the files say of a container. Nothing of one that runs in another: its runtime's files
    /// are in there, and its id was chosen there.
    #[must_use]
    pub fn find(&mut self, container: &Container) -> Option<Found> {
        if container.outer.is_some() {
            return None;
        }
        let of_runtime = self.registry.of_runtime(container);
        let is_wanted = of_runtime.as_ref().is_none_or(|found| !found.is_whole);
        let is_of_pod = of_runtime.is_some() || is_of_kubelet(container);
        if !(is_wanted && is_of_pod && container.has_long_id()) {
            return of_runtime;
        }
        let of_logs = self.logs.find(&self.registry.root, container).bounded();
        match of_runtime {
            Some(Found { names, runtime, .. }) => {
                let names = names.or(of_logs);
                Some(Found { is_whole: names.is_whole(), names, runtime })
            }
            None => of_logs.or_none().map(|names| Found { names, runtime: None, is_whole: false }),
        }
    }
}

/// Whether a cgroup's path says that its container is of one of kubelet's pods.
fn is_of_kubelet(container: &Container) -> bool {
    container.pod.is_some() && container.runtime != Some(Runtime::Podman)
}

/// Whether a text may be the name of a file, and hidden by none.
fn is_component(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains('/')
}
