//! The fold: the only place that turns the items of a feed into state and verdicts, and passes them
//! to an audience, which shows, records or counts them.
//!
//! ```text
//!        Restart, Part, Gap ──▶ tracker
//! Item ─▶ Story ─ Batch ─ each event ──▶ tracker, then Audience::event
//!                       ├ if judged ───▶ watcher, then Audience::verdict for each new verdict
//!                       ├ if due ──────▶ Audience::moment
//!                       └ at the end ──▶ Audience::batch
//!                 End ───────────────▶ Audience::closed
//! ```
//!
//! A live feed and its recording yield the same items, and a batch says whether leaks were looked
//! for after it: so an audience gets the same calls from both.

use crate::{
    event::{BootTime, Event, EventKind, Loss},
    feed::{Batch, Item},
    tracker::{CEILING, Tracker},
    verdict::{Grace, Verdict, Watcher},
};

/// A consumer of events and verdicts: it shows, records or counts them.
///
/// The calls for a batch come in this order: [`event`](Self::event) for each event,
/// [`verdict`](Self::verdict) if leaks were looked for, [`moment`](Self::moment) if the time of
/// [`due`](Self::due) has come, and [`batch`](Self::batch). In each call, `tracker` has applied
/// that event and all before it, and none after it.
///
/// An error ends the calls for an item, and [`Story::take`] returns it. The tracker applies the
/// rest of the item all the same, and `batch` is called in any case: of two audiences, one can
/// continue after an error of the other. The caller decides whether to continue after an error.
pub trait Audience {
    /// The reason why it cannot continue.
    type Error;

    /// The state was replaced, since events before `next` are missing, or because a recording
    /// begins with a state. `next` is the batch that follows; it is empty at the end of the run.
    ///
    /// # Errors
    /// If the audience cannot continue, as for all methods.
    fn restarted(&mut self, _tracker: &Tracker, _next: &Batch) -> Result<(), Self::Error> {
        Ok(())
    }

    /// An event.
    ///
    /// # Errors
    /// If it cannot continue.
    fn event(&mut self, _event: &Event, _tracker: &Tracker) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A verdict at `now` that is new, or much worse than at its last call.
    ///
    /// # Errors
    /// If it cannot continue.
    fn verdict(
        &mut self,
        _verdict: &Verdict,
        _tracker: &Tracker,
        _now: BootTime,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The next time at which it wants [`moment`](Self::moment) called, even without events. A live
    /// feed wakes for it and reads all events until then; a replay calls it with the first batch of
    /// that time or later.
    fn due(&self) -> Option<BootTime> {
        None
    }

    /// The time of [`due`](Self::due) has come: `tracker` has all events until `now`, which may be
    /// later. It is called after each batch until `due` returns a later time.
    ///
    /// # Errors
    /// If it cannot continue.
    fn moment(&mut self, _tracker: &Tracker, _now: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }

    /// A whole batch was applied. The audience may take the events out: nothing uses them
    /// afterwards.
    ///
    /// # Errors
    /// If it cannot continue.
    fn batch(&mut self, _batch: &mut Batch, _tracker: &Tracker) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The feed pauses: buffered output must be written now.
    ///
    /// # Errors
    /// If it cannot continue.
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The run, or one of its files, was closed properly at `time`.
    ///
    /// # Errors
    /// If it cannot continue.
    fn closed(&mut self, _tracker: &Tracker, _time: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The end of all items; `now` is the time of the last one.
    ///
    /// # Errors
    /// If it cannot continue.
    fn end(&mut self, _tracker: &Tracker, _now: BootTime) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Whether something is forgotten.
fn is_forgetting(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Lost { what: Loss::Instances | Loss::Cgroups, .. })
}

/// A run until now: its state, and the verdicts reached.
#[derive(Debug)]
pub struct Story {
    tracker: Tracker,
    /// None in a story without verdicts.
    watcher: Option<Watcher>,
    /// Whether the state was replaced, and [`Audience::restarted`] is still to be called.
    is_replaced: bool,
    /// The most bytes that the state may take.
    ceiling: usize,
    /// Losses that the state already has, and the audience does not.
    untold: Vec<EventKind>,
    now: BootTime,
}

impl Story {
    /// A story that begins at `start`, and reports leaks after `grace`.
    #[must_use]
    pub fn new(start: BootTime, grace: Grace) -> Self {
        Self { watcher: Some(Watcher::new(grace)), ..Self::without_verdicts(start) }
    }

    /// A story that does not look for leaks.
    #[must_use]
    pub fn without_verdicts(start: BootTime) -> Self {
        Self {
            tracker: Tracker::new(),
            watcher: None,
            is_replaced: false,
            ceiling: CEILING,
            untold: Vec::new(),
            now: start,
        }
    }

    /// Sets the most bytes that the state may take; beyond it, the oldest is forgotten, which is a
    /// loss. None for no limit.
    #[must_use]
    pub fn within(self, ceiling: Option<usize>) -> Self {
        Self { ceiling: ceiling.unwrap_or(usize::MAX), ..self }
    }

    /// The state.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The time of the last item.
    #[must_use]
    pub fn now(&self) -> BootTime {
        self.now
    }

    /// The state at the end.
    #[must_use]
    pub fn into_tracker(self) -> Tracker {
        self.tracker
    }

    /// Whether to look for leaks at `time`: a live feed sets [`Batch::judged`] to this.
    pub fn is_due(&mut self, time: BootTime) -> bool {
        self.watcher.as_mut().is_some_and(|watcher| watcher.is_due(time))
    }

    /// When to look for leaks even without events, since a grace period ends, or since a batch came
    /// too soon after the last look: a live feed wakes for it.
    #[must_use]
    pub fn due(&self) -> Option<BootTime> {
        self.watcher.as_ref()?.due()
    }

    /// Applies the next item, and calls the audience.
    ///
    /// # Errors
    /// The first error of the audience. The whole item was applied even then.
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
                self.forget();
                Ok(())
            }
            Item::Gap => {
                self.tracker.miss_events();
                Ok(())
            }
            Item::Batch(batch) => self.batch(batch, audience),
            Item::End(time) => {
                let next = Batch { time, judged: false, events: Vec::new() };
                let result = self.announce_restart(&next, audience);
                self.now = self.now.max(time);
                result.and_then(|()| audience.closed(&self.tracker, time))
            }
        }
    }

    /// Ends the story.
    ///
    /// # Errors
    /// That of the audience.
    pub fn end<A: Audience + ?Sized>(&mut self, audience: &mut A) -> Result<(), A::Error> {
        let last = Batch { time: self.now, judged: false, events: Vec::new() };
        self.announce_restart(&last, audience)?;
        audience.end(&self.tracker, self.now)
    }

    fn batch<A: Audience + ?Sized>(
        &mut self,
        mut batch: Batch,
        audience: &mut A,
    ) -> Result<(), A::Error> {
        let mut result = self.announce_restart(&batch, audience);
        self.forget();
        let events = std::mem::take(&mut batch.events);
        batch.events.reserve(events.len());
        let mut events = events.into_iter().peekable();
        loop {
            for kind in std::mem::take(&mut self.untold) {
                let event = Event { time: batch.time, task: None, kind };
                result = result.and_then(|()| audience.event(&event, &self.tracker));
                batch.events.push(event);
            }
            let Some(event) = events.next() else { break };
            self.tracker.apply(&event);
            result = result.and_then(|()| audience.event(&event, &self.tracker));
            batch.events.push(event);
            // A recording has what its run has forgotten there.
            if !events.peek().is_some_and(|next| is_forgetting(&next.kind)) {
                self.forget();
            }
        }
        self.now = self.now.max(batch.time);
        // What was told before a gap is not withdrawn, and not told again after it.
        let can_judge = batch.judged && !self.tracker.is_uncertain();
        if let Some(watcher) = self.watcher.as_mut().filter(|_| can_judge) {
            for verdict in watcher.reached(&self.tracker, batch.time) {
                let tracker = &self.tracker;
                result = result.and_then(|()| audience.verdict(&verdict, tracker, batch.time));
            }
        }
        if audience.due().is_some_and(|due| due <= batch.time) {
            result = result.and_then(|()| audience.moment(&self.tracker, batch.time));
        }
        result.and(audience.batch(&mut batch, &self.tracker))
    }

    /// Forgets what the state has beyond its ceiling.
    fn forget(&mut self) {
        for kind in self.tracker.surplus(self.ceiling) {
            self.tracker.apply(&Event { time: self.now, task: None, kind: kind.clone() });
            self.untold.push(kind);
        }
    }

    fn announce_restart<A: Audience + ?Sized>(
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

/// No audience, for a story of which only the final state matters.
impl Audience for () {
    type Error = std::convert::Infallible;
}

/// Implements each method as `$call` with the method's name and arguments.
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

/// Implements all methods but [`Audience::event`] and [`Audience::verdict`] by passing the calls on to
/// the field `inner`: for an audience that picks or delays what another gets.
#[macro_export]
macro_rules! pass_on_the_rest {
    () => {
        fn restarted(
            &mut self,
            tracker: &$crate::tracker::Tracker,
            next: &$crate::feed::Batch,
        ) -> Result<(), Self::Error> {
            self.inner.restarted(tracker, next)
        }

        fn due(&self) -> Option<$crate::event::BootTime> {
            self.inner.due()
        }

        fn moment(
            &mut self,
            tracker: &$crate::tracker::Tracker,
            now: $crate::event::BootTime,
        ) -> Result<(), Self::Error> {
            self.inner.moment(tracker, now)
        }

        fn batch(
            &mut self,
            batch: &mut $crate::feed::Batch,
            tracker: &$crate::tracker::Tracker,
        ) -> Result<(), Self::Error> {
            self.inner.batch(batch, tracker)
        }

        fn flush(&mut self) -> Result<(), Self::Error> {
            self.inner.flush()
        }

        fn closed(
            &mut self,
            tracker: &$crate::tracker::Tracker,
            time: $crate::event::BootTime,
        ) -> Result<(), Self::Error> {
            self.inner.closed(tracker, time)
        }

        fn end(
            &mut self,
            tracker: &$crate::tracker::Tracker,
            now: $crate::event::BootTime,
        ) -> Result<(), Self::Error> {
            self.inner.end(tracker, now)
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

/// An audience behind a pointer gets every call.
macro_rules! audience_behind {
    ($pointer:ty) => {
        impl<A: Audience + ?Sized> Audience for $pointer {
            type Error = A::Error;

            pass_on!(self, to_inner);

            fn due(&self) -> Option<BootTime> {
                (**self).due()
            }

            fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
                (**self).moment(tracker, now)
            }
        }
    };
}

audience_behind!(&mut A);
audience_behind!(Box<A>);

/// Two audiences, called in this order. The second is called even if the first fails.
impl<A: Audience, B: Audience<Error = A::Error>> Audience for (A, B) {
    type Error = A::Error;

    pass_on!(self, to_both);

    fn due(&self) -> Option<BootTime> {
        [self.0.due(), self.1.due()].into_iter().flatten().min()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Self::Error> {
        let wants = |due: Option<BootTime>| due.is_some_and(|due| due <= now);
        let (first, second) = (wants(self.0.due()), wants(self.1.due()));
        let result = if first { self.0.moment(tracker, now) } else { Ok(()) };
        result.and(if second { self.1.moment(tracker, now) } else { Ok(()) })
    }
}

/// An optional audience.
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

    /// Logs its calls, and the number of known cgroups at each.
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

    /// Passes on no event.
    struct Quiet {
        inner: Notes,
    }

    impl Audience for Quiet {
        type Error = u64;

        fn event(&mut self, _event: &Event, _tracker: &Tracker) -> Result<(), u64> {
            Ok(())
        }

        crate::pass_on_the_rest!();
    }

    #[test]
    fn who_picks_events_passes_all_other_calls_on() {
        let due = Some(BootTime(12));
        let mut quiet = Quiet { inner: Notes { due, ..Notes::default() } };
        let mut story = Story::new(BootTime(0), Grace::default());
        for item in [Item::Restart, batch(30, &[12, 13]), Item::End(BootTime(31))] {
            story.take(item, &mut quiet).unwrap();
        }
        quiet.flush().unwrap();
        story.end(&mut quiet).unwrap();
        let expected = [
            "restarted before 30: 0 known",
            "moment 30: 2 known",
            "batch of 2: 2 known",
            "closed 31: 2 known",
            "end 31: 2 known",
        ];
        assert_eq!(quiet.inner.lines, expected);
    }
}
