//! Events from the running kernel.

use std::{collections::HashMap, sync::Arc, time::Instant};

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, InstanceId, Loss},
    tracker::{Departure, Leaver, Tracker},
};
use tokio::time::{Duration, sleep_until};

use super::{
    Options, Survey, charges, intake::Intake, programs, refused::Refusals, snapshot, sweep::Routine,
};
use crate::{
    host::{
        helper::{Helper, OF_EVENTS},
        privileges,
        procfs::{self, TableId},
        runtimes::CriCounts,
    },
    kernel::{Backend, KernelError, Meter, Programs},
};

/// The time between two batches, unless the ring buffer is half full before. A first event is shown
/// at once; those that follow closely don't wake the agent, which would cost the traced program more
/// than the tracing does, see docs/benchmarks.md.
const REST: Duration = Duration::from_millis(50);

/// How often losses are simulated, if they are.
const SIMULATED: Duration = Duration::from_secs(10);

/// Events from the running kernel.
#[derive(Debug)]
pub struct Live {
    intake: Intake,
    search: Routine,
    /// Looks at what changes without a record.
    looks: Routine,
    refusals: Refusals,
    given_up: GivenUp,
    /// The snapshot, until the first call of `next`.
    found: Vec<Event>,
    /// Whether only a half full ring buffer wakes the agent.
    resting: bool,
    /// How many events it pretends to lose next, and when.
    simulated: Option<(u64, Instant)>,
}

impl Live {
    /// Attaches the kernel programs, and then takes the snapshot. No event after attaching is missed,
    /// and no instance counts twice: records of snapshot and hooks come through the same ring buffer,
    /// and instances are matched by identity.
    ///
    /// # Errors
    /// If the kernel programs cannot be attached.
    pub fn start(options: Options) -> Result<Self, KernelError> {
        let programs = Programs::attach(options.kernel)?;
        privileges::give_up_others(options.later);
        let mut intake = Intake::new(programs, options.registry);
        let found = snapshot::of_machine(&mut intake, options.find_paths)?;
        intake.programs.count_lost_calls();
        intake.programs.free_loading_memory();
        let now = Instant::now();
        let (search, looks) = (Routine::search(now), Routine::looks(now));
        let refusals = Refusals::new(now);
        let given_up = GivenUp::default();
        Ok(Self {
            intake,
            search,
            looks,
            refusals,
            given_up,
            found,
            resting: false,
            simulated: None,
        })
    }

    /// Takes a snapshot without tracing.
    ///
    /// # Errors
    /// If the kernel programs that answer questions cannot be loaded.
    pub fn survey(options: Options) -> Result<Survey, KernelError> {
        let programs = Programs::for_questions(options.kernel)?;
        privileges::give_up_others(options.later);
        let mut intake = Intake::new(programs, options.registry);
        let (mut events, watches) = snapshot::with_watches_apart(&mut intake, options.find_paths)?;
        intake.naming.wait(&mut events);
        programs::identify(&mut events, &Tracker::new(), &mut Helper::with_rests(OF_EVENTS));
        Ok(Survey::new(events, watches, 0, intake.left_out))
    }

    /// The number of watches of the snapshot that were not looked up for lack of time.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.intake.left_out
    }

    /// Forgets the instances that the tracker has forgotten. One that is used later is new then.
    pub(super) fn forget_unknown(&mut self, tracker: &Tracker) {
        self.intake.known.retain(|instance| tracker.instance(instance).is_some());
    }

    /// The features that the backend lacks on this kernel.
    #[must_use]
    pub fn unseen(&self) -> &[&'static str] {
        self.intake.programs.unseen()
    }

    /// Pretends to lose this many events every [`SIMULATED`].
    pub(super) fn simulate_loss(&mut self, count: u64) {
        self.simulated = Some((count, Instant::now() + SIMULATED));
    }

    /// Whether each overflow of a queue is seen as it happens.
    #[must_use]
    pub fn sees_overflows(&self) -> bool {
        self.intake.programs.sees_overflows()
    }

    /// What measures the kernel programs.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.intake.programs.meter()
    }

    /// How often runtimes are asked for names.
    #[must_use]
    pub fn cri_counts(&self) -> Arc<CriCounts> {
        self.intake.naming.cri_counts()
    }

    /// The backend in use.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        self.intake.programs.backend()
    }

    /// Waits for events and adds them to `events`, oldest first; there may be none. The first call
    /// adds the snapshot. `tracker` is the state after all earlier events, which shows the instances
    /// to ask about.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// If the ring buffer cannot be read, or a question fails.
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
            // Events come faster than they are read: signals must be handled all the same.
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
            self.intake.report_skipped(events);
            if self.intake.may_miss() {
                snapshot::find_overlooked(&mut self.intake, events)?;
            }
            self.search.done(now, Instant::now());
        }
        if let Some((count, due)) = &mut self.simulated
            && *due <= now
        {
            *due = now + SIMULATED;
            events.push(super::now(EventKind::Lost { count: *count, what: Loss::Events }));
        }
        if self.looks.due() <= now {
            self.look_at_queues()?;
            charges::refresh(&mut self.intake, tracker, events)?;
            self.looks.done(now, Instant::now());
        }
        // Set before draining, so that no later record wakes the agent early ...
        self.rest(true);
        if self.intake.drain(events) == 0 {
            // ... and reset before the check for new records, so that later ones do wake it.
            self.rest(false);
            self.intake.drain(events);
        }
        if std::mem::take(&mut self.intake.has_just_lost) {
            // What began or ended meanwhile is found by looking.
            let now = Instant::now();
            self.search.hint(now);
            self.intake.sweep.hint(now);
        }
        self.refusals.look(&mut self.intake, events, 0, tracker)
    }

    /// Waits until the ring buffer should be read, or a question is due.
    async fn wait(&mut self) -> Result<(), KernelError> {
        let (resting, due) = (self.resting, self.due());
        tokio::select! {
            ready = self.intake.programs.readable() => ready,
            () = tokio::time::sleep(REST), if resting => Ok(()),
            () = sleep_until(due.into()) => Ok(()),
        }
    }

    /// When the next question is due.
    fn due(&self) -> Instant {
        let looks = self.intake.sweep.due().min(self.search.due()).min(self.looks.due());
        self.simulated.map_or(looks, |(_, due)| looks.min(due))
    }

    fn rest(&mut self, resting: bool) {
        if self.resting != resting {
            self.resting = resting;
            self.intake.programs.rest(resting);
        }
    }

    /// Adds the events that have arrived, without waiting; one batch, if events keep coming.
    pub fn catch_up(&mut self, events: &mut Vec<Event>, tracker: &Tracker) {
        let first = events.len();
        self.intake.drain(events);
        // A failed question must not hold back the events.
        let _ = self.refusals.look(&mut self.intake, events, first, tracker);
    }

    /// Adds all events until now, without waiting, for the end or an interim report.
    pub fn catch_up_wholly(&mut self, events: &mut Vec<Event>, tracker: &Tracker) {
        events.append(&mut self.found);
        let first = events.len();
        self.intake.drain_all(events);
        // A failed question must not hold back the events.
        let _ = self.refusals.look(&mut self.intake, events, first, tracker);
        self.intake.report_skipped(events);
        if self.intake.may_miss() {
            // A failed question must not hold back the other events.
            let _ = self.ask_what_is_gone(tracker);
        }
        let _ = self.look_at_queues();
        self.intake.drain_all(events);
        // As above.
        let _ = charges::refresh(&mut self.intake, tracker, events);
    }

    /// Asks whose queues have overflowed, and who has read of it since: of all instances, if there
    /// are overflows without a record.
    fn look_at_queues(&self) -> Result<(), KernelError> {
        let (known, all) = (&self.intake.known, self.intake.may_miss_overflows());
        for (instance, address) in &known.addresses {
            let is_told = known.overflowed.contains(instance);
            if all || is_told {
                self.intake.programs.ask().queue(address, is_told)?;
            }
        }
        Ok(())
    }

    fn ask_what_is_gone(&mut self, tracker: &Tracker) -> Result<(), KernelError> {
        let started = Instant::now();
        self.given_up.look(tracker);
        // Oldest first: ends that are noticed together come in the order of creation.
        for (instance, address) in &self.intake.known.addresses {
            if self.given_up.is_outlived(*instance) {
                self.intake.programs.ask().held(address)?;
            } else {
                self.intake.programs.ask().gone(address)?;
            }
        }
        self.intake.sweep.asked(started, Instant::now());
        Ok(())
    }
}

/// The looks at which an instance must have no known holder before a remaining reference counts as that
/// of an unknown one. Whoever lists descriptors, such as another `inotify-trace list`, has a reference
/// for a moment, and a busy machine makes that a long one.
const LOOKS: u32 = 3;

/// Instances that every known holder has given up, after the kernel has closed its descriptors. Looked
/// for before the kernel is asked, so that its answer is later.
#[derive(Debug, Default)]
struct GivenUp(HashMap<InstanceId, (Option<BootTime>, u32)>);

impl GivenUp {
    /// Looks once more.
    fn look(&mut self, tracker: &Tracker) {
        let mut exited = HashMap::new();
        let mut is_through = |leaver: &Leaver| {
            let table = TableId { pid: leaver.task.pid, owner: leaver.task.table };
            match leaver.how {
                // The record of an exec comes after the close-on-exec descriptors are closed.
                Departure::Executed => true,
                Departure::Exited => {
                    *exited.entry(table).or_insert_with(|| procfs::has_exited(table))
                }
                Departure::Closed => leaver.fd.is_some_and(|fd| procfs::has_closed(table, fd)),
            }
        };
        let given_up = tracker.given_up().filter(|it| it.leavers.iter().all(&mut is_through));
        let counted = given_up.map(|it| {
            let latest = it.leavers.last().map(|leaver| leaver.time);
            let before = self.0.get(&it.id).filter(|(then, _)| *then == latest);
            (it.id, (latest, before.map_or(0, |(_, looks)| *looks) + 1))
        });
        self.0 = counted.collect();
    }

    /// Whether a remaining reference is that of an unknown holder.
    fn is_outlived(&self, instance: InstanceId) -> bool {
        self.0.get(&instance).is_some_and(|(_, looks)| *looks >= LOOKS)
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::testing::{Machine, task};

    use super::*;

    #[test]
    fn a_reference_is_an_unknown_holder_s_only_at_the_third_look() {
        let mut given_up = GivenUp::default();
        let mut looks = |machine: &Machine| {
            [(); 4].map(|()| {
                given_up.look(&machine.0);
                given_up.is_outlived(InstanceId(1))
            })
        };
        // No processes: their ids are larger than any can be.
        let [first, second] = [1 << 30, 2 << 29 | 1].map(|pid| task(pid, "tail"));
        let mut machine = Machine::new();
        machine.create(1, first, 1);
        assert_eq!(looks(&machine), [false; 4]);
        machine.tell(2, Some(first), EventKind::ProcessExited);
        assert_eq!(looks(&machine), [false, false, true, true]);
        // Another one that leaves may be the one that ends it.
        machine.watch(3, second, 1, Err("/a"));
        machine.tell(4, Some(second), EventKind::ProcessExited);
        assert_eq!(looks(&machine), [false, false, true, true]);
    }
}
