//! Questions that are answered in a thread of their own, so that nobody waits for the answers.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use crate::threads;

/// A thread that answers each question once.
#[derive(Debug)]
pub(super) struct Asking<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
    /// Questions without an answer.
    open: usize,
}

impl<Q: Send + 'static, A: Send + 'static> Asking<Q, A> {
    /// Starts the thread, which runs `answer` until the questions' sender is dropped.
    pub(super) fn start(
        name: &'static str,
        answer: impl FnOnce(&Receiver<Q>, &Sender<A>) + Send + 'static,
    ) -> Option<Self> {
        let ((questions, asked), (answered, answers)) = (mpsc::channel(), mpsc::channel());
        let started = threads::spawn(name, move || answer(&asked, &answered));
        if let Err(error) = &started {
            log::info!("no names are looked up by the thread {name:?}: {error}");
        }
        started.ok().map(|_| Self { questions, answers, open: 0 })
    }

    /// Asks; returns whether there will be an answer.
    pub(super) fn ask(&mut self, question: Q) -> bool {
        let is_asked = self.questions.send(question).is_ok();
        self.open += usize::from(is_asked);
        is_asked
    }

    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// An answer that has arrived.
    pub(super) fn answer(&mut self) -> Option<A> {
        let answer = self.answers.try_recv();
        if matches!(answer, Err(mpsc::TryRecvError::Disconnected)) {
            self.open = 0;
        }
        self.open = self.open.saturating_sub(usize::from(answer.is_ok()));
        answer.ok()
    }

    /// Waits for the next answer, until `end`.
    pub(super) fn wait(&mut self, end: Instant) -> Option<A> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let answer = (self.open > 0).then(|| self.answers.recv_timeout(left))?;
        self.open -= 1;
        answer.ok()
    }
}
