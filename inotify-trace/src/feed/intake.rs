//! Turns the kernel programs' records into events, and reads from /proc what may be gone a moment
//! later.

use std::time::Instant;

use inotify_trace_common::record;
use inotify_trace_model::event::{Event, EventKind, Loss};

use super::{
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
        runtimes::Registry,
    },
    kernel::{Backend, Programs},
};

/// The most records in a batch.
const BATCH: usize = 4096;

/// The number of batches that empty the ring buffer for certain: more than the largest one holds.
const LAST_BATCHES: usize = 1024;

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
        let first = events.len();
        let taken = self.take(events);
        self.more = taken == BATCH;
        resolving::resolve(first, events, &mut self.resolving);
        self.naming.name(first, events);
        self.tell_losses(events);
        self.naming.identify_shims(first, events);
        taken
    }

    /// Takes a batch out of the ring buffer.
    fn take(&mut self, events: &mut Vec<Event>) -> usize {
        let exact = self.is_exact();
        let Self { programs, known, sweep, files, .. } = self;
        let mut reader = Reader { known, files, hinted: false };
        let taken = programs.drain(BATCH, |raw| reader.read(raw, events));
        if reader.hinted && !exact {
            sweep.hint(Instant::now());
        }
        taken
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
