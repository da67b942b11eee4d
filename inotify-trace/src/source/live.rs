//! The running kernel as a source of events.

use std::time::Instant;

use inotify_trace_common::record;
use tokio::time::{Duration, sleep_until};

use super::{
    now,
    reader::{Known, Reader},
    sweep::Schedule,
};
use crate::{
    event::{Event, EventKind, Loss},
    kernel::{Backend, KernelError, Programs, Settings},
    procfs,
};

/// How many records are taken before the sinks get their turn.
pub(super) const BATCH: usize = 4096;

/// How many batches empty the ring buffer for certain: more than the largest ring buffer holds.
const LAST_BATCHES: usize = 1024;

/// After a batch, the ring buffer is left alone for this long, unless it is half full before. A
/// first event is shown at once; of many that follow each other, none wakes the agent. Being woken
/// by each would cost the traced program more than the tracing does, see docs/benchmarks.md.
const REST: Duration = Duration::from_millis(50);

/// Events from the running kernel.
#[derive(Debug)]
pub struct Live {
    pub(super) programs: Programs,
    known: Known,
    sweep: Schedule,
    /// What was found at the start, until it is asked for.
    found: Vec<Event>,
    /// Events were lost, ends of instances perhaps among them.
    has_lost: bool,
    /// Nothing but a half full ring buffer wakes the agent.
    resting: bool,
    /// The ring buffer was not emptied the last time.
    pub(super) more: bool,
}

impl Live {
    /// Attaches the kernel programs, and then looks at what exists already. Nothing that happens
    /// from the first of these on is missed, and nothing is counted twice: what is found and
    /// what happens come through the same ring buffer, and instances are told apart by identity.
    ///
    /// # Errors
    /// Whatever keeps the kernel programs from being attached.
    pub fn start(settings: Settings) -> Result<Self, KernelError> {
        let programs = Programs::attach(settings)?;
        let mut live = Self {
            programs,
            known: Known::default(),
            sweep: Schedule::new(Instant::now()),
            found: Vec::new(),
            resting: false,
            has_lost: false,
            more: false,
        };
        live.found = live.snapshot()?;
        live.programs.settle();
        Ok(live)
    }

    /// What this kernel does not allow the backend to see.
    #[must_use]
    pub fn unseen(&self) -> &[&'static str] {
        self.programs.unseen()
    }

    /// How inotify is hooked.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.programs.backend()
    }

    /// Waits for events and adds them to `events`, oldest first. The first call gives what was
    /// found at the start. It may add none.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// If the kernel cannot be listened to any more.
    pub async fn next(&mut self, events: &mut Vec<Event>) -> Result<(), KernelError> {
        if !self.found.is_empty() {
            events.append(&mut self.found);
            return Ok(());
        }
        if self.more {
            // Events come faster than they are taken: signals must get their turn all the same.
            tokio::task::yield_now().await;
        } else {
            self.wait().await?;
        }
        let now = Instant::now();
        if self.sweep.due() <= now {
            if self.may_miss_ends() { self.ask_what_is_gone()? } else { self.sweep.asked(now, now) }
        }
        // Set before draining, so that nothing which comes after it wakes the agent early ...
        self.rest(true);
        if self.drain(events) == 0 {
            // ... and taken back before making sure that nothing came, so that what comes later
            // does.
            self.rest(false);
            self.drain(events);
        }
        Ok(())
    }

    /// Waits until it is worth looking into the ring buffer, or time to ask.
    async fn wait(&mut self) -> Result<(), KernelError> {
        let resting = self.resting;
        tokio::select! {
            ready = self.programs.readable() => ready,
            () = tokio::time::sleep(REST), if resting => Ok(()),
            () = sleep_until(self.sweep.due().into()) => Ok(()),
        }
    }

    fn rest(&mut self, resting: bool) {
        if self.resting != resting {
            self.resting = resting;
            self.programs.rest(resting);
        }
    }

    /// What has arrived until now, without waiting: for the end.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.found);
        self.drain_all(events);
        if self.may_miss_ends() {
            // An answer that cannot be had any more is no reason to hold back the rest.
            let _ = self.ask_what_is_gone();
        }
        self.drain_all(events);
    }

    /// Empties the ring buffer; but not for ever, where events keep coming.
    pub(super) fn drain_all(&mut self, events: &mut Vec<Event>) {
        for _ in 0..LAST_BATCHES {
            self.drain(events);
            if !self.more {
                break;
            }
        }
    }

    /// Takes a batch of what is in the ring buffer; says how many records that was.
    pub(super) fn drain(&mut self, events: &mut Vec<Event>) -> usize {
        let mut executed = Vec::new();
        let exact = self.backend().is_exact();
        let Self { programs, known, sweep, .. } = self;
        let mut reader = Reader { known, executed: &mut executed, hinted: false };
        let taken = programs.drain(BATCH, |raw| reader.read(raw, events));
        if reader.hinted && !exact {
            sweep.hint(Instant::now());
        }
        for pid in executed {
            self.look_after_exec(pid, events);
        }
        self.more = taken == BATCH;
        self.tell_losses(events);
        taken
    }

    /// Which descriptors a process that executed a program has kept: none, nearly always.
    fn look_after_exec(&mut self, pid: u32, events: &mut [Event]) {
        let Some(kept) = procfs::inotify_descriptors_of_living(pid) else { return };
        if kept.is_empty() {
            self.programs.forget_holder(pid);
        }
        let latest = events.iter_mut().rev().find(|event| {
            event.task.is_some_and(|task| task.pid == pid)
                && matches!(event.kind, EventKind::ProcessExec { .. })
        });
        if let Some(event) = latest {
            event.kind = EventKind::ProcessExec { kept: Some(kept) };
        }
    }

    fn tell_losses(&mut self, events: &mut Vec<Event>) {
        for (loss, count) in self.programs.losses() {
            let what = match loss {
                record::Loss::RingFull => Loss::Events,
                record::Loss::HoldersFull => Loss::Holders,
                record::Loss::CallsFull => Loss::Calls,
            };
            events.push(now(EventKind::Lost { count, what }));
            self.has_lost = true;
        }
    }

    /// Whether instances may end without a record. Where none does, it must not be asked either:
    /// an instance is gone a moment before its record comes.
    fn may_miss_ends(&self) -> bool {
        !self.backend().is_exact() || self.has_lost
    }

    fn ask_what_is_gone(&mut self) -> Result<(), KernelError> {
        let started = Instant::now();
        // Oldest first: ends that are noticed together are told in the order of creation.
        for address in self.known.addresses.values() {
            self.programs.ask().gone(address)?;
        }
        self.sweep.asked(started, Instant::now());
        Ok(())
    }
}
