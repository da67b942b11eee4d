//! The listing for programs.

use std::collections::BTreeSet;

use inotify_trace_model::{
    event::CgroupId,
    tracker::{Instance, User, Watch},
    usage::{Group, Key, Standing},
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{Listing, standing};
use crate::output::{Cell, Column, device, fields, mask};

/// The field of a row's watches.
const TARGETS: &str = "targets";

struct WithWatches<'a> {
    listing: &'a Listing<'a>,
    object: Value,
}

impl Serialize for WithWatches<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { listing, object } = self;
        let fields = object.as_object().into_iter().flatten();
        serializer.collect_map(fields.map(|(name, value)| match (name.as_str(), value) {
            ("rows", Value::Array(rows)) => {
                let rows = rows.iter().zip(&listing.groups);
                let rows = rows.map(|(row, group)| Row { listing, row, group });
                (name, Either::Rows(rows.collect()))
            }
            (_, value) => (name, Either::Value(value)),
        }))
    }
}

/// A row whose watches are yet to be made.
struct Row<'a> {
    listing: &'a Listing<'a>,
    row: &'a Value,
    group: &'a Group,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { listing, row, group } = *self;
        let fields = row.as_object().into_iter().flatten();
        serializer.collect_map(fields.map(|(name, value)| match name.as_str() {
            TARGETS => (name, Either::Watches(Watches { listing, group })),
            _ => (name, Either::Value(value)),
        }))
    }
}

/// The watches of a row.
struct Watches<'a> {
    listing: &'a Listing<'a>,
    group: &'a Group,
}

impl Serialize for Watches<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { listing, group } = *self;
        serializer.collect_seq(listing.instances(group).flat_map(|instance| {
            let watches = instance.watches().iter();
            watches.map(|(&wd, watch)| listing.watch(instance, wd, watch))
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Either<'a> {
    Value(&'a Value),
    Rows(Vec<Row<'a>>),
    Watches(Watches<'a>),
}

impl Listing<'_> {
    /// The listing for programs, apart from watches; docs/json.md documents the fields. `users_are_known`
    /// means that the kernel's counts of users are known, and `left_out` how many watches were not
    /// looked up.
    #[must_use]
    pub fn json(&self, users_are_known: bool, left_out: usize) -> Value {
        let columns = Column::of(self.by, true, false);
        let rows: Vec<_> = self.groups.iter().map(|group| self.row(group, &columns)).collect();
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

    fn row(&self, group: &Group, columns: &[Column]) -> Value {
        let mut row = Map::new();
        for &column in columns {
            let value = self.value(group, column);
            row.extend(value.map(|value| (column.field().to_owned(), value)));
        }
        Value::Object(row)
    }

    /// The object of [`json`](Self::json) with each row's watches, which are made while they are
    /// written: there may be a million.
    #[must_use]
    pub fn with_watches(&self, mut object: Value) -> impl Serialize {
        if let Some(Value::Array(rows)) = object.get_mut("rows") {
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                row.insert(TARGETS.to_owned(), Value::Null);
            }
        }
        WithWatches { listing: self, object }
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
                Cell::Number(number) | Cell::Faults(number) => Some(number.into()),
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
        // Zero where the kernel programs did not find it.
        if target.inode != 0 {
            fields.insert("inode".to_owned(), json!(target.inode));
        }
        if target.dev != 0 {
            fields.insert("dev".to_owned(), json!(device(target.dev)));
        }
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
    use std::iter;

    use inotify_trace_model::{
        event::{BootTime, Event, EventKind, InstanceId, Target, Task},
        tracker::Tracker,
        usage::By,
    };

    use super::*;
    use crate::output::UserNames;

    #[test]
    fn watches_that_were_not_looked_up_are_counted() {
        let tracker = Tracker::new();
        let listing = Listing::new(&tracker, By::Process, UserNames::default());
        let left_out = |count| {
            let total = listing.json(true, count)["total"].take();
            total.get("watches_left_out").cloned()
        };
        assert_eq!([left_out(0), left_out(3)], [None, Some(json!(3))]);
    }

    #[test]
    fn each_row_has_its_watches_when_it_is_written() {
        let mut tracker = Tracker::new();
        let task = Some(Task { pid: 7, tid: 7, ..Task::default() });
        let (instance, creator_cgroup) = (InstanceId(1), CgroupId::default());
        let found = EventKind::InstanceFound {
            instance,
            fd: 3,
            flags: 0,
            creator_cgroup,
            queued: 0,
            quota: None,
        };
        let watches = [(2, "/b"), (1, "/a")].map(|(wd, path)| {
            let target = Target { path: Some(path.into()), inode: 5, ..Target::default() };
            EventKind::WatchFound { instance, wd, mask: 2, target }
        });
        for kind in iter::once(found).chain(watches) {
            tracker.apply(&Event { time: BootTime(1), task, kind });
        }
        let listing = Listing::new(&tracker, By::Process, UserNames::default());
        let object = listing.json(false, 0);
        let text = serde_json::to_string(&listing.with_watches(object.clone())).unwrap();
        let whole: Value = serde_json::from_str(&text).unwrap();
        // The same order of fields as everywhere else.
        assert_eq!(text, serde_json::to_string(&whole).unwrap());
        let targets = &whole["rows"][0]["targets"];
        let paths = targets.as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap());
        assert_eq!(paths.collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!(targets[0]["inode"], 5);
        assert_eq!(targets[0].get("dev"), None, "an unknown device is left out");
        let mut without = whole.clone();
        without["rows"][0].as_object_mut().unwrap().remove("targets");
        assert_eq!(without, object);
    }
}
