//! The running kernel as a source of events.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use inotify_trace_common::record;
use inotify_trace_model::{
    event::{Event, EventKind, InstanceId, Loss},
    feed::Item,
    tracker::{Departure, Leaver, Tracker},
};
use tokio::time::{Duration, sleep_until};

use super::{
    Options,
    charges::Answers,
    looked,
    naming::Naming,
    now,
    reader::{Known, Reader},
    shims,
    sweep::{Schedule, Search},
};
use crate::{
    host::procfs,
    kernel::{Backend, KernelError, Programs},
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
    pub(super) known: Known,
    /// Whether to look up where the targets are of what is found at the start.
    pub(super) find_paths: bool,
    pub(super) naming: Naming,
    sweep: Schedule,
    search: Search,
    /// Answers that have come to questions about what is charged.
    pub(super) answers: Answers,
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
    pub fn start(options: Options) -> Result<Self, KernelError> {
        let mut live = Self::new(Programs::attach(options.kernel)?, options);
        live.found = live.snapshot()?;
        live.programs.free_what_loading_took();
        Ok(live)
    }

    /// Looks at what exists now, and traces nothing: a batch of what is found.
    ///
    /// # Errors
    /// Whatever keeps the kernel from being asked.
    pub fn survey(options: Options) -> Result<Item, KernelError> {
        let mut live = Self::new(Programs::for_questions(options.kernel)?, options);
        let mut events = live.snapshot()?;
        live.naming.wait(&mut events);
        Ok(looked(events))
    }

    fn new(programs: Programs, options: Options) -> Self {
        Self {
            find_paths: options.find_paths,
            naming: Naming::new(options.registry),
            programs,
            known: Known::default(),
            sweep: Schedule::new(Instant::now()),
            search: Search::new(Instant::now()),
            answers: Answers::new(),
            found: Vec::new(),
            resting: false,
            has_lost: false,
            more: false,
        }
    }

    /// What this kernel does not allow the backend to see.
    #[must_use]
    pub fn unseen(&self) -> &[&'static str] {
        self.programs.unseen()
    }

    /// How inotify is hooked.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        self.programs.backend()
    }

    fn is_exact(&self) -> bool {
        self.backend().is_some_and(Backend::is_exact)
    }

    /// Waits for events and adds them to `events`, oldest first. The first call gives what was
    /// found at the start. It may add none. `tracker` is what all earlier events have led to: it
    /// says what is worth asking about.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// If the kernel cannot be listened to any more.
    pub async fn next(
        &mut self,
        events: &mut Vec<Event>,
        tracker: &Tracker,
    ) -> Result<(), KernelError> {
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
            if self.may_miss() {
                self.ask_what_is_gone(tracker)?;
            } else {
                self.sweep.asked(now, now);
            }
        }
        if self.search.due() <= now {
            self.tell_skipped(events);
            if self.may_miss() {
                self.find_overlooked(events)?;
            }
            self.search.searched(now, Instant::now());
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
            () = sleep_until(self.sweep.due().min(self.search.due()).into()) => Ok(()),
        }
    }

    fn rest(&mut self, resting: bool) {
        if self.resting != resting {
            self.resting = resting;
            self.programs.rest(resting);
        }
    }

    /// What has arrived by now, without waiting; a batch of it, where events keep coming.
    pub fn catch_up(&mut self, events: &mut Vec<Event>) {
        self.drain(events);
    }

    /// All that has happened until now, without waiting: for the end, or to sum up in between.
    pub fn catch_up_wholly(&mut self, events: &mut Vec<Event>, tracker: &Tracker) {
        events.append(&mut self.found);
        self.drain_all(events);
        self.tell_skipped(events);
        if self.may_miss() {
            // An answer that cannot be had any more is no reason to hold back the rest.
            let _ = self.ask_what_is_gone(tracker);
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
    fn tell_skipped(&mut self, events: &mut Vec<Event>) {
        let count = self.programs.skipped();
        if count > 0 {
            events.push(now(EventKind::Lost { count, what: Loss::Runs }));
            self.has_lost = true;
        }
    }

    /// Whether instances may begin or end without a record. Where none does, it must not be asked
    /// either: an instance is gone a moment before its record comes.
    fn may_miss(&self) -> bool {
        !self.is_exact() || self.has_lost
    }

    fn ask_what_is_gone(&mut self, tracker: &Tracker) -> Result<(), KernelError> {
        let started = Instant::now();
        let outlived = with_no_known_holder(tracker);
        // Oldest first: ends that are noticed together are told in the order of creation.
        for (instance, address) in &self.known.addresses {
            if outlived.contains(instance) {
                self.programs.ask().held(address)?;
            } else {
                self.programs.ask().gone(address)?;
            }
        }
        self.sweep.asked(started, Instant::now());
        Ok(())
    }
}

/// Instances that every known holder has given up and is through with: what still refers to one of
/// them is nobody's who is known. Looked up before the kernel is asked, whose answer is then about
/// a later moment.
fn with_no_known_holder(tracker: &Tracker) -> HashSet<InstanceId> {
    let mut exited = HashMap::new();
    let mut is_through = |leaver: &Leaver| {
        let pid = leaver.task.pid;
        match leaver.how {
            // The kernel says so when it has closed what goes.
            Departure::Executed => true,
            Departure::Exited => *exited.entry(pid).or_insert_with(|| procfs::has_exited(pid)),
            Departure::Closed => leaver.fd.is_some_and(|fd| procfs::has_closed(pid, fd)),
        }
    };
    let given_up = tracker.given_up();
    given_up.filter(|it| it.leavers.iter().all(&mut is_through)).map(|it| it.id).collect()
}
