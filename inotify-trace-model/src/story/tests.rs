//! Tests of the fold.

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
