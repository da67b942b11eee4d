//! Consumers of a story, and how several are one.

use crate::{
    event::{BootTime, Event},
    feed::Batch,
    tracker::Tracker,
    verdict::Verdict,
};

/// A consumer of events and verdicts: it shows, records or counts them.
///
/// The calls for a batch come in this order: [`event`](Self::event) for each event,
/// [`verdict`](Self::verdict) if leaks were looked for, [`moment`](Self::moment) if the time of
/// [`due`](Self::due) has come, and [`batch`](Self::batch). In each call, `tracker` has applied
/// that event and all before it, and none after it.
///
/// An error ends the calls for an item, and [`Story::take`](super::Story::take) returns it. The
/// tracker applies the rest of the item all the same, and `batch` is called in any case: of two
/// audiences, one can continue after an error of the other. The caller decides whether to continue
/// after an error.
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
