//! The listing for programs.

use std::collections::BTreeSet;

use inotify_trace_model::{
    event::CgroupId,
    tracker::{Instance, User, Watch},
    usage::{Group, Key, Standing},
};
use serde_json::{Map, Value, json};

use super::{Listing, standing};
use crate::output::{Cell, Column, device, fields, mask};

impl Listing<'_> {
    /// The whole listing, for programs; docs/json.md documents the fields. `users_are_known` means
    /// that the kernel's counts of users are known, and `left_out` how many watches were not looked up.
    #[must_use]
    pub fn json(&self, watches: bool, users_are_known: bool, left_out: usize) -> Value {
        let columns = Column::of(self.by, true, false);
        let rows: Vec<_> =
            self.groups.iter().map(|group| self.row(group, &columns, watches)).collect();
        let user = |(user, standing): (&User, &Standing)| self.user(*user, standing);
        let users = users_are_known.then(|| self.standings.iter().map(user).collect::<Vec<_>>());
        let sum = self.total();
        let mut total = json!({
            "instances": sum.instances.len(),
            "watches": sum.watches,
            "fds": sum.descriptors,
            "processes": sum.processes.len(),
        });
        if left_out > 0 {
            total["watches_left_out"] = left_out.into();
        }
        json!({ "by": self.by.name(), "rows": rows, "users": users, "total": total })
    }

    fn row(&self, group: &Group, columns: &[Column], watches: bool) -> Value {
        let mut row = Map::new();
        for &column in columns {
            let value = self.value(group, column);
            row.extend(value.map(|value| (column.field().to_owned(), value)));
        }
        if watches {
            let all = self.instances(group).flat_map(|instance| {
                let watches = instance.watches().iter();
                watches.map(|(&wd, watch)| self.watch(instance, wd, watch))
            });
            row.insert("targets".to_owned(), all.collect());
        }
        Value::Object(row)
    }

    /// The value of a column, for programs; None if it is not known, or is in another field.
    fn value(&self, group: &Group, column: Column) -> Option<Value> {
        let several = |all: Vec<Value>| (!all.is_empty()).then_some(Value::Array(all));
        let user = |user: &User| fields::user(*user, &self.names);
        let places = |ids: &BTreeSet<CgroupId>| {
            several(ids.iter().map(|&id| self.place(id).into()).collect())
        };
        match (column, &group.key) {
            (Column::Pid, Key::Process(pid)) => Some((*pid).into()),
            (Column::Pid, _) => several(group.processes.iter().map(|&pid| pid.into()).collect()),
            (Column::User, Key::User(payer)) => payer.as_ref().map(user),
            (Column::User, _) => several(group.users.iter().flatten().map(user).collect()),
            (Column::Container, key) => {
                let container = |it| fields::container(&it, self.tracker);
                let mut all: Vec<_> = self.containers(group).map(container).collect();
                if matches!(key, Key::Container(_)) { all.pop() } else { several(all) }
            }
            (Column::Payers, _) => {
                let payers = standing(group, &self.standings).map(|it| it.payers.as_slice());
                several(payers.unwrap_or_default().iter().map(user).collect())
            }
            (Column::Serves, _) => places(&group.serves),
            (Column::HeldIn, _) => places(&self.outside(group)),
            (Column::Uid | Column::Userns, _) => None,
            _ => match self.cell(group, column) {
                Cell::Number(number) => Some(number.into()),
                Cell::Percent(level) => Some(level.percent().into()),
                Cell::Text(text) | Cell::Figure(text) => Some(text.into()),
                Cell::List(texts) => Some(texts.into()),
                Cell::Missing => None,
            },
        }
    }

    fn watch(&self, instance: &Instance, wd: i32, watch: &Watch) -> Value {
        let target = &watch.target;
        let mut fields = Map::new();
        fields.insert("instance".to_owned(), json!(instance.id));
        fields.insert("wd".to_owned(), json!(wd));
        fields.insert("mask".to_owned(), json!(mask::watch_mask(watch.mask)));
        fields.insert("inode".to_owned(), json!(target.inode));
        fields.insert("dev".to_owned(), json!(device(target.dev)));
        if let Some(path) = target.best_path() {
            fields.insert("path".to_owned(), json!(path));
        }
        if let Some(silence) = target.silence {
            fields.insert("path_unknown".to_owned(), json!(silence.name()));
        }
        if target.is_gone {
            fields.insert("gone".to_owned(), json!(true));
        }
        if let Some(cgroup) = target.cgroup.known() {
            fields.insert("target_cgroup_id".to_owned(), json!(cgroup));
            if let Some(cgroup) = self.tracker.cgroups().get(cgroup) {
                fields.insert("target_cgroup".to_owned(), json!(cgroup.path));
            }
        }
        Value::Object(fields)
    }

    fn user(&self, user: User, standing: &Standing) -> Value {
        let mut fields = fields::standing(user, standing, &self.names);
        let unseen = [
            ("not_visible", standing.unseen_instances()),
            ("watches_not_visible", standing.unseen_watches()),
        ];
        let known = unseen.into_iter().filter_map(|(name, count)| Some((name, count?)));
        fields.extend(known.map(|(name, count)| (name.to_owned(), count.into())));
        fields.into()
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{tracker::Tracker, usage::By};

    use super::*;
    use crate::output::UserNames;

    #[test]
    fn watches_that_were_not_looked_up_are_counted() {
        let tracker = Tracker::new();
        let listing = Listing::new(&tracker, By::Process, UserNames::default());
        let left_out = |count| {
            let total = listing.json(true, true, count)["total"].take();
            total.get("watches_left_out").cloned()
        };
        assert_eq!([left_out(0), left_out(3)], [None, Some(json!(3))]);
    }
}
