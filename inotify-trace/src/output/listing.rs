//! What exists, as a table or as JSON.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use inotify_trace_model::{
    event::CgroupId,
    identity::Container,
    tracker::{Instance, Process, Tracker, User, Watch},
    usage::{self, By, Group, Key, Level, Standing},
};
use serde_json::{Map, Value, json};

use super::{Cell, Column, Table, UserNames, device, mask};
use crate::output::{cgroup_name, container_name, shorten};

/// Characters of a name that may take a whole line otherwise.
const NAME: usize = 40;

/// What a tracker knows, ready to be shown.
#[derive(Debug)]
pub struct Listing<'a> {
    tracker: &'a Tracker,
    names: UserNames,
    standings: BTreeMap<User, Standing>,
    groups: Vec<Group>,
    by: By,
}

impl<'a> Listing<'a> {
    /// The instances of `tracker`, grouped.
    #[must_use]
    pub fn new(tracker: &'a Tracker, by: By, names: UserNames) -> Self {
        let standings = usage::standings(tracker);
        let mut groups = usage::groups(tracker, by);
        if by == By::User {
            // Those who pay for others only have no instance of their own.
            let known: BTreeSet<_> = groups.iter().map(|group| group.key.clone()).collect();
            let keys = standings.keys().map(|user| Key::User(Some(*user)));
            groups.extend(keys.filter(|key| !known.contains(key)).map(Group::new));
            groups.sort_by_key(|group| {
                let used = standing(group, &standings).and_then(|it| it.instances);
                Reverse(used.map_or(0, |level| level.used))
            });
        }
        let mut listing = Self { tracker, names, standings, groups, by };
        if by == By::Container {
            listing.sort_equals_by_name();
        }
        listing
    }

    /// Containers of one kind next to each other, where they have equally much.
    fn sort_equals_by_name(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_cached_key(|group| {
            let name = self.cell(group, Column::Container).text();
            (Reverse(group.instances.len()), Reverse(group.watches), name)
        });
        self.groups = groups;
    }

    /// Puts the groups in the order of a column: most first, or else by name.
    pub fn sort(&mut self, column: Column) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_cached_key(|group| match self.cell(group, column) {
            Cell::Number(number) | Cell::Percent(number) if column.is_count() => {
                (u64::MAX - number, String::new())
            }
            Cell::Number(number) => (number, String::new()),
            Cell::Missing => (u64::MAX, String::new()),
            cell => (0, cell.text()),
        });
        self.groups = groups;
    }

    /// Drops all but the first `most` groups, and says how many that were.
    pub fn cut(&mut self, most: usize) -> usize {
        let dropped = self.groups.len().saturating_sub(most);
        self.groups.truncate(most);
        dropped
    }

    /// The rows: one for each group, or one for each watch of its instances.
    #[must_use]
    pub fn table(&self, columns: &[Column], watches: bool) -> Table {
        let mut rows = Vec::new();
        for group in &self.groups {
            let cells = |watch: Option<(i32, &Watch)>| {
                let cell = |&column: &Column| match watch {
                    Some((wd, watch)) => self.watch_cell(group, column, wd, watch),
                    None => self.cell(group, column),
                };
                columns.iter().map(cell).collect()
            };
            if !watches {
                rows.push(cells(None));
                continue;
            }
            for instance in self.instances(group) {
                rows.extend(instance.watches().iter().map(|(&wd, it)| cells(Some((wd, it)))));
            }
        }
        Table { columns: columns.iter().map(|column| column.name()).collect(), rows }
    }

    /// The columns to show where nobody has chosen any.
    #[must_use]
    pub fn columns(&self, wide: bool, watches: bool) -> Vec<Column> {
        let mut columns = Column::of(self.by, wide, watches);
        let is_empty = |group| matches!(self.cell(group, Column::HeldIn), Cell::Missing);
        if self.groups.iter().all(is_empty) {
            columns.retain(|column| *column != Column::HeldIn);
        }
        columns
    }

    /// Everything, for programs; the fields are documented in docs/json.md.
    #[must_use]
    pub fn json(&self, watches: bool) -> Value {
        let columns = Column::of(self.by, true, false);
        let rows: Vec<_> =
            self.groups.iter().map(|group| self.row(group, &columns, watches)).collect();
        let users = self.standings.iter().map(|(user, standing)| self.user(*user, standing));
        let total = usage::total(self.tracker);
        json!({
            "by": self.by.name(),
            "rows": rows,
            "users": users.collect::<Vec<_>>(),
            "total": {
                "instances": total.instances.len(),
                "watches": total.watches,
                "fds": total.descriptors,
                "processes": total.processes.len(),
            },
        })
    }

    /// All of it in a few lines, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let total = usage::total(self.tracker);
        let count = |number: usize, one: &str, more: &str| {
            format!("{number} {}", if number == 1 { one } else { more })
        };
        let mut text = format!(
            "{} with {} and {} in {}",
            count(total.instances.len(), "instance", "instances"),
            count(total.watches as usize, "watch", "watches"),
            count(total.descriptors as usize, "descriptor", "descriptors"),
            count(total.processes.len(), "process", "processes"),
        );
        let mut standings: Vec<_> = self.standings.iter().collect();
        standings.sort_by_key(|(_, it)| Reverse(it.instances.map(|level| level.used)));
        for (user, standing) in standings {
            let Some(instances) = standing.instances else { continue };
            text += &format!(
                "\n{} is charged {} of {} instances ({}%)",
                self.names.payer(*user),
                instances.used,
                instances.limit,
                percent(instances)
            );
            if let Some(unseen @ 1..) = standing.unseen_instances() {
                text += &format!(", {unseen} of them not visible");
            }
            if let Some(watches) = standing.watches {
                text += &format!(", {} of {} watches", watches.used, watches.limit);
            }
        }
        text
    }

    fn row(&self, group: &Group, columns: &[Column], watches: bool) -> Value {
        let mut row = Map::new();
        for &column in columns {
            let value = match self.cell(group, column) {
                Cell::Missing => continue,
                cell => json!(cell),
            };
            row.insert(column.name().to_lowercase().replace('-', "_"), value);
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

    fn watch(&self, instance: &Instance, wd: i32, watch: &Watch) -> Value {
        let target = &watch.target;
        let mut fields = Map::new();
        fields.insert("instance".to_owned(), json!(instance.id));
        fields.insert("wd".to_owned(), json!(wd));
        fields.insert("mask".to_owned(), json!(mask::watch_mask(watch.mask)));
        fields.insert("inode".to_owned(), json!(target.inode));
        fields.insert("dev".to_owned(), json!(device(target.dev)));
        if let Some(path) = &target.path {
            fields.insert("path".to_owned(), json!(path));
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
        let level = |level: Option<Level>| {
            level.map(|level| json!({ "used": level.used, "limit": level.limit }))
        };
        json!({
            "user": self.names.payer(user),
            "uid": user.uid,
            "userns": user.userns,
            "instances": level(standing.instances),
            "watches": level(standing.watches),
            "not_visible": standing.unseen_instances(),
            "watches_not_visible": standing.unseen_watches(),
            "payers": standing.payers.iter().map(|payer| self.names.payer(*payer)).collect::<Vec<_>>(),
        })
    }

    fn instances(&self, group: &Group) -> impl Iterator<Item = &'a Instance> {
        let tracker = self.tracker;
        let ids = group.instances.iter().copied().collect::<Vec<_>>();
        ids.into_iter().filter_map(|id| tracker.instance(id))
    }

    fn watch_cell(&self, group: &Group, column: Column, wd: i32, watch: &Watch) -> Cell {
        match column {
            Column::Wd => Cell::Number(wd.unsigned_abs().into()),
            Column::Mask => {
                Cell::List(mask::watch_mask(watch.mask).into_iter().map(str::to_owned).collect())
            }
            Column::Target => self.target(watch).as_str().into(),
            _ => self.cell(group, column),
        }
    }

    /// Where the target is, as well as that is known.
    fn target(&self, watch: &Watch) -> String {
        let target = &watch.target;
        let cgroup = target.cgroup.known().and_then(|id| self.tracker.cgroups().get(id));
        match (&target.path, cgroup) {
            (Some(path), _) => path.to_string(),
            (None, Some(cgroup)) => format!("cgroup {}", cgroup.path),
            (None, None) => {
                let gone = if target.is_gone { " (gone)" } else { "" };
                format!("inode {} on {}{gone}", target.inode, device(target.dev))
            }
        }
    }

    fn cell(&self, group: &Group, column: Column) -> Cell {
        let standing = || standing(group, &self.standings);
        let instances = || standing().and_then(|it| it.instances);
        let watches = || standing().and_then(|it| it.watches);
        let user = match group.key {
            Key::User(user) => user,
            _ => None,
        };
        match column {
            Column::Instance => match group.key {
                Key::Instance(id) => Cell::Number(id.0),
                _ => Cell::Missing,
            },
            Column::Pid => match group.key {
                Key::Process(pid) => pid.into(),
                _ => list(group.processes.iter().map(ToString::to_string)),
            },
            Column::Comm => {
                let comms = self.processes(group).map(|it| it.task.comm.to_str().into_owned());
                list(comms.collect::<BTreeSet<_>>())
            }
            Column::User => match &group.key {
                Key::User(Some(user)) => self.names.payer(*user).as_str().into(),
                Key::User(None) => Cell::Missing,
                _ => list(group.users.iter().flatten().map(|user| self.names.payer(*user))),
            },
            Column::Container => self.container(group),
            Column::Instances => (group.instances.len() as u64).into(),
            Column::Watches => group.watches.into(),
            Column::Fds => group.descriptors.into(),
            Column::Processes => (group.processes.len() as u64).into(),
            Column::Shared => group.shared.into(),
            Column::Queued => group.queued.into(),
            Column::Pod => list(
                self.containers(group).filter_map(|it| Some(it.pod.as_ref()?.as_str().to_owned())),
            ),
            Column::Runtime => {
                list(self.containers(group).filter_map(|it| Some(it.runtime?.as_str().to_owned())))
            }
            Column::Cgroup => list(
                group
                    .cgroups
                    .iter()
                    .filter_map(|&id| Some(self.tracker.cgroups().get(id)?.path.to_string())),
            ),
            Column::Serves => list(group.serves.iter().map(|&id| self.place(id))),
            Column::Outside => match group.key {
                Key::Container(_) => group.outside.into(),
                _ => Cell::Missing,
            },
            Column::HeldIn => self.held_in(group),
            Column::Uid => user.map(|user| user.uid).into(),
            Column::Userns => user.map(|user| user.userns).into(),
            Column::Used => instances().map(|level| level.used).into(),
            Column::Limit => instances().map(|level| level.limit).into(),
            Column::Use => instances().map_or(Cell::Missing, |it| Cell::Percent(percent(it))),
            Column::NotVisible => standing().and_then(Standing::unseen_instances).into(),
            Column::WatchesUsed => watches().map(|level| level.used).into(),
            Column::WatchLimit => watches().map(|level| level.limit).into(),
            Column::WatchUse => watches().map_or(Cell::Missing, |it| Cell::Percent(percent(it))),
            Column::Payers => {
                let payers = standing().map(|it| it.payers.as_slice()).unwrap_or_default();
                list(payers.iter().map(|payer| self.names.payer(*payer)))
            }
            // Of a watch, and this is none.
            Column::Wd | Column::Mask | Column::Target => Cell::Missing,
        }
    }

    fn container(&self, group: &Group) -> Cell {
        match &group.key {
            Key::Container(container) => self.name(container).as_str().into(),
            Key::Cgroup(id) => self.place(*id).as_str().into(),
            Key::Nobody => "(no process seen)".into(),
            _ => list(group.cgroups.iter().map(|&id| self.place(id)).collect::<BTreeSet<_>>()),
        }
    }

    /// Where else than in the group's container its processes run.
    fn held_in(&self, group: &Group) -> Cell {
        let Key::Container(container) = &group.key else { return Cell::Missing };
        let cgroups = self.tracker.cgroups();
        let outside = group.cgroups.iter().filter(|&&id| {
            cgroups.get(id).is_none_or(|it| it.container.as_ref() != Some(container))
        });
        list(outside.map(|&id| self.place(id)).collect::<BTreeSet<_>>())
    }

    /// A cgroup's short name.
    fn place(&self, id: CgroupId) -> String {
        match cgroup_name(self.tracker.cgroups(), id) {
            Some(name) => shorten(&name, NAME).into_owned(),
            None => format!("cgroup {}", id.0),
        }
    }

    /// What a container is called, or its runtime and id.
    fn name(&self, container: &Container) -> String {
        container_name(self.tracker.cgroups(), container)
    }

    /// The containers it is in; or which it is.
    fn containers(&self, group: &Group) -> impl Iterator<Item = Container> {
        let cgroups = self.tracker.cgroups();
        let its = |id: &CgroupId| cgroups.get(*id)?.container.clone();
        let all: BTreeSet<_> = match &group.key {
            Key::Container(container) => [container.clone()].into(),
            _ => group.cgroups.iter().filter_map(its).collect(),
        };
        all.into_iter()
    }

    fn processes(&self, group: &Group) -> impl Iterator<Item = &'a Process> {
        let tracker = self.tracker;
        let pids: Vec<_> = group.processes.iter().copied().collect();
        pids.into_iter().filter_map(|pid| tracker.process(pid))
    }
}

fn standing<'a>(group: &Group, standings: &'a BTreeMap<User, Standing>) -> Option<&'a Standing> {
    match group.key {
        Key::User(Some(user)) => standings.get(&user),
        _ => None,
    }
}

fn list(texts: impl IntoIterator<Item = String>) -> Cell {
    let texts: Vec<_> = texts.into_iter().collect();
    if texts.is_empty() { Cell::Missing } else { Cell::List(texts) }
}

/// The share that is used up, rounded up: only what is really free is free.
pub(super) fn percent(level: Level) -> u64 {
    (u64::from(level.used) * 100).div_ceil(u64::from(level.limit.max(1)))
}
