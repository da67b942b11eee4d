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

mod audience;

pub use self::audience::Audience;

use crate::{
    event::{BootTime, Event, EventKind, Loss},
    feed::{Batch, Item},
    tracker::{CEILING, Tracker},
    verdict::{Grace, Watcher},
};

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

#[cfg(test)]
mod tests;
