//! The running kernel as a feed, with the tasks that wake and end it.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use inotify_trace_model::{
    event::BootTime,
    feed::{Batch, Item},
    story::{Audience, Story},
};
use tokio::time::{Instant, sleep_until};

use super::{Live, programs};
use crate::{
    host::{
        self,
        helper::{Helper, OF_EVENTS},
    },
    kernel::KernelError,
};

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There may be events.
    Events,
    /// A time that was waited for has come.
    Due,
    /// A task wants all events until now to be read.
    Asked,
    /// The run is over.
    Ended,
}

/// A task that is awaited beside the kernel: a signal, a timer, input from a terminal, a server.
/// It is polled like a future, and again after it was ready, until it returns that the run is over.
pub type Task = Box<dyn FnMut(&mut Context<'_>) -> Poll<Wake>>;

/// A run of the live feed, from the snapshot until a task ends it.
pub struct Session {
    live: Live,
    /// Reads the arguments of programs.
    programs: Helper,
    /// The number of instances that the story had forgotten.
    forgotten: u64,
    tasks: Vec<Task>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// All events were yielded; the end was not.
    Ending,
    Over,
}

impl Session {
    /// A session of `live`, without an end.
    #[must_use]
    pub fn new(live: Live) -> Self {
        let programs = Helper::with_rests(OF_EVENTS);
        Self { live, programs, forgotten: 0, tasks: Vec::new(), stage: Stage::Running }
    }

    /// Adds a task. Of several ready tasks the first added goes first, and all before events.
    pub fn add(&mut self, task: Task) {
        self.tasks.push(task);
    }

    /// Ends the run at `end`.
    pub fn end_at(&mut self, end: Instant) {
        let mut sleep = Box::pin(sleep_until(end));
        self.add(Box::new(move |context| sleep.as_mut().poll(context).map(|()| Wake::Ended)));
    }

    /// Pretends to lose this many events every ten seconds.
    pub fn simulate_loss(&mut self, count: u64) {
        self.live.simulate_loss(count);
    }

    /// The source of its events.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Waits for the next item; None after the end. The first item is the snapshot.
    ///
    /// It also returns when it is time to look for leaks ([`Story::due`]), and at `moment`, for which
    /// an audience wants the state ([`Audience::due`]); the batch may have no events then.
    ///
    /// # Errors
    /// If the kernel's events cannot be read any more.
    pub async fn next(
        &mut self,
        story: &mut Story,
        moment: Option<BootTime>,
    ) -> Result<Option<Item>, KernelError> {
        match self.stage {
            Stage::Running => {}
            Stage::Ending => {
                self.stage = Stage::Over;
                return Ok(Some(Item::End(host::now())));
            }
            Stage::Over => return Ok(None),
        }
        let forgotten = story.tracker().forgotten().instances;
        if std::mem::replace(&mut self.forgotten, forgotten) != forgotten {
            self.live.forget_unknown(story.tracker());
        }
        let mut events = Vec::new();
        let due = [story.due(), moment].into_iter().flatten().min().map(instant);
        let Self { live, tasks, .. } = self;
        let wake = tokio::select! {
            biased;
            wake = poll_fn(|context| poll(tasks, context)) => wake,
            () = at(due) => Wake::Due,
            result = live.next(&mut events, story.tracker()) => { result?; Wake::Events }
        };
        let is_moment = moment.is_some_and(|moment| moment <= host::now());
        match wake {
            Wake::Events => {}
            // The state at the moment includes all events until then.
            Wake::Due if is_moment => live.catch_up_wholly(&mut events, story.tracker()),
            // The look for leaks must use the current state.
            Wake::Due | Wake::Asked => live.catch_up(&mut events, story.tracker()),
            Wake::Ended => {
                live.catch_up_wholly(&mut events, story.tracker());
                self.stage = Stage::Ending;
            }
        }
        programs::identify(&mut events, story.tracker(), &mut self.programs);
        let time = host::now();
        Ok(Some(Item::Batch(Batch { time, judged: story.is_due(time), events })))
    }

    /// Feeds the story until the end; `begun` is called once, after the snapshot.
    ///
    /// # Errors
    /// If the kernel's events cannot be read any more, or the audience cannot continue.
    pub async fn run<A: Audience>(
        &mut self,
        story: &mut Story,
        audience: &mut A,
        begun: impl FnOnce(&mut Self, &Story, &mut A) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>
    where
        anyhow::Error: From<A::Error>,
    {
        let mut begun = Some(begun);
        while let Some(item) = self.next(story, audience.due()).await? {
            story.take(item, audience)?;
            audience.flush()?;
            if let Some(begun) = begun.take() {
                begun(self, story, audience)?;
            }
        }
        Ok(())
    }
}

fn poll(tasks: &mut [Task], context: &mut Context<'_>) -> Poll<Wake> {
    let ready = tasks.iter_mut().map(|task| task(context)).find(Poll::is_ready);
    ready.unwrap_or(Poll::Pending)
}

/// The event loop's time of a time on the events' clock.
fn instant(due: BootTime) -> Instant {
    Instant::now() + due.since(host::now())
}

/// Waits until a moment; forever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
