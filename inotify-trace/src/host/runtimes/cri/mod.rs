//! Names of containers from the runtime of a Kubernetes node, for those whose names are not on disk:
//! its files may be elsewhere, or unreadable.
//!
//! A thread of its own asks, with a timeout. Callers don't wait, unless they call `wait`.

mod api;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, Container, CriCounts, Runtime, asking::Asking};

/// The default sockets.
const SOCKETS: [&str; 3] =
    ["run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock"];

/// The runtimes that can be asked.
#[derive(Debug)]
pub struct Cri {
    sockets: Vec<PathBuf>,
    worker: Option<Asking<Container, Answer>>,
    counts: Arc<CriCounts>,
    /// When it was seen last that there is no socket.
    absent: Option<Instant>,
}

/// How long a socket that is not there is not looked for again.
const ABSENCE: Duration = Duration::from_millis(500);

impl Cri {
    /// The runtimes of a machine whose files are below `root`; or the one that listens on `socket`.
    #[must_use]
    pub fn new(root: &std::path::Path, socket: Option<PathBuf>) -> Self {
        let usual = || SOCKETS.iter().map(|path| root.join(path)).collect();
        let sockets = socket.map_or_else(usual, |socket| vec![socket]);
        Self { sockets, worker: None, counts: Arc::default(), absent: None }
    }

    /// Asks for a container's names; returns whether there will be an answer.
    pub fn ask(&mut self, container: &Container) -> bool {
        let is_kubernetes_s =
            matches!(container.runtime, None | Some(Runtime::Containerd | Runtime::CriO));
        // All ids of Kubernetes runtimes are long.
        if !is_kubernetes_s || !container.has_long_id() || container.outer.is_some() {
            return false;
        }
        if self.worker.is_none() && self.is_there() {
            let sockets = self.sockets.clone();
            let counts = Arc::clone(&self.counts);
            self.worker = Asking::start("cri", move |asked, answer| {
                worker::run(sockets, &counts, asked, answer);
            });
        }
        self.worker.as_mut().is_some_and(|worker| worker.ask(container.clone()))
    }

    /// Whether there is a socket; false for a while after there was none: each container that has no
    /// name asks.
    fn is_there(&mut self) -> bool {
        if self.absent.is_some_and(|absent| absent.elapsed() < ABSENCE) {
            return false;
        }
        let is_there = self.sockets.iter().any(|socket| socket.exists());
        self.absent = (!is_there).then(Instant::now);
        is_there
    }

    /// How often runtimes are asked.
    #[must_use]
    pub fn counts(&self) -> &Arc<CriCounts> {
        &self.counts
    }

    /// Whether answers are outstanding.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.worker.as_ref().is_some_and(Asking::is_open)
    }

    /// An answer that has arrived.
    pub fn answer(&mut self) -> Option<Answer> {
        self.worker.as_mut()?.answer()
    }

    /// Waits for the next answer, until `end`.
    pub fn wait(&mut self, end: Instant) -> Option<Answer> {
        self.worker.as_mut()?.wait(end)
    }
}
