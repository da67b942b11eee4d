//! From the state to the rows of a view, and to the page of a row. Pure, and shared with `list`.

use std::time::Duration;

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::BootTime,
    findings::Finding,
    resource::Resource,
    tracker::{Tracker, User},
    usage::{By, Key},
    verdict::{Confidence, Grace, Verdict, verdicts},
};

use super::{
    failures::{Failure, Failures},
    history::History,
    scene::{Header, Meter, Page, Row, Rows, Source},
    wish::{RowKey, View},
};
use crate::output::{
    Approximate, Cell, Column, EachRow as _, Limit, Lines, Listing, Refusals, Selection, UserNames,
    limit_remedy, words,
};

/// The most rows: nobody scrolls through more.
const MOST: usize = 20_000;

/// The most watches on a page.
const WATCHES: usize = 5_000;

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
    fn by(self) -> Option<By> {
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
        meters.sort_by_key(|it| std::cmp::Reverse(share(it)));
        meters.truncate(8);
        meters
    }

    /// The rows of a view.
    pub(super) fn rows(&self, view: View) -> Rows {
        match (view, view.by()) {
            (View::Failures, _) => self.failed(),
            (_, Some(by)) => self.listed(by),
            _ => self.leaks(),
        }
    }

    fn listed(&self, by: By) -> Rows {
        let mut listing = self.listing(by);
        let more = listing.cut(MOST);
        let mut columns = Column::of(by, true, false);
        // A shim serves hundreds, which its page shows as watches.
        columns.retain(|column| *column != Column::Serves);
        let table = listing.table(&columns, false);
        let rows = listing.keys().zip(table.rows);
        let row = |(key, cells): (&Key, _)| Row { key: RowKey::Group(key.clone()), cells };
        Rows { columns: table.columns, rows: rows.map(row).collect(), more }
    }

    fn listing(&self, by: By) -> Listing<'_> {
        Listing::of(Selection::default(), self.tracker, by, self.names.clone())
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
    fn blamed(&self, failure: &Failure) -> Option<String> {
        let Some((user, resource)) = failure.quota else { return failure.explained.clone() };
        let exhausted = self.refusals.of(user, resource)?.exhausted.as_ref()?;
        Some(words::used_up(exhausted, self.names))
    }

    fn verdicts(&self) -> Vec<Verdict> {
        if self.tracker.is_uncertain() {
            return Vec::new();
        }
        let mut all = verdicts(self.tracker, self.now, &self.grace);
        all.sort_by_key(|it| (!it.kind.is_leak(), std::cmp::Reverse(it.evidence.len())));
        all
    }

    fn leaks(&self) -> Rows {
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
        let all = self.verdicts();
        let more = all.len().saturating_sub(MOST);
        Rows { columns, rows: all.iter().take(MOST).map(row).collect(), more }
    }

    /// All about one row; None if there is none any more.
    pub(super) fn page(&self, view: View, key: &RowKey) -> Option<Page> {
        let mut page = match key {
            RowKey::Group(group) => self.page_of_group(view.by()?, group)?,
            RowKey::Failure(id) => {
                let all = self.failures.latest();
                self.page_of_failure(all.into_iter().find(|it| it.id == *id)?)
            }
            RowKey::Verdict(kind, pid) => {
                let all = self.verdicts();
                self.page_of_verdict(all.iter().find(|it| (it.kind, it.pid) == (*kind, *pid))?)
            }
            RowKey::Place(_) => return None,
        };
        page.key = key.clone();
        Some(page)
    }

    fn page_of_group(&self, by: By, key: &Key) -> Option<Page> {
        let mut listing = self.listing(by);
        listing.keep(key);
        let columns = Column::of(by, true, false);
        let table = listing.table(&columns, false);
        let cells = table.rows.into_iter().next()?;
        let facts: Vec<_> = columns.iter().zip(&cells).collect();
        let facts = facts.into_iter().filter(|(_, cell)| **cell != Cell::Missing);
        let facts: Vec<_> =
            facts.map(|(column, cell)| (column.field().replace('_', " "), cell.text())).collect();
        let first = facts.first().map(|(name, value)| format!("{name} {value}"));
        let comm = facts.iter().find(|(name, _)| by == By::Process && name == "comm");
        let title =
            first.unwrap_or_default() + &comm.map(|it| format!(" {}", it.1)).unwrap_or_default();
        let mut text = Vec::new();
        if let Key::User(Some(user)) = key {
            text = self.about_user(*user);
        }
        if let Key::Process(pid) = key {
            for verdict in self.verdicts().iter().filter(|it| it.pid == *pid) {
                text.push(words::heading(&Finding::of(verdict, self.tracker)));
            }
        }
        let history = self.history.of(key).map(|samples| {
            let span = samples.back().zip(samples.front()).map(|(to, from)| to.0.since(from.0));
            let most = samples.iter().map(|it| it.1).max().unwrap_or_default();
            let span = Approximate(span.unwrap_or_default());
            (format!("instances in {span}, most {most}"), samples.iter().map(|it| it.1).collect())
        });
        let (title, watches) = (title, self.watches(&listing, by));
        Some(Page { key: RowKey::Place(0), title, facts, history, text, watches })
    }

    fn about_user(&self, user: User) -> Vec<String> {
        let refused = Resource::ALL.into_iter().filter_map(|it| self.refusals.of(user, it));
        refused
            .flat_map(|refused| {
                let Some(exhausted) = &refused.exhausted else { return Vec::new() };
                let (count, last) = (refused.count, self.time(refused.last));
                vec![
                    format!("refused: {count} times, last at {last}"),
                    words::used_up(exhausted, self.names),
                    format!("do: {}", words::remedy_for(exhausted)),
                ]
            })
            .collect()
    }

    fn watches(&self, listing: &Listing<'_>, by: By) -> Rows {
        let mut columns = vec![Column::Target, Column::Mask, Column::Wd];
        if by != By::Process {
            columns.extend([Column::Pid, Column::Comm]);
        }
        let all = listing.watches();
        let lines = Lines { listing, columns, watches: true, most: WATCHES };
        let mut rows = Vec::new();
        // Nothing is written that could fail.
        let _ = lines.each_row(&mut |cells| {
            rows.push(Row { key: RowKey::Place(rows.len()), cells: cells.to_vec() });
            Ok(())
        });
        let columns = lines.columns.iter().map(|column| column.name()).collect();
        Rows { columns, more: all.saturating_sub(rows.len()), rows }
    }

    fn page_of_failure(&self, it: &Failure) -> Page {
        let place = self.tracker.cgroups().display(it.cgroup);
        let facts = [
            ("command", Some(it.comm.to_str().into_owned())),
            ("pid", it.pid.map(|pid| pid.to_string())),
            ("container", place),
            ("call", Some(it.call.to_owned())),
            ("reason", Some(it.reason.clone())),
            ("count", Some(it.count.to_string())),
            ("first", Some(self.time(it.first))),
            ("last", Some(self.time(it.last))),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut text: Vec<_> = self.blamed(it).into_iter().collect();
        let quota = it.quota.and_then(|(user, resource)| self.refusals.of(user, resource));
        let remedy = match quota.and_then(|it| it.exhausted.as_ref()) {
            Some(exhausted) => Some(words::remedy_for(exhausted)),
            None => it
                .limit
                .and_then(|limit: Limit| limit_remedy(limit, it.pid))
                .map(|remedy| words::remedy(remedy).into_owned()),
        };
        text.extend(remedy.map(|remedy| format!("do: {remedy}")));
        Page {
            key: RowKey::Failure(it.id),
            title: format!("{} of {}", it.reason, it.comm.to_str()),
            facts: facts.collect(),
            history: None,
            text,
            watches: Rows::default(),
        }
    }

    fn page_of_verdict(&self, it: &Verdict) -> Page {
        let finding = Finding::of(it, self.tracker);
        let details = words::details(&finding, &mut self.clock.clone(), self.now);
        let process = self.page_of_group(By::Process, &Key::Process(it.pid));
        let (history, watches) =
            process.map_or_else(Default::default, |page| (page.history, page.watches));
        Page {
            key: RowKey::Verdict(it.kind, it.pid),
            title: words::heading(&finding),
            facts: Vec::new(),
            history,
            text: details.iter().map(words::Detail::line).collect(),
            watches,
        }
    }

    fn time(&self, time: BootTime) -> String {
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
