//! One instance and what is known about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::User;
use crate::event::{BootTime, CgroupId, Event, IN_CLOEXEC, InstanceId, Target, Task};

/// An end noticed longer than this after a process left was not that process's doing: it is asked
/// several times within half of it.
const SOON: Duration = Duration::from_millis(600);

/// What has watched more cgroups than this serves none in particular.
pub const SERVED: usize = 16;

/// An open instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// How it became known.
    pub origin: Origin,
    /// When it became known: its age, if it was seen being made.
    pub since: BootTime,
    /// The cgroup of its creator.
    pub creator_cgroup: CgroupId,
    /// Flags of its first descriptor (`IN_NONBLOCK`, `IN_CLOEXEC`).
    pub flags: u32,
    /// Who pays for it.
    pub charged: Option<User>,
    /// Events that waited to be read when it was found; None if it was seen being made.
    pub queued: Option<u32>,
    /// The cgroups whose files it watches or has watched: at most one more than [`SERVED`].
    pub served: BTreeSet<CgroupId>,
    /// When its last watch went; None if it has one, or never had.
    pub emptied: Option<BootTime>,
    /// The process that ended it or, while it is open, the last that may turn out to have.
    pub last_leaver: Option<Leaver>,
    /// Process id and descriptor, for every descriptor known.
    pub descriptors: Vec<(u32, i32)>,
    /// By watch descriptor.
    pub watches: BTreeMap<i32, Watch>,
}

/// How an instance became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It existed before tracing began.
    Found,
    /// It was made by this task.
    Created(Task),
    /// It was made, and nobody knows by whom.
    CreatedUnseen,
}

/// One watch of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What it is on.
    pub target: Target,
    /// What it waits for (`IN_*`).
    pub mask: u32,
}

/// A process that gave up a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The process.
    pub task: Task,
    /// The descriptor it gave up, where that is known.
    pub fd: Option<i32>,
    /// How.
    pub how: Departure,
    /// When.
    pub time: BootTime,
}

/// How a process gave up a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It closed it.
    Closed,
    /// It executed another program, and the descriptor was close-on-exec.
    Executed,
    /// It ended.
    Exited,
}

impl Instance {
    pub(super) fn created(
        id: InstanceId,
        since: BootTime,
        creator: Option<Task>,
        flags: u32,
        charged: Option<User>,
    ) -> Self {
        Self {
            origin: creator.map_or(Origin::CreatedUnseen, Origin::Created),
            creator_cgroup: creator.map(|task| task.cgroup).unwrap_or_default(),
            ..Self::found(id, since, flags, CgroupId::default(), charged)
        }
    }

    pub(super) fn found(
        id: InstanceId,
        since: BootTime,
        flags: u32,
        creator_cgroup: CgroupId,
        charged: Option<User>,
    ) -> Self {
        Self {
            id,
            origin: Origin::Found,
            since,
            creator_cgroup,
            flags,
            charged,
            queued: None,
            served: BTreeSet::new(),
            emptied: None,
            last_leaver: None,
            descriptors: Vec::new(),
            watches: BTreeMap::new(),
        }
    }

    /// Process id and descriptor, for every descriptor known to lead to it.
    #[must_use]
    pub fn descriptors(&self) -> &[(u32, i32)] {
        &self.descriptors
    }

    /// Its watches, by watch descriptor.
    #[must_use]
    pub fn watches(&self) -> &BTreeMap<i32, Watch> {
        &self.watches
    }

    /// When it was over: where its end was noticed only afterwards, when its last holder left.
    #[must_use]
    pub fn ended(&self, release: &Event) -> BootTime {
        match self.last_leaver {
            Some(leaver) if release.task.is_none() => leaver.time,
            _ => release.time,
        }
    }

    pub(super) fn add_descriptor(&mut self, pid: u32, fd: i32) {
        if !self.descriptors.contains(&(pid, fd)) {
            self.descriptors.push((pid, fd));
        }
    }

    pub(super) fn remove_descriptor(&mut self, pid: u32, fd: i32) {
        self.descriptors.retain(|&known| known != (pid, fd));
    }

    /// Whether its first descriptor was made close-on-exec.
    pub(super) fn is_close_on_exec(&self) -> bool {
        self.flags & IN_CLOEXEC != 0
    }

    pub(super) fn left(&mut self, event: &Event, fd: Option<i32>, how: Departure) {
        if let Some(task) = event.task {
            self.last_leaver = Some(Leaver { task, fd, how, time: event.time });
        }
    }

    /// It ends: by the task that released it; by what that task did just before, in the course of
    /// which it did; or, noticed afterwards, by whoever gave up a descriptor right before that.
    pub(super) fn end(&mut self, release: &Event, fd: Option<i32>) {
        let since = |leaver: &Leaver| release.time.since(leaver.time);
        let recent = self.last_leaver.filter(|leaver| since(leaver) < SOON);
        let pid = release.task.map(|task| task.pid);
        let on_the_way_out =
            |leaver: &Leaver| Some(leaver.task.pid) == pid && leaver.how != Departure::Closed;
        self.last_leaver = match (release.task, fd) {
            (None, _) => recent,
            (Some(_), None) if recent.as_ref().is_some_and(on_the_way_out) => recent,
            (Some(_), _) => {
                self.left(release, fd, Departure::Closed);
                self.last_leaver
            }
        };
    }

    /// A watch was added or changed. What was known of it before stays known, where the news
    /// does not say: a watch that was found has no path, a changed one perhaps no inode.
    pub(super) fn add_watch(&mut self, wd: i32, target: &Target, mask: u32) {
        let watch =
            self.watches.entry(wd).or_insert_with(|| Watch { target: Target::default(), mask });
        watch.mask = mask;
        self.emptied = None;
        if let Some(cgroup) = target.cgroup.known().filter(|_| self.served.len() <= SERVED) {
            self.served.insert(cgroup);
        }
        if target.path.is_some() {
            watch.target.path.clone_from(&target.path);
        }
        if target.inode != 0 {
            let path = watch.target.path.take();
            watch.target = Target { path, ..target.clone() };
        }
    }

    /// A watch went: because its holder asked for it, or with its target.
    pub(super) fn remove_watch(&mut self, wd: i32, time: BootTime, on_request: bool) {
        if self.watches.remove(&wd).is_some() && self.watches.is_empty() {
            self.emptied = Some(time);
            if on_request {
                // Its holder is done with what it watched, and may have other plans for it.
                self.served.clear();
            }
        }
    }
}
