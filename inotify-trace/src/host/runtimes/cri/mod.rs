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
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use super::{Container, Names, Runtime};

/// The default sockets.
const SOCKETS: [&str; 3] =
    ["run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock"];

/// The answer to a question about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The container in the question.
    pub asked: Container,
    /// Its names; None if no runtime knows it.
    pub names: Option<Names>,
    /// Its runtime, if that was unknown in the question.
    pub runtime: Option<Runtime>,
}

/// The runtimes that can be asked.
#[derive(Debug)]
pub struct Cri {
    sockets: Vec<PathBuf>,
    worker: Option<Worker>,
    /// Questions without an answer.
    open: usize,
}

#[derive(Debug)]
struct Worker {
    questions: Sender<Container>,
    answers: Receiver<Answer>,
}

impl Cri {
    /// The runtimes of a machine whose files are below `root`; or the one that listens on `socket`.
    #[must_use]
    pub fn new(root: &std::path::Path, socket: Option<PathBuf>) -> Self {
        let usual = || SOCKETS.iter().map(|path| root.join(path)).collect();
        let sockets = socket.map_or_else(usual, |socket| vec![socket]);
        Self { sockets, worker: None, open: 0 }
    }

    /// Asks for a container's names; returns whether there will be an answer.
    pub fn ask(&mut self, container: &Container) -> bool {
        let is_kubernetes_s =
            matches!(container.runtime, None | Some(Runtime::Containerd | Runtime::CriO));
        // All ids of Kubernetes runtimes are long.
        if !is_kubernetes_s || !container.has_long_id() {
            return false;
        }
        if self.worker.is_none() && self.sockets.iter().any(|socket| socket.exists()) {
            self.worker = self.start();
        }
        let Some(worker) = &self.worker else { return false };
        let is_asked = worker.questions.send(container.clone()).is_ok();
        self.open += usize::from(is_asked);
        is_asked
    }

    fn start(&self) -> Option<Worker> {
        let ((questions, asked), (answer, answers)) = (mpsc::channel(), mpsc::channel());
        let sockets = self.sockets.clone();
        let thread = thread::Builder::new().name("cri".to_owned());
        let started = thread.spawn(move || worker::run(sockets, &asked, &answer));
        if let Err(error) = &started {
            log::info!("no container runtime can be asked for names: {error}");
        }
        started.ok().map(|_| Worker { questions, answers })
    }

    /// Whether answers are outstanding.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open > 0
    }

    /// An answer that has arrived.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.worker.as_ref()?.answers.try_recv();
        if matches!(answer, Err(mpsc::TryRecvError::Disconnected)) {
            self.open = 0;
        }
        self.open = self.open.saturating_sub(usize::from(answer.is_ok()));
        answer.ok()
    }

    /// Waits for the next answer, until `end`.
    pub fn wait(&mut self, end: Instant) -> Option<Answer> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let answer = self.worker.as_ref().filter(|_| self.open > 0)?.answers.recv_timeout(left);
        self.open -= 1;
        answer.ok()
    }
}
