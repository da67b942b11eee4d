//! The running kernel as a source of events.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use inotify_trace_model::{
    event::{Event, InstanceId},
    feed::Item,
    tracker::{Departure, Leaver, Tracker},
};
use tokio::time::{Duration, sleep_until};

use super::{Options, intake::Intake, looked, snapshot, sweep::Search};
use crate::{
    host::procfs,
    kernel::{Backend, KernelError, Programs},
};

/// After a batch, the ring buffer is left alone for this long, unless it is half full before. A
/// first event is shown at once; of many that follow each other, none wakes the agent. Being woken
/// by each would cost the traced program more than the tracing does, see docs/benchmarks.md.
const REST: Duration = Duration::from_millis(50);

/// Events from the running kernel.
#[derive(Debug)]
pub struct Live {
    intake: Intake,
    search: Search,
    /// What was found at the start, until it is asked for.
    found: Vec<Event>,
    /// Nothing but a half full ring buffer wakes the agent.
    resting: bool,
}

impl Live {
    /// Attaches the kernel programs, and then looks at what exists already. Nothing that happens
    /// from the first of these on is missed, and nothing is counted twice: what is found and
    /// what happens come through the same ring buffer, and instances are told apart by identity.
    ///
    /// # Errors
    /// Whatever keeps the kernel programs from being attached.
    pub fn start(options: Options) -> Result<Self, KernelError> {
        let mut intake = Intake::new(Programs::attach(options.kernel)?, options.registry);
        let found = snapshot::of_machine(&mut intake, options.find_paths)?;
        intake.programs.free_what_loading_took();
        Ok(Self { intake, search: Search::new(Instant::now()), found, resting: false })
    }

    /// Looks at what exists now, and traces nothing: a batch of what is found.
    ///
    /// # Errors
    /// Whatever keeps the kernel from being asked.
    pub fn survey(options: Options) -> Result<Item, KernelError> {
        let mut intake = Intake::new(Programs::for_questions(options.kernel)?, options.registry);
        let mut events = snapshot::of_machine(&mut intake, options.find_paths)?;
        intake.naming.wait(&mut events);
        Ok(looked(events))
    }

    /// What this kernel does not allow the backend to see.
    #[must_use]
    pub fn unseen(&self) -> &[&'static str] {
        self.intake.programs.unseen()
    }

    /// How inotify is hooked.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        self.intake.programs.backend()
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
        if self.intake.more {
            // Events come faster than they are taken: signals must get their turn all the same.
            tokio::task::yield_now().await;
        } else {
            self.wait().await?;
        }
        let now = Instant::now();
        if self.intake.sweep.due() <= now {
            if self.intake.may_miss() {
                self.ask_what_is_gone(tracker)?;
            } else {
                self.intake.sweep.asked(now, now);
            }
        }
        if self.search.due() <= now {
            self.intake.tell_skipped(events);
            if self.intake.may_miss() {
                snapshot::find_overlooked(&mut self.intake, events)?;
            }
            self.search.searched(now, Instant::now());
        }
        // Set before draining, so that nothing which comes after it wakes the agent early ...
        self.rest(true);
        if self.intake.drain(events) == 0 {
            // ... and taken back before making sure that nothing came, so that what comes later
            // does.
            self.rest(false);
            self.intake.drain(events);
        }
        Ok(())
    }

    /// Waits until it is worth looking into the ring buffer, or time to ask.
    async fn wait(&mut self) -> Result<(), KernelError> {
        let resting = self.resting;
        tokio::select! {
            ready = self.intake.programs.readable() => ready,
            () = tokio::time::sleep(REST), if resting => Ok(()),
            () = sleep_until(self.intake.sweep.due().min(self.search.due()).into()) => Ok(()),
        }
    }

    fn rest(&mut self, resting: bool) {
        if self.resting != resting {
            self.resting = resting;
            self.intake.programs.rest(resting);
        }
    }

    /// What has arrived by now, without waiting; a batch of it, where events keep coming.
    pub fn catch_up(&mut self, events: &mut Vec<Event>) {
        self.intake.drain(events);
    }

    /// All that has happened until now, without waiting: for the end, or to sum up in between.
    pub fn catch_up_wholly(&mut self, events: &mut Vec<Event>, tracker: &Tracker) {
        events.append(&mut self.found);
        self.intake.drain_all(events);
        self.intake.tell_skipped(events);
        if self.intake.may_miss() {
            // An answer that cannot be had any more is no reason to hold back the rest.
            let _ = self.ask_what_is_gone(tracker);
        }
        self.intake.drain_all(events);
    }

    fn ask_what_is_gone(&mut self, tracker: &Tracker) -> Result<(), KernelError> {
        let started = Instant::now();
        let outlived = with_no_known_holder(tracker);
        // Oldest first: ends that are noticed together are told in the order of creation.
        for (instance, address) in &self.intake.known.addresses {
            if outlived.contains(instance) {
                self.intake.programs.ask().held(address)?;
            } else {
                self.intake.programs.ask().gone(address)?;
            }
        }
        self.intake.sweep.asked(started, Instant::now());
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
