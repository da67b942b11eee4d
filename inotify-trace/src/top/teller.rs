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
    made::{Made, PERIOD},
    rows::Moment,
    scene::{Scene, Source},
    wish::{View, Wish},
};
use crate::output::{Refusals, UserNames};

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
    /// The number of the state.
    state: u64,
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
    /// The number of the state: another after each event.
    state: u64,
    made: Made,
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
            state: 0,
            made: Made::of(0),
            answered: None,
            due: None,
        }
    }

    /// Begins anew, as for a recording that is read again.
    pub fn forget(&mut self) {
        self.seen = Self::new(self.machine.clone(), None).seen;
        self.turn();
    }

    /// Another moment is to be shown, at once.
    pub fn turn(&mut self) {
        self.state += 1;
        self.made = Made::of(self.shown());
        self.answered = None;
    }

    /// Asks for something else.
    pub fn ask(&mut self, wish: Wish, tracker: &Tracker, now: BootTime) {
        // The time of a recording stands still by itself.
        let is_still = wish.is_paused && self.machine.source != Source::Recording;
        if is_still != self.still.is_some() {
            self.still = is_still.then(|| {
                let (tracker, seen) = (tracker.clone(), self.seen.clone());
                Box::new(Still { state: self.state, tracker, now, seen })
            });
            self.made = Made::of(self.shown());
        }
        self.wish = wish;
    }

    /// The number of the state that is shown.
    fn shown(&self) -> u64 {
        self.still.as_ref().map_or(self.state, |still| still.state)
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
        let Some(Screen { is_behind, .. }) = &self.screen else { return };
        let is_asked = self.answered != Some(self.wish.number);
        let is_behind = is_behind.load(Ordering::Acquire);
        let is_news = self.made.is_past(self.shown()) && !is_behind && self.made.rest().is_zero();
        if !is_asked && !is_news {
            return;
        }
        let began = Instant::now();
        let scene = self.scene(tracker, now);
        self.made.took(began.elapsed());
        let Some(screen) = &self.screen else { return };
        screen.is_behind.store(true, Ordering::Release);
        // The screen ends the run when it ends.
        let _ = screen.inputs.send(Input::Scene(Box::new(scene)));
        self.answered = Some(self.wish.number);
    }

    /// The moment as it is asked for.
    #[must_use]
    pub fn scene(&mut self, tracker: &Tracker, now: BootTime) -> Scene {
        if self.made.is_past(self.shown()) && self.made.rest().is_zero() {
            self.made = Made::of(self.shown());
        }
        let mut made = std::mem::replace(&mut self.made, Made::of(0));
        let live = (tracker, now, &self.seen);
        let still = self.still.as_deref().map(|it| (&it.tracker, it.now, &it.seen));
        let moment = self.look_at(still.unwrap_or(live));
        let Wish { number, view, is_paused, .. } = self.wish;
        let mut header = made.header.get_or_insert_with(|| moment.header()).clone();
        header.losses = {
            // What was lost is no part of the state that stands still.
            let lost = tracker.summary().lost;
            lost.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
        };
        header.source = self.machine.source;
        header.is_paused = is_paused;
        header.host.clone_from(&self.machine.host);
        header.backend.clone_from(&self.machine.backend);
        let page = moment.page(&self.wish, &mut made);
        // Behind a page nobody sees the rows.
        let rows = if page.is_some() { Arc::default() } else { moment.rows(view, &mut made) };
        self.made = made;
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

    fn look_at<'a>(
        &'a self,
        (tracker, now, seen): (&'a Tracker, BootTime, &'a Seen),
    ) -> Moment<'a> {
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
        self.state += 1;
        Ok(())
    }

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        self.state += 1;
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
        self.state += u64::from(self.seen.history.sample(tracker, now));
        self.due = self.due.filter(|due| *due > now);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        // A recording is shown where it stops.
        if self.machine.source != Source::Recording {
            self.show(tracker, batch.time);
            if self.made.is_past(self.shown()) {
                let rest = self.made.rest().max(PERIOD);
                let rest = u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX);
                self.due = self.due.or(Some(BootTime(batch.time.0.saturating_add(rest))));
            }
        }
        Ok(())
    }
}
