//! Turns the kernel programs' records into events, and reads from /proc what may be gone a moment
//! later.

use std::{collections::HashMap, time::Instant};

use inotify_trace_common::record;
use inotify_trace_model::event::{Event, EventKind, Loss};

use super::{
    allowance::Allowance,
    naming::Naming,
    now,
    reader::{Known, Reader},
    resolving,
    sweep::Schedule,
};
use crate::{
    host::{
        OpenFiles,
        helper::{Helper, OF_EVENTS},
        procfs,
        runtimes::Registry,
    },
    kernel::{Backend, Programs},
};

/// The most records in a batch.
const BATCH: usize = 4096;

/// The number of batches that empty the ring buffer for certain: more than the largest one holds.
const LAST_BATCHES: usize = 1024;

/// The most descriptors of a process that are read after each exec, which itself takes longer; and the
/// most that are read at all, if there is time.
const FEW: usize = 64;
const MANY: usize = 4096;

/// The kernel programs, and the state needed to read their records.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) programs: Programs,
    pub(super) known: Known,
    pub(super) naming: Naming,
    /// Resolves paths.
    resolving: Helper,
    /// When to ask which instances are gone; records give hints.
    pub(super) sweep: Schedule,
    files: OpenFiles,
    /// Time to read the descriptors of processes that have many.
    allowance: Allowance,
    /// Whether events were lost, which may include ends of instances.
    has_lost: bool,
    /// Whether a loss was told since the feed last looked.
    pub(super) has_just_lost: bool,
    /// Watches of the snapshot that were not looked up for lack of time.
    pub(super) left_out: usize,
    /// Whether the last batch left records in the ring buffer.
    pub(super) more: bool,
}

impl Intake {
    pub(super) fn new(programs: Programs, registry: Registry) -> Self {
        Self {
            programs,
            known: Known::default(),
            naming: Naming::new(registry),
            resolving: Helper::with_rests(OF_EVENTS),
            sweep: Schedule::new(Instant::now()),
            files: OpenFiles::open(),
            allowance: Allowance::new(Instant::now()),
            has_lost: false,
            has_just_lost: false,
            left_out: 0,
            more: false,
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.programs.backend().is_some_and(Backend::is_exact)
    }

    /// Empties the ring buffer, but returns even if events keep coming.
    pub(super) fn drain_all(&mut self, events: &mut Vec<Event>) {
        for _ in 0..LAST_BATCHES {
            self.drain(events);
            if !self.more {
                break;
            }
        }
    }

    /// Takes a batch out of the ring buffer, and returns the number of its records.
    pub(super) fn drain(&mut self, events: &mut Vec<Event>) -> usize {
        let mut executed = Vec::new();
        let first = events.len();
        let taken = self.take(events, &mut executed);
        self.more = taken == BATCH;
        if !executed.is_empty() {
            self.look_after_exec(&executed, first, events);
        }
        resolving::resolve(first, events, &mut self.resolving);
        self.naming.name(first, events);
        self.tell_losses(events);
        self.naming.identify_shims(first, events);
        taken
    }

    /// Takes a batch out of the ring buffer; processes that executed a program go to `executed`.
    fn take(&mut self, events: &mut Vec<Event>, executed: &mut Vec<u32>) -> usize {
        let exact = self.is_exact();
        let Self { programs, known, sweep, files, .. } = self;
        let mut reader = Reader { known, executed, files, hinted: false };
        let taken = programs.drain(BATCH, |raw| reader.read(raw, events));
        if reader.hinted && !exact {
            sweep.hint(Instant::now());
        }
        taken
    }

    /// Reads the descriptors that processes have kept through exec, nearly always none. Their events
    /// are in `events` from `first` on. Those of a process that has many are not known.
    fn look_after_exec(&mut self, executed: &[u32], first: usize, events: &mut Vec<Event>) {
        let mut kept = self.descriptors_of(executed);
        if kept.values().any(|descriptors| !descriptors.is_empty()) {
            // The new program may have created instances before the read: their records are here now.
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

    /// The descriptors of those processes that still run. Processes without any are removed from the
    /// kernel programs' holders.
    fn descriptors_of(&mut self, pids: &[u32]) -> HashMap<u32, Vec<i32>> {
        let mut all = HashMap::new();
        for &pid in pids {
            let began = Instant::now();
            let left = self.allowance.left(began);
            let mut has_many = false;
            let found = procfs::inotify_descriptors_of_living(pid, |count| {
                has_many = count > FEW;
                !has_many || (count <= MANY && began.elapsed() < left)
            });
            if has_many {
                self.allowance.spend(began.elapsed());
            }
            let Some(descriptors) = found else { continue };
            if descriptors.is_empty() {
                // A failure only costs one more question.
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
            (self.has_lost, self.has_just_lost) = (true, true);
        }
    }

    /// Adds a loss for the program runs that the kernel skipped.
    pub(super) fn report_skipped(&mut self, events: &mut Vec<Event>) {
        let count = self.programs.skipped();
        if count > 0 {
            events.push(now(EventKind::Lost { count, what: Loss::Runs }));
            self.has_lost = true;
        }
    }

    /// Whether queues may overflow without a record.
    pub(super) fn may_miss_overflows(&self) -> bool {
        !self.programs.sees_overflows() || self.has_lost
    }

    /// Whether instances may begin or end without a record. If none does, the agent must not ask
    /// either: an instance is gone a moment before its record comes.
    pub(super) fn may_miss(&self) -> bool {
        !self.is_exact() || self.has_lost
    }
}
