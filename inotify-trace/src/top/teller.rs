//! Follows the story, and makes scenes of it as they are asked for.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event},
    feed::Batch,
    story::Audience,
    tracker::Tracker,
    verdict::Grace,
};

use super::{
    Input,
    failures::Failures,
    history::History,
    rows::Moment,
    scene::{Rows, Scene, Source},
    wish::{View, Wish},
};
use crate::output::{Refusals, UserNames};

/// The least time between two scenes that nobody asked for.
const PERIOD: Duration = Duration::from_millis(100);

/// Making scenes takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// Where scenes go.
#[derive(Debug)]
pub struct Screen {
    pub(super) inputs: Sender<Input>,
    /// Whether the last scene was not drawn yet.
    pub(super) is_behind: Arc<AtomicBool>,
}

/// What does not change while a machine is watched.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where the events come from.
    pub source: Source,
    /// Its name.
    pub host: String,
    /// What tells of events.
    pub backend: String,
    /// Its users.
    pub names: UserNames,
    /// Its time.
    pub clock: Clock,
    /// When something counts as leaked.
    pub grace: Grace,
    /// The least time between samples.
    pub every: Duration,
}

/// What was seen beside the state.
#[derive(Clone, Debug)]
struct Seen {
    failures: Failures,
    refusals: Refusals,
    history: History,
}

/// A moment at which time stands still.
struct Still {
    tracker: Tracker,
    now: BootTime,
    seen: Seen,
}

/// The audience.
pub struct Teller {
    machine: Machine,
    seen: Seen,
    wish: Wish,
    screen: Option<Screen>,
    still: Option<Box<Still>>,
    /// Whether something happened since the last scene.
    is_dirty: bool,
    /// When the last one was made, and how long that took.
    last: Option<(Instant, Duration)>,
    /// The number of the last wish that was answered.
    answered: Option<u64>,
    /// When to show what came too soon after the last scene.
    due: Option<BootTime>,
}

impl Teller {
    /// One that has seen nothing yet. Without a screen it makes scenes only when it is asked.
    #[must_use]
    pub fn new(machine: Machine, screen: Option<Screen>) -> Self {
        let history = History::new(machine.every);
        let seen = Seen { failures: Failures::default(), refusals: Refusals::default(), history };
        Self {
            machine,
            seen,
            wish: Wish::default(),
            screen,
            still: None,
            is_dirty: true,
            last: None,
            answered: None,
            due: None,
        }
    }

    /// Begins anew, as for a recording that is read again.
    pub fn forget(&mut self) {
        self.seen = Self::new(self.machine.clone(), None).seen;
        self.is_dirty = true;
    }

    /// Another moment of a recording is to be shown.
    pub fn turn(&mut self) {
        (self.is_dirty, self.answered) = (true, None);
    }

    /// Asks for something else.
    pub fn ask(&mut self, wish: Wish, tracker: &Tracker, now: BootTime) {
        // The time of a recording stands still by itself.
        let is_still = wish.is_paused && self.machine.source != Source::Recording;
        if !is_still {
            self.still = None;
        } else if self.still.is_none() {
            let mut copy = Tracker::new();
            tracker.parts().into_iter().for_each(|part| copy.restore(part));
            let seen = self.seen.clone();
            self.still = Some(Box::new(Still { tracker: copy, now, seen }));
        }
        self.wish = wish;
    }

    /// Says something to the person.
    pub fn say(&self, text: String) {
        if let Some(screen) = &self.screen {
            // Without a screen, nobody is there to read it.
            let _ = screen.inputs.send(Input::Say(text));
        }
    }

    /// Shows the moment, if that is due.
    pub fn show(&mut self, tracker: &Tracker, now: BootTime) {
        let Some(screen) = &self.screen else { return };
        let is_asked = self.answered != Some(self.wish.number);
        let is_behind = screen.is_behind.load(Ordering::Acquire);
        let is_news = self.is_dirty && self.still.is_none() && !is_behind && self.rest().is_zero();
        if !is_asked && !is_news {
            return;
        }
        let began = Instant::now();
        let scene = self.scene(tracker, now);
        screen.is_behind.store(true, Ordering::Release);
        // The screen ends the run when it ends.
        let _ = screen.inputs.send(Input::Scene(Box::new(scene)));
        self.last = Some((Instant::now(), began.elapsed()));
        self.answered = Some(self.wish.number);
        self.is_dirty = false;
    }

    /// The time until the next scene may be made.
    fn rest(&self) -> Duration {
        let Some((made, cost)) = self.last else { return Duration::ZERO };
        PERIOD.max(cost * SHARE).saturating_sub(made.elapsed())
    }

    /// The moment as it is asked for.
    #[must_use]
    pub fn scene(&self, tracker: &Tracker, now: BootTime) -> Scene {
        let live = (tracker, now, &self.seen);
        let still = self.still.as_deref().map(|it| (&it.tracker, it.now, &it.seen));
        let moment = self.moment(still.unwrap_or(live));
        let Wish { number, view, ref open, is_paused } = self.wish;
        let mut header = moment.header();
        header.losses = {
            // What was lost is no part of the state that stands still.
            let lost = tracker.summary().lost;
            lost.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
        };
        header.source = self.machine.source;
        header.is_paused = is_paused;
        header.host.clone_from(&self.machine.host);
        header.backend.clone_from(&self.machine.backend);
        let page = open.as_ref().and_then(|key| moment.page(view, key));
        // Behind a page nobody sees the rows, which take as long.
        let rows = if page.is_some() { Rows::default() } else { moment.rows(view) };
        Scene { answers: number, view, header, rows, page }
    }

    /// The rows of each view, for a text.
    #[must_use]
    pub fn scenes(&mut self, views: &[View], tracker: &Tracker, now: BootTime) -> Vec<Scene> {
        let scene = |view: &View| {
            self.wish.view = *view;
            self.scene(tracker, now)
        };
        views.iter().map(scene).collect()
    }

    fn moment<'a>(&'a self, (tracker, now, seen): (&'a Tracker, BootTime, &'a Seen)) -> Moment<'a> {
        let Machine { names, clock, grace, .. } = &self.machine;
        Moment {
            tracker,
            now,
            names,
            clock,
            grace: *grace,
            failures: &seen.failures,
            refusals: &seen.refusals,
            history: &seen.history,
        }
    }
}

impl Audience for Teller {
    type Error = io::Error;

    fn restarted(&mut self, _: &Tracker, _: &Batch) -> io::Result<()> {
        self.is_dirty = true;
        Ok(())
    }

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        self.is_dirty = true;
        self.seen.failures.add(event, tracker);
        let told: Result<(), Infallible> = self.seen.refusals.event(event, tracker);
        let Ok(()) = told;
        Ok(())
    }

    fn due(&self) -> Option<BootTime> {
        let sample = self.seen.history.due();
        Some(self.due.map_or(sample, |due| due.min(sample)))
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        // The time in the header goes on.
        self.is_dirty |= self.seen.history.sample(tracker, now);
        self.due = self.due.filter(|due| *due > now);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        // A recording is shown where it stops.
        if self.machine.source != Source::Recording {
            self.show(tracker, batch.time);
            if self.is_dirty && self.still.is_none() {
                let rest = u64::try_from(self.rest().max(PERIOD).as_nanos()).unwrap_or(u64::MAX);
                self.due = self.due.or(Some(BootTime(batch.time.0.saturating_add(rest))));
            }
        }
        Ok(())
    }
}
