//! What the kernel programs have told, taken in: records become events, with what must be looked up
//! at once because it may be gone a moment later.

use std::{collections::HashMap, time::Instant};

use inotify_trace_common::record;
use inotify_trace_model::event::{Event, EventKind, Loss};

use super::{
    naming::Naming,
    now,
    reader::{Answers, Known, Reader},
    shims,
    sweep::Schedule,
};
use crate::{
    host::{procfs, runtimes::Registry},
    kernel::{Backend, Programs},
};

/// How many records are taken before the sinks get their turn.
pub(super) const BATCH: usize = 4096;

/// How many batches empty the ring buffer for certain: more than the largest ring buffer holds.
const LAST_BATCHES: usize = 1024;

/// The kernel programs, and what is known of what they have told.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) programs: Programs,
    pub(super) known: Known,
    pub(super) naming: Naming,
    /// When to ask what is gone: hints come with the records.
    pub(super) sweep: Schedule,
    /// Answers that have come to questions about what is charged.
    pub(super) answers: Answers,
    /// Events were lost, ends of instances perhaps among them.
    has_lost: bool,
    /// The ring buffer was not emptied the last time.
    pub(super) more: bool,
}

impl Intake {
    pub(super) fn new(programs: Programs, registry: Registry) -> Self {
        Self {
            programs,
            known: Known::default(),
            naming: Naming::new(registry),
            sweep: Schedule::new(Instant::now()),
            answers: Answers::new(),
            has_lost: false,
            more: false,
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.programs.backend().is_some_and(Backend::is_exact)
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
        let first = events.len();
        let taken = self.take(events, &mut executed);
        self.more = taken == BATCH;
        if !executed.is_empty() {
            self.look_after_exec(&executed, first, events);
        }
        self.naming.name(first, events);
        shims::identify(first, events);
        self.tell_losses(events);
        taken
    }

    /// Takes a batch of what is in the ring buffer; processes that executed a program go to
    /// `executed`.
    fn take(&mut self, events: &mut Vec<Event>, executed: &mut Vec<u32>) -> usize {
        let exact = self.is_exact();
        let Self { programs, known, sweep, answers, .. } = self;
        let mut reader = Reader { known, executed, answers, hinted: false };
        let taken = programs.drain(BATCH, |raw| reader.read(raw, events));
        if reader.hinted && !exact {
            sweep.hint(Instant::now());
        }
        taken
    }

    /// Which descriptors the processes that executed a program have kept: none, nearly always.
    /// Their events are in `events` from `first` on.
    fn look_after_exec(&mut self, executed: &[u32], first: usize, events: &mut Vec<Event>) {
        let mut kept = self.descriptors_of(executed);
        if kept.values().any(|descriptors| !descriptors.is_empty()) {
            // The new program may have made instances before anyone looked: these are told by now.
            let mut later = Vec::new();
            while self.take(events, &mut later) == BATCH && later.len() < BATCH {}
            kept.extend(self.descriptors_of(&later));
        }
        for event in events[first..].iter_mut().rev() {
            let Some(pid) = event.task.map(|task| task.pid) else { continue };
            match &mut event.kind {
                EventKind::InstanceCreated { fd, .. } => {
                    if let Some(descriptors) = kept.get_mut(&pid) {
                        descriptors.retain(|kept| kept != fd);
                    }
                }
                EventKind::ProcessExec { kept: told @ None } => *told = kept.remove(&pid),
                _ => {}
            }
        }
    }

    /// The descriptors of those processes that still run, none of which is a holder if it has none.
    fn descriptors_of(&mut self, pids: &[u32]) -> HashMap<u32, Vec<i32>> {
        let mut all = HashMap::new();
        for &pid in pids {
            let Some(descriptors) = procfs::inotify_descriptors_of_living(pid) else { continue };
            if descriptors.is_empty() {
                // It would only be asked about once more than needed.
                let _ = self.programs.ask().forget_holder(pid);
            }
            all.insert(pid, descriptors);
        }
        all
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

    /// Runs of kernel programs that the kernel left out: what they would have told is lost.
    pub(super) fn tell_skipped(&mut self, events: &mut Vec<Event>) {
        let count = self.programs.skipped();
        if count > 0 {
            events.push(now(EventKind::Lost { count, what: Loss::Runs }));
            self.has_lost = true;
        }
    }

    /// Whether instances may begin or end without a record. Where none does, it must not be asked
    /// either: an instance is gone a moment before its record comes.
    pub(super) fn may_miss(&self) -> bool {
        !self.is_exact() || self.has_lost
    }
}
