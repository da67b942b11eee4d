//! From the state to the page of a row. Pure.

use inotify_trace_model::{
    event::InstanceId,
    findings::Finding,
    resource::Resource,
    tracker::User,
    usage::{By, Group, Key},
    verdict::Verdict,
};

use super::{
    failures::Failure,
    made::Made,
    rows::Moment,
    scene::{Page, Row, Rows},
    wish::{RowKey, View, Wish},
};
use crate::output::{
    Approximate, Cell, Column, EachRow as _, Limit, Lines, Listing, limit_remedy, words,
};

impl Moment<'_> {
    /// The page of the row that is open; None if there is no such row any more.
    pub(super) fn page(&self, wish: &Wish, made: &mut Made) -> Option<Page> {
        let key = wish.open.as_ref()?;
        let mut page = match key {
            RowKey::Group(group) => self.page_of_group(wish, group, made)?,
            RowKey::Failure(id) => {
                let all = self.failures.latest();
                self.page_of_failure(all.into_iter().find(|it| it.id == *id)?)
            }
            RowKey::Verdict(kind, pid) => {
                let mut all = self.verdicts(made).iter();
                let found = all.find(|it| (it.kind, it.pid) == (*kind, *pid))?;
                self.page_of_verdict(found, wish.watches)
            }
            RowKey::Place(_) => return None,
        };
        page.key = key.clone();
        Some(page)
    }

    fn page_of_group(&self, wish: &Wish, key: &Key, made: &mut Made) -> Option<Page> {
        let view: View = wish.view;
        let by = view.by()?;
        let group = self.group(view, by, key, made)?;
        let instances: Vec<_> = group.instances.iter().copied().collect();
        let listing = Listing::of_groups(vec![group], self.tracker, by, self.names.clone());
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
            for verdict in self.verdicts(made).iter().filter(|it| it.pid == *pid) {
                text.push(words::heading(&Finding::of(verdict, self.tracker)));
            }
        }
        let history = self.past(key);
        let watches = self.watches(&instances, by != By::Process, wish.watches);
        Some(Page { key: RowKey::Place(0), title, facts, history, text, watches })
    }

    /// What was held before, and what these numbers are.
    fn past(&self, key: &Key) -> Option<(String, Vec<u32>)> {
        self.history.of(key).map(|samples| {
            let span = samples.back().zip(samples.front()).map(|(to, from)| to.0.since(from.0));
            let most = samples.iter().map(|it| it.1).max().unwrap_or_default();
            let span = Approximate(span.unwrap_or_default());
            (format!("instances in {span}, most {most}"), samples.iter().map(|it| it.1).collect())
        })
    }

    fn about_user(&self, user: User) -> Vec<String> {
        let refused = Resource::ALL.into_iter().filter_map(|it| self.refusals.of(user, it));
        refused
            .flat_map(|refused| {
                let Some(exhausted) = &refused.exhausted else { return Vec::new() };
                let (count, last) = (refused.count, self.time(refused.last));
                vec![
                    format!("refused: {}, last at {last}", words::counted(count, "time", "times")),
                    words::used_up(exhausted, self.names),
                    format!("do: {}", words::remedy_for(exhausted)),
                ]
            })
            .collect()
    }

    /// The first watches of some instances, with those who hold them if these are not the same for all.
    fn watches(&self, instances: &[InstanceId], has_holders: bool, most: usize) -> Rows {
        let mut columns = vec![Column::Target, Column::Mask, Column::Wd];
        if has_holders {
            columns.extend([Column::Pid, Column::Comm]);
        }
        let (mut groups, mut all) = (Vec::new(), 0);
        for instance in instances.iter().filter_map(|id| self.tracker.instance(*id)) {
            if all < most && !instance.watches().is_empty() {
                groups.push(Group::of_instance(instance, self.tracker));
            }
            all += instance.watches().len();
        }
        let names = self.names.clone();
        let listing = Listing::of_groups(groups, self.tracker, By::Instance, names);
        let lines = Lines { listing: &listing, columns, watches: true, most };
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

    fn page_of_verdict(&self, it: &Verdict, most: usize) -> Page {
        let finding = Finding::of(it, self.tracker);
        let details = words::details(&finding, &mut self.clock.clone(), self.now);
        let held = self.tracker.process(it.pid).map(|process| process.descriptors.values());
        let mut held: Vec<_> = held.into_iter().flatten().copied().collect();
        held.sort_unstable();
        held.dedup();
        Page {
            key: RowKey::Verdict(it.kind, it.pid),
            title: words::heading(&finding),
            facts: Vec::new(),
            history: self.past(&Key::Process(it.pid)),
            text: details.iter().map(words::Detail::line).collect(),
            watches: self.watches(&held, false, most),
        }
    }
}
