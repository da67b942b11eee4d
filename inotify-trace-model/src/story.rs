//! The fold: the one place where what a feed yields becomes state and verdicts, and where whoever
//! shows, keeps or counts them learns of it.
//!
//! ```text
//!             Restart, Part ──▶ tracker
//! Item ─▶ Story ─ Batch ─ each event ──▶ tracker, then Audience::event
//!                       ├ if judged ───▶ watcher, then Audience::verdict for each that is news
//!                       ├ if asked for ▶ Audience::moment
//!                       └ at the end ──▶ Audience::batch
//!                 End ───────────────▶ Audience::closed
//! ```
//!
//! A live feed and a recording yield the same items, and a batch carries whether leaks were looked
//! for: so the same audience is told the same things, of the same moments, live and later.

use crate::{
    event::{BootTime, Event},
    feed::{Batch, Item},
    tracker::Tracker,
    verdict::{Grace, Verdict, Watcher},
};

/// Whoever wants to know: what shows events, keeps them, or counts them.
///
/// In a batch the calls come in this order: [`event`](Self::event) for each,
/// [`verdict`](Self::verdict) if leaks were looked for, [`moment`](Self::moment) if one was asked
/// for that has come, and [`batch`](Self::batch). In each, `tracker` has taken in that event and
/// all before it, and none after it, so that it says what was known at that moment.
///
/// An error ends what the audience is told of an item, and is what [`Story::take`] returns. The
/// tracker takes in the rest of the item all the same, and `batch` is called in any case: of two
/// audiences, one can go on when the other cannot. What follows an error is up to the caller.
pub trait Audience {
    /// What keeps it from going on.
    type Error;

    /// What was known is replaced: something is missing before `next`, which is what comes now.
    /// Also the case where a recording begins with a state. `next` has no events at the end.
    ///
    /// # Errors
    /// As for all: if it cannot go on.
    fn restarted(&mut self, _tracker: &Tracker, _next: &Batch) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Something happened.
    ///
    /// # Errors
    /// If it cannot go on.
    fn event(&mut self, _event: &Event, _tracker: &Tracker) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A verdict was reached at `now`, or is much worse than when it was last told.
    ///
    /// # Errors
    /// If it cannot go on.
    fn verdict(
        &mut self,
        _verdict: &Verdict,
        _tracker: &Tracker,
        _now: BootTime,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The next moment of which it wants to know the state, whether or not anything happens then. A
    /// live feed wakes for it and takes in all that has happened; of a recording it is told with
    /// the first batch of that time or later.
    fn due(&self) -> Option<BootTime> {
        None
    }

    /// The moment that [`due`](Self::due) asked for has come: `tracker` has what happened until
    /// `now`, which may be later. Until it asks for another, it is told of each batch.
    ///
    /// # Errors
    /// If it cannot go on.
    fn moment(&mut self, _tracker: &Tracker, _now: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }

    /// All of a batch is taken in. Whoever keeps events may take them out; nobody after it needs
    /// them.
    ///
    /// # Errors
    /// If it cannot go on.
    fn batch(&mut self, _batch: &mut Batch, _tracker: &Tracker) -> Result<(), Self::Error> {
        Ok(())
    }

    /// It may be long until something comes: what was shown must be seen now.
    ///
    /// # Errors
    /// If it cannot go on.
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The run was ended in good order at `time`, or goes on in another file.
    ///
    /// # Errors
    /// If it cannot go on.
    fn closed(&mut self, _tracker: &Tracker, _time: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Nothing more will come; the last that is known is from `now`.
    ///
    /// # Errors
    /// If it cannot go on.
    fn end(&mut self, _tracker: &Tracker, _now: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What has happened until now, and what follows from it.
#[derive(Debug)]
pub struct Story {
    tracker: Tracker,
    /// None if nobody wants verdicts.
    watcher: Option<Watcher>,
    /// The state was replaced, which the audience is told with what comes next.
    is_replaced: bool,
    now: BootTime,
}

impl Story {
    /// A story that begins at `start`, in which leaks count as such after `grace`.
    #[must_use]
    pub fn new(start: BootTime, grace: Grace) -> Self {
        Self { watcher: Some(Watcher::new(grace)), ..Self::without_verdicts(start) }
    }

    /// A story in which nobody looks for leaks.
    #[must_use]
    pub fn without_verdicts(start: BootTime) -> Self {
        Self { tracker: Tracker::new(), watcher: None, is_replaced: false, now: start }
    }

    /// What is known now.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The time of what was last taken in.
    #[must_use]
    pub fn now(&self) -> BootTime {
        self.now
    }

    /// What is known, when nothing more is to come.
    #[must_use]
    pub fn into_tracker(self) -> Tracker {
        self.tracker
    }

    /// Whether leaks are to be looked for at `time`: a live feed asks, and says so in its batch.
    pub fn is_due(&mut self, time: BootTime) -> bool {
        self.watcher.as_mut().is_some_and(|watcher| watcher.is_due(time))
    }

    /// When leaks are to be looked for even if nothing happens until then, since a grace period is
    /// over or a batch came too soon after the last look: a live feed wakes for it.
    #[must_use]
    pub fn due(&self) -> Option<BootTime> {
        self.watcher.as_ref()?.due()
    }

    /// Takes in what comes next, and tells the audience.
    ///
    /// # Errors
    /// The first error of the audience. All of the item was taken in then.
    pub fn take<A: Audience + ?Sized>(
        &mut self,
        item: Item,
        audience: &mut A,
    ) -> Result<(), A::Error> {
        match item {
            Item::Restart => {
                self.tracker.forget();
                self.is_replaced = true;
                Ok(())
            }
            Item::Part(part) => {
                self.tracker.restore(part);
                Ok(())
            }
            Item::Batch(batch) => self.batch(batch, audience),
            Item::End(time) => {
                let next = Batch { time, judged: false, events: Vec::new() };
                let result = self.tell_restart(&next, audience);
                self.now = self.now.max(time);
                result.and_then(|()| audience.closed(&self.tracker, time))
            }
        }
    }

    /// Nothing more will come.
    ///
    /// # Errors
    /// That of the audience.
    pub fn end<A: Audience + ?Sized>(&mut self, audience: &mut A) -> Result<(), A::Error> {
        let last = Batch { time: self.now, judged: false, events: Vec::new() };
        self.tell_restart(&last, audience)?;
        audience.end(&self.tracker, self.now)
    }

    fn batch<A: Audience + ?Sized>(
        &mut self,
        mut batch: Batch,
        audience: &mut A,
    ) -> Result<(), A::Error> {
        let mut told = self.tell_restart(&batch, audience);
        for event in &batch.events {
            self.tracker.apply(event);
            told = told.and_then(|()| audience.event(event, &self.tracker));
        }
        self.now = self.now.max(batch.time);
        if let Some(watcher) = self.watcher.as_mut().filter(|_| batch.judged) {
            for verdict in watcher.reached(&self.tracker, batch.time) {
                let tracker = &self.tracker;
                told = told.and_then(|()| audience.verdict(&verdict, tracker, batch.time));
            }
        }
        if audience.due().is_some_and(|due| due <= batch.time) {
            told = told.and_then(|()| audience.moment(&self.tracker, batch.time));
        }
        told.and(audience.batch(&mut batch, &self.tracker))
    }

    fn tell_restart<A: Audience + ?Sized>(
        &mut self,
        next: &Batch,
        audience: &mut A,
    ) -> Result<(), A::Error> {
        if std::mem::take(&mut self.is_replaced) {
            audience.restarted(&self.tracker, next)?;
        }
        Ok(())
    }
}

/// Nobody: for a story of which only the end matters.
impl Audience for () {
    type Error = std::convert::Infallible;
}

/// Passes every call on: to `$call` with the method's name and arguments.
macro_rules! pass_on {
    ($it:ident, $call:ident) => {
        fn restarted(&mut $it, tracker: &Tracker, next: &Batch) -> Result<(), Self::Error> {
            $call!($it.restarted(tracker, next))
        }

        fn event(&mut $it, event: &Event, tracker: &Tracker) -> Result<(), Self::Error> {
            $call!($it.event(event, tracker))
        }

        fn verdict(
            &mut $it,
            verdict: &Verdict,
            tracker: &Tracker,
            now: BootTime,
        ) -> Result<(), Self::Error> {
            $call!($it.verdict(verdict, tracker, now))
        }

        fn batch(&mut $it, batch: &mut Batch, tracker: &Tracker) -> Result<(), Self::Error> {
            $call!($it.batch(batch, tracker))
        }

        fn flush(&mut $it) -> Result<(), Self::Error> {
            $call!($it.flush())
        }

        fn closed(&mut $it, tracker: &Tracker, time: BootTime) -> Result<(), Self::Error> {
            $call!($it.closed(tracker, time))
        }

        fn end(&mut $it, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
            $call!($it.end(tracker, now))
        }
    };
}

macro_rules! to_inner {
    ($it:ident.$method:ident($($argument:expr),*)) => {
        (**$it).$method($($argument),*)
    };
}

macro_rules! if_any {
    ($it:ident.$method:ident($($argument:expr),*)) => {
        match $it {
            Some(it) => it.$method($($argument),*),
            None => Ok(()),
        }
    };
}

macro_rules! to_both {
    ($it:ident.$method:ident($($argument:expr),*)) => {{
        let first = $it.0.$method($($argument),*);
        first.and($it.1.$method($($argument),*))
    }};
}

impl<A: Audience + ?Sized> Audience for &mut A {
    type Error = A::Error;

    pass_on!(self, to_inner);

    fn due(&self) -> Option<BootTime> {
        (**self).due()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        (**self).moment(tracker, now)
    }
}

impl<A: Audience + ?Sized> Audience for Box<A> {
    type Error = A::Error;

    pass_on!(self, to_inner);

    fn due(&self) -> Option<BootTime> {
        (**self).due()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        (**self).moment(tracker, now)
    }
}

/// Two audiences, of which the first is told first. Each call is for both, even if the first fails.
impl<A: Audience, B: Audience<Error = A::Error>> Audience for (A, B) {
    type Error = A::Error;

    pass_on!(self, to_both);

    fn due(&self) -> Option<BootTime> {
        [self.0.due(), self.1.due()].into_iter().flatten().min()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        let wants = |due: Option<BootTime>| due.is_some_and(|due| due <= now);
        let (first, second) = (wants(self.0.due()), wants(self.1.due()));
        let told = if first { self.0.moment(tracker, now) } else { Ok(()) };
        told.and(if second { self.1.moment(tracker, now) } else { Ok(()) })
    }
}

/// One who may not be there.
impl<A: Audience> Audience for Option<A> {
    type Error = A::Error;

    pass_on!(self, if_any);

    fn due(&self) -> Option<BootTime> {
        self.as_ref().and_then(A::due)
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        if_any!(self.moment(tracker, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CgroupId, EventKind};

    /// Writes down what it is told, and how many cgroups were known then.
    #[derive(Default)]
    struct Notes {
        lines: Vec<String>,
        due: Option<BootTime>,
        fails_at: Option<u64>,
    }

    impl Audience for Notes {
        type Error = u64;

        fn restarted(&mut self, tracker: &Tracker, next: &Batch) -> Result<(), u64> {
            self.note(format!("restarted before {}", next.time.0), tracker);
            Ok(())
        }

        fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), u64> {
            self.note(format!("event {}", event.time.0), tracker);
            if self.fails_at == Some(event.time.0) { Err(event.time.0) } else { Ok(()) }
        }

        fn due(&self) -> Option<BootTime> {
            self.due
        }

        fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), u64> {
            self.note(format!("moment {}", now.0), tracker);
            self.due = Some(BootTime(now.0 + 10)).filter(|due| due.0 < 40);
            Ok(())
        }

        fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> Result<(), u64> {
            self.note(format!("batch of {}", batch.events.len()), tracker);
            Ok(())
        }

        fn closed(&mut self, tracker: &Tracker, time: BootTime) -> Result<(), u64> {
            self.note(format!("closed {}", time.0), tracker);
            Ok(())
        }

        fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), u64> {
            self.note(format!("end {}", now.0), tracker);
            Ok(())
        }
    }

    impl Notes {
        fn note(&mut self, what: String, tracker: &Tracker) {
            self.lines.push(format!("{what}: {} known", tracker.cgroups().len()));
        }
    }

    fn batch(time: u64, events: &[u64]) -> Item {
        let event = |&time: &u64| {
            let kind = EventKind::CgroupCreated { cgroup: CgroupId(time), path: "/x".into() };
            Event { time: BootTime(time), task: None, kind }
        };
        let events = events.iter().map(event).collect();
        Item::Batch(Batch { time: BootTime(time), judged: true, events })
    }

    #[test]
    fn who_is_told_sees_the_state_of_that_moment() {
        let mut story = Story::new(BootTime(0), Grace::default());
        let mut notes = Notes { due: Some(BootTime(12)), ..Notes::default() };
        for item in [
            Item::Restart,
            batch(10, &[8, 9]),
            batch(30, &[12, 13, 25]),
            Item::End(BootTime(31)),
            Item::Restart,
        ] {
            story.take(item, &mut notes).unwrap();
        }
        story.end(&mut notes).unwrap();
        let expected = [
            "restarted before 10: 0 known",
            "event 8: 1 known",
            "event 9: 2 known",
            "batch of 2: 2 known",
            "event 12: 3 known",
            "event 13: 4 known",
            "event 25: 5 known",
            "moment 30: 5 known",
            "batch of 3: 5 known",
            "closed 31: 5 known",
            "restarted before 31: 0 known",
            "end 31: 0 known",
        ];
        assert_eq!(notes.lines, expected);
    }

    #[test]
    fn an_error_ends_what_is_told_and_not_what_is_known() {
        let mut story = Story::without_verdicts(BootTime(0));
        let failing = Notes { fails_at: Some(2), ..Notes::default() };
        let mut both = (failing, Notes::default());
        assert_eq!(story.take(batch(5, &[1, 2, 3]), &mut both), Err(2));
        let expected = ["event 1: 1 known", "event 2: 2 known", "batch of 3: 3 known"];
        assert_eq!(both.0.lines, expected);
        assert_eq!(both.1.lines, expected, "the other one gets all of the batch");
        assert_eq!(story.tracker().cgroups().len(), 3);
    }
}
