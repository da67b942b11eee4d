//! The listing of instances, as a table or as JSON.

mod json;
mod lines;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

pub use lines::Lines;

use super::{Cell, Column, Selection, Tone, UserNames, device, table::percent, words};
use inotify_trace_model::{
    event::{CgroupId, Silence},
    findings::Holder,
    identity::Container,
    tracker::{Instance, Overflow, Process, Tracker, User, Watch},
    usage::{self, By, Group, Key, Standing},
};

/// The most full queues that the summary names.
const OVERFLOWS: usize = 5;

/// The instances of a tracker, ready to be shown.
#[derive(Debug)]
pub struct Listing<'a> {
    tracker: &'a Tracker,
    names: UserNames,
    standings: BTreeMap<User, Standing>,
    groups: Vec<Group>,
    by: By,
    selection: Selection,
}

impl<'a> Listing<'a> {
    /// The instances of `tracker`, grouped.
    #[must_use]
    pub fn new(tracker: &'a Tracker, by: By, names: UserNames) -> Self {
        Self::of(Selection::default(), tracker, by, names)
    }

    /// Those that are selected.
    #[must_use]
    pub fn of(selection: Selection, tracker: &'a Tracker, by: By, names: UserNames) -> Self {
        let mut standings = usage::standings(tracker);
        let mut groups = usage::groups_of(tracker, by, |instance, pid| {
            selection.picks_holder(instance, pid, tracker)
        });
        if !selection.is_everything() {
            let charged: BTreeSet<_> = groups.iter().flat_map(|it| &it.users).flatten().collect();
            let is_paid_by = |payer: &User| {
                charged
                    .iter()
                    .any(|user| **user == *payer || tracker.users().pays_for(*payer, **user))
            };
            standings.retain(|user, _| is_paid_by(user));
        }
        if by == By::User {
            // Users who are charged only for others have no instance of their own.
            let known: BTreeSet<_> = groups.iter().map(|group| group.key.clone()).collect();
            let keys = standings.keys().map(|user| Key::User(Some(*user)));
            groups.extend(keys.filter(|key| !known.contains(key)).map(Group::new));
            groups.sort_by_key(|group| {
                let used = standing(group, &standings).and_then(|it| it.instances);
                Reverse(used.map_or(0, |level| level.used))
            });
        }
        let mut listing = Self { tracker, names, standings, groups, by, selection };
        if by == By::Container {
            listing.sort_equals_by_name();
        }
        listing
    }

    /// Sorts containers with equal counts by name, so that related ones are adjacent.
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
            Cell::Number(number) | Cell::Faults(number) if column.is_count() => {
                (u64::MAX - number, String::new())
            }
            // In thousandths of a percent.
            Cell::Percent(level) => (
                u64::MAX - u64::from(level.used) * 100_000 / u64::from(level.limit.max(1)),
                String::new(),
            ),
            Cell::Number(number) => (number, String::new()),
            Cell::Missing => (u64::MAX, String::new()),
            cell => (0, cell.text()),
        });
        self.groups = groups;
    }

    /// What the groups have in common, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.groups.iter().map(|group| &group.key)
    }

    /// Groups that were made of the same state before: without another look at all instances, unless they
    /// are users.
    #[must_use]
    pub fn of_groups(groups: Vec<Group>, tracker: &'a Tracker, by: By, names: UserNames) -> Self {
        // Nobody else has one.
        let is_by_user = by == By::User;
        let standings = if is_by_user { usage::standings(tracker) } else { BTreeMap::new() };
        Self { tracker, names, standings, groups, by, selection: Selection::default() }
    }

    /// The groups, in their order.
    #[must_use]
    pub fn into_groups(self) -> Vec<Group> {
        self.groups
    }

    /// Drops all but the first `most` groups, and returns the number of dropped ones.
    pub fn cut(&mut self, most: usize) -> usize {
        let dropped = self.groups.len().saturating_sub(most);
        self.groups.truncate(most);
        dropped
    }

    /// The columns to show by default.
    #[must_use]
    pub fn columns(&self, wide: bool, watches: bool) -> Vec<Column> {
        let mut columns = Column::of(self.by, wide, watches);
        let is_empty = |group| matches!(self.cell(group, Column::HeldIn), Cell::Missing);
        if self.groups.iter().all(is_empty) {
            columns.retain(|column| *column != Column::HeldIn);
        }
        if !wide && self.groups.iter().all(|group| group.leaked == 0) {
            columns.retain(|column| *column != Column::Leaked);
        }
        // Shown in a narrow table, too, if there is anything to show.
        for (column, count) in [
            (Column::Queued, (|group| group.queued) as fn(&Group) -> u64),
            (Column::Overflowed, |group| group.overflowed),
        ] {
            let is_listed = self.by != By::User && !watches && !columns.contains(&column);
            if is_listed && self.groups.iter().any(|group| count(group) > 0) {
                let after = |it: &Column| matches!(it, Column::Fds | Column::Queued);
                let place = columns.iter().rposition(after).map_or(columns.len(), |at| at + 1);
                columns.insert(place, column);
            }
        }
        columns
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The sum of all that is selected, shown or not.
    fn total(&self) -> Group {
        usage::total_of(self.tracker, |instance, pid| {
            self.selection.picks_holder(instance, pid, self.tracker)
        })
    }

    /// A summary of the listing in a few lines, for people.
    #[must_use]
    pub fn summary(&self) -> Vec<(Tone, String)> {
        let total = self.total();
        let total = format!(
            "{} with {} and {} in {}",
            words::instances(total.instances.len()),
            words::counted(total.watches as usize, "watch", "watches"),
            words::counted(total.descriptors as usize, "descriptor", "descriptors"),
            words::counted(total.processes.len(), "process", "processes"),
        );
        let mut lines = vec![(Tone::Plain, total)];
        let mut standings: Vec<_> = self.standings.iter().collect();
        standings.sort_by_key(|(_, it)| Reverse(it.instances.map(|level| level.used)));
        for (user, standing) in standings {
            let Some(instances) = standing.instances else { continue };
            let mut text = format!(
                "{} is charged {} of {} instances ({})",
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
            let mut levels = [Some(instances), standing.watches].into_iter().flatten();
            let is_full = levels.any(|it| it.used >= it.limit);
            lines.push((if is_full { Tone::Bad } else { Tone::Plain }, text));
        }
        lines.extend(self.overflows().into_iter().map(|text| (Tone::Bad, text)));
        lines
    }

    /// A line for each instance whose queue has overflowed.
    fn overflows(&self) -> Vec<String> {
        let picked = self.total().instances;
        let is_full = |it: &&Instance| it.overflow.is_some() && picked.contains(&it.id);
        let mut all: Vec<_> = self.tracker.instances().filter(is_full).collect();
        all.sort_by_key(|instance| (Reverse(instance.unread()), instance.id));
        let mut lines = Vec::new();
        for instance in all.iter().take(OVERFLOWS) {
            let Some(Overflow { queued, limit, .. }) = instance.overflow else { continue };
            let holder = instance.descriptors().first();
            let holder = holder.map(|it| (Holder::of(it.pid, self.tracker), it.fd));
            let holder = holder.map_or_else(
                || "an instance that no process seen holds".to_owned(),
                |(holder, fd)| format!("descriptor {fd} of {}", words::who(&holder)),
            );
            lines.push(format!("{holder} has {}", words::overflowed(queued, limit)));
        }
        let more = all.len().saturating_sub(OVERFLOWS);
        lines.extend((more > 0).then(|| format!("... and {more} more whose queues are full")));
        lines
    }

    fn instances(&self, group: &Group) -> impl Iterator<Item = &'a Instance> {
        let tracker = self.tracker;
        let ids = group.instances.iter().copied().collect::<Vec<_>>();
        ids.into_iter().filter_map(|id| tracker.instance(id))
    }

    /// The target's path, or else its cgroup or inode.
    fn target(&self, watch: &Watch) -> String {
        let target = &watch.target;
        let cgroup = target.cgroup.known().and_then(|id| self.tracker.cgroups().get(id));
        match (target.best_path(), cgroup) {
            (Some(path), _) if target.is_gone => format!("{path} (deleted)"),
            (Some(path), _) => path.to_string(),
            (None, Some(cgroup)) => format!("cgroup {}", cgroup.path),
            (None, None) => {
                let more = match target.silence {
                    Some(Silence::NotAsked) => " (file system not asked)",
                    Some(Silence::NoAnswer) => " (file system does not answer)",
                    None if target.is_gone => " (gone)",
                    None => "",
                };
                format!("inode {} on {}{more}", target.inode, device(target.dev))
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
            Column::Leaked => Cell::Faults(group.leaked),
            Column::Shared => group.shared.into(),
            Column::Queued => group.queued.into(),
            Column::Overflowed => Cell::Faults(group.overflowed),
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
            Column::Use => instances().map_or(Cell::Missing, Cell::Percent),
            Column::NotVisible => standing().and_then(Standing::unseen_instances).into(),
            Column::WatchesUsed => watches().map(|level| level.used).into(),
            Column::WatchLimit => watches().map(|level| level.limit).into(),
            Column::WatchUse => watches().map_or(Cell::Missing, Cell::Percent),
            Column::Payers => {
                let payers = standing().map(|it| it.payers.as_slice()).unwrap_or_default();
                list(payers.iter().map(|payer| self.names.payer(*payer)))
            }
            // These columns belong to a watch, and this row has none.
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

    /// The other places, outside the group's container, where its processes run.
    fn held_in(&self, group: &Group) -> Cell {
        let outside = self.outside(group);
        list(outside.into_iter().map(|id| self.place(id)).collect::<BTreeSet<_>>())
    }

    /// The cgroups of a container's processes that are not its own.
    fn outside(&self, group: &Group) -> BTreeSet<CgroupId> {
        let Key::Container(container) = &group.key else { return BTreeSet::new() };
        let cgroups = self.tracker.cgroups();
        let is_outside = |id: &CgroupId| {
            cgroups.get(*id).is_none_or(|it| it.container.as_ref() != Some(container))
        };
        group.cgroups.iter().copied().filter(is_outside).collect()
    }

    /// A cgroup's name.
    fn place(&self, id: CgroupId) -> String {
        self.tracker.cgroups().display(id).unwrap_or_else(|| format!("cgroup {}", id.0))
    }

    /// The name of a container, or its runtime and id.
    fn name(&self, container: &Container) -> String {
        self.tracker.cgroups().display_container(container)
    }

    /// The containers of the group; or the container that is the group.
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
