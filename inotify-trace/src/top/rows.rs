//! From the state to the header and to the rows of a view. Pure, and shared with `list`.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::BootTime,
    findings::Finding,
    resource::Resource,
    tracker::Tracker,
    usage::{By, Group, Key},
    verdict::{Confidence, Grace, Verdict, verdicts},
};

use super::{
    failures::{Failure, Failures},
    history::History,
    made::{Groups, Made},
    scene::{Header, Meter, Row, Rows, Source},
    wish::{RowKey, View},
};
use crate::output::{Approximate, Cell, Column, Listing, Refusals, Selection, UserNames, words};

/// The most rows: nobody scrolls through more.
const MOST: usize = 20_000;

/// What is known of a moment.
pub(super) struct Moment<'a> {
    pub(super) tracker: &'a Tracker,
    pub(super) now: BootTime,
    pub(super) names: &'a UserNames,
    pub(super) clock: &'a Clock,
    pub(super) grace: Grace,
    pub(super) failures: &'a Failures,
    pub(super) refusals: &'a Refusals,
    pub(super) history: &'a History,
}

impl View {
    /// What its rows have in common, if they are instances.
    pub(super) fn by(self) -> Option<By> {
        match self {
            Self::Containers => Some(By::Container),
            Self::Processes => Some(By::Process),
            Self::Users => Some(By::User),
            Self::Failures | Self::Leaks => None,
        }
    }
}

impl Moment<'_> {
    /// About the whole machine, without what only the source knows.
    pub(super) fn header(&self) -> Header {
        let summary = self.tracker.summary();
        let mut watches = 0;
        for instance in self.tracker.instances() {
            watches += instance.watches().len();
        }
        Header {
            source: Source::Live,
            is_paused: false,
            time: self.clock.local(self.now),
            host: String::new(),
            backend: String::new(),
            instances: summary.open,
            watches,
            processes: self.tracker.processes().count(),
            failures: self.failures.total,
            losses: summary.lost.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect(),
            meters: self.meters(),
        }
    }

    /// The users closest to a limit, the closest first.
    fn meters(&self) -> Vec<Meter> {
        let mut meters = Vec::new();
        for (user, account) in self.tracker.users().iter() {
            for resource in Resource::ALL {
                let Some(level) = account.own(resource).filter(|level| level.used > 0) else {
                    continue;
                };
                let left = self.history.left(user, resource, level);
                meters.push(Meter { user: self.names.payer(user), resource, level, left });
            }
        }
        let share =
            |it: &Meter| u64::from(it.level.used) * 1_000_000 / u64::from(it.level.limit.max(1));
        meters.sort_by_key(|it| Reverse(share(it)));
        meters.truncate(8);
        meters
    }

    /// The rows of a view.
    pub(super) fn rows(&self, view: View, made: &mut Made) -> Arc<Rows> {
        if let Some(rows) = &made.rows[view.place()] {
            return Arc::clone(rows);
        }
        let rows = Arc::new(match (view, view.by()) {
            (View::Failures, _) => self.failed(),
            (_, Some(by)) => self.listed(view, by, made),
            _ => self.leaks(made),
        });
        made.rows[view.place()] = Some(Arc::clone(&rows));
        rows
    }

    fn listed(&self, view: View, by: By, made: &mut Made) -> Rows {
        let Groups { all, more } = self.groups(view, by, made);
        let listing = Listing::of_groups(all, self.tracker, by, self.names.clone());
        let mut columns = Column::of(by, true, false);
        // A shim serves hundreds, which its page shows as watches.
        columns.retain(|column| *column != Column::Serves);
        let table = listing.table(&columns, false);
        let rows = listing.keys().zip(table.rows);
        let row = |(key, cells): (&Key, _)| Row { key: RowKey::Group(key.clone()), cells };
        let rows = rows.map(row).collect();
        made.groups[view.place()] = Some(Groups { all: listing.into_groups(), more });
        Rows { columns: table.columns, rows, more }
    }

    /// The groups of a view, taken out of what was made.
    fn groups(&self, view: View, by: By, made: &mut Made) -> Groups {
        made.groups[view.place()].take().unwrap_or_else(|| {
            let names = self.names.clone();
            let mut listing = Listing::of(Selection::default(), self.tracker, by, names);
            let more = listing.cut(MOST);
            Groups { all: listing.into_groups(), more }
        })
    }

    /// One group of a view.
    pub(super) fn group(&self, view: View, by: By, key: &Key, made: &mut Made) -> Option<Group> {
        let groups = self.groups(view, by, made);
        let found = groups.all.iter().find(|group| group.key == *key).cloned();
        made.groups[view.place()] = Some(groups);
        found
    }

    fn failed(&self) -> Rows {
        let columns =
            vec!["COUNT", "LAST", "CALL", "COMM", "PID", "CONTAINER", "REASON", "TO-BLAME"];
        let row = |it: &Failure| Row {
            key: RowKey::Failure(it.id),
            cells: vec![
                it.count.into(),
                Cell::Text(self.time(it.last)),
                it.call.into(),
                Cell::Text(it.comm.to_str().into_owned()),
                it.pid.into(),
                self.tracker.cgroups().display(it.cgroup).as_deref().into(),
                Cell::Text(it.reason.clone()),
                self.blamed(it).as_deref().into(),
            ],
        };
        Rows { columns, rows: self.failures.latest().into_iter().map(row).collect(), more: 0 }
    }

    /// Who uses up what was refused.
    pub(super) fn blamed(&self, failure: &Failure) -> Option<String> {
        let Some((user, resource)) = failure.quota else { return failure.explained.clone() };
        let exhausted = self.refusals.of(user, resource)?.exhausted.as_ref()?;
        Some(words::used_up(exhausted, self.names))
    }

    /// The verdicts, leaks first.
    pub(super) fn verdicts<'m>(&self, made: &'m mut Made) -> &'m [Verdict] {
        made.verdicts.get_or_insert_with(|| {
            if self.tracker.is_uncertain() {
                return Vec::new();
            }
            let mut all = verdicts(self.tracker, self.now, &self.grace);
            all.sort_by_key(|it| (!it.kind.is_leak(), Reverse(it.evidence.len())));
            all
        })
    }

    fn leaks(&self, made: &mut Made) -> Rows {
        let columns = vec!["WHAT", "PID", "COMM", "INSTANCES", "SURE", "SINCE", "FINDING"];
        let row = |it: &Verdict| {
            let finding = Finding::of(it, self.tracker);
            let comm = finding.holder.comm.map(|comm| comm.to_str().into_owned());
            let sure = match finding.confidence {
                Confidence::Certain => "certain",
                Confidence::Likely => "likely",
            };
            let cells = vec![
                it.kind.name().into(),
                it.pid.into(),
                comm.as_deref().into(),
                (it.evidence.len() as u64).into(),
                if it.kind.is_leak() { sure } else { "no leak" }.into(),
                Cell::Text(self.time(finding.since)),
                Cell::Text(words::line(&finding)),
            ];
            Row { key: RowKey::Verdict(it.kind, it.pid), cells }
        };
        let all = self.verdicts(made);
        let more = all.len().saturating_sub(MOST);
        Rows { columns, rows: all.iter().take(MOST).map(row).collect(), more }
    }

    pub(super) fn time(&self, time: BootTime) -> String {
        let mut line = String::new();
        self.clock.clone().write(&mut line, time, Timestamps::Time);
        // Lines of events tell more of a second; here a second is enough.
        let end = line.find('.').unwrap_or(line.len());
        line.truncate(end);
        line
    }
}

/// The time until a limit, for people.
pub(super) fn left(left: Option<Duration>) -> String {
    left.map(|left| format!("full in {}", Approximate(left))).unwrap_or_default()
}
