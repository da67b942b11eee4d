//! The summary of the events that were shown.

use std::{collections::BTreeMap, fmt::Write as _};

use inotify_trace_model::{event::EventName, tracker::Summary};

use super::Filter;

/// Counts what is shown.
#[derive(Debug, Default)]
pub(super) struct Tally {
    filter: Filter,
    shown: BTreeMap<EventName, u64>,
}

/// The events that the summary names by words of their own, in pairs that belong together.
const WORDS: [&[(EventName, &str)]; 2] = [
    &[(EventName::Create, "created"), (EventName::Release, "released")],
    &[(EventName::Watch, "watches added"), (EventName::Unwatch, "removed")],
];

const FAILED: [EventName; 2] = [EventName::CreateFailed, EventName::WatchFailed];

impl Tally {
    /// Counts what passes `filter`.
    pub(super) fn of(filter: Filter) -> Self {
        Self { filter, shown: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, name: EventName) {
        *self.shown.entry(name).or_default() += 1;
    }

    fn count(&self, name: EventName) -> u64 {
        self.shown.get(&name).copied().unwrap_or_default()
    }

    /// The summary, in one line; `all` is that of the whole run. Events that the filter hides are
    /// not counted, and kinds of events that it hides are not named.
    pub(super) fn line(&self, all: &Summary) -> String {
        let is_narrowed = !self.filter.selection.is_everything();
        let is_named = |name: &EventName| *name != EventName::Lost && self.filter.picks_name(*name);
        let shown: u64 = self.shown.iter().filter(|(name, _)| is_named(name)).map(|it| it.1).sum();
        let mut text = if is_narrowed && shown == 0 {
            let others: u64 = all.events.iter().filter(|(it, _)| is_named(it)).map(|it| it.1).sum();
            let s = if others == 1 { "" } else { "s" };
            format!("no event matched the filter; {others} other{s} did not")
        } else {
            self.counts(if is_narrowed { None } else { Some(all.open) })
        };
        if all.lost.is_empty() {
            text.push_str("; nothing lost");
        }
        for (what, count) in &all.lost {
            let _ = write!(text, "; LOST {count} {what}");
        }
        text
    }

    fn counts(&self, open: Option<usize>) -> String {
        let mut parts = Vec::new();
        for pair in WORDS {
            let named = pair.iter().filter(|(name, _)| self.filter.picks_name(*name));
            let mut part: Vec<_> =
                named.map(|&(name, word)| format!("{word} {}", self.count(name))).collect();
            let is_whole = part.len() == pair.len() && pair[0].0 == EventName::Create;
            part.extend(open.filter(|_| is_whole).map(|open| format!("open {open}")));
            if !part.is_empty() {
                parts.push(part.join(", "));
            }
        }
        if FAILED.iter().any(|it| self.filter.picks_name(*it)) {
            let failed: u64 = FAILED.iter().map(|it| self.count(*it)).sum();
            parts.push(format!("failed {failed}"));
        }
        // Those that were asked for by name.
        for &name in &self.filter.events {
            let is_said = name.is_failure()
                || WORDS.iter().flat_map(|it| it.iter()).any(|(it, _)| *it == name);
            if !is_said && name != EventName::Lost && self.filter.picks_name(name) {
                parts.push(format!("{} {}", name.as_str(), self.count(name)));
            }
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Selection;

    /// The summary of three creations, a release and a failure that were shown, of five events in
    /// all of each kind.
    fn line(filter: Filter, shown: bool) -> String {
        use EventName as E;
        let mut tally = Tally::of(filter);
        for name in [E::Create, E::Create, E::Create, E::Release, E::CreateFailed, E::Exit] {
            if shown && tally.filter.picks_name(name) {
                tally.add(name);
            }
        }
        let events = [E::Create, E::Release, E::CreateFailed, E::Exit].map(|it| (it, 5)).into();
        tally.line(&Summary { events, open: 7, lost: BTreeMap::new() })
    }

    #[test]
    fn what_was_shown_is_counted_and_nothing_else() {
        let pids = || Selection { pids: vec![7], ..Selection::default() };
        let of = |selection, events: &[EventName], failed| Filter {
            selection,
            events: events.to_vec(),
            failed,
        };
        let all =
            "created 3, released 1, open 7; watches added 0, removed 0; failed 1; nothing lost";
        assert_eq!(line(of(Selection::default(), &[], false), true), all);
        let chosen = "created 3, released 1; watches added 0, removed 0; failed 1; nothing lost";
        assert_eq!(line(of(pids(), &[], false), true), chosen);
        let none = "no event matched the filter; 15 others did not; nothing lost";
        assert_eq!(line(of(pids(), &[], false), false), none);
        assert_eq!(line(of(Selection::default(), &[], true), true), "failed 1; nothing lost");
        let exits = of(Selection::default(), &[EventName::Create, EventName::Exit], false);
        assert_eq!(line(exits, true), "created 3; exit 1; nothing lost");
    }
}
