//! One instance and what is known about it.

use std::collections::{BTreeMap, BTreeSet};

use super::User;
use crate::event::{BootTime, CgroupId, Event, IN_CLOEXEC, InstanceId, Target, Task};

/// How many processes that gave up an instance are remembered, the latest: enough for all that can
/// be killed together, and a holder may fork for ever.
const LEAVERS: usize = 16;

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
    /// Known holders that gave it up, the latest last, at most one entry a process: one of them ends
    /// it, unless it is seen to be held after they are through with giving it up.
    pub leavers: Vec<Leaver>,
    /// Who ended it; None while it is open, and where several may have.
    pub ended_by: Option<Leaver>,
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

/// A process that gave up a descriptor. The kernel may take its time to free what was given up: what
/// is noticed to be gone later is still the doing of who left.
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
            leavers: Vec::new(),
            ended_by: None,
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
        match self.ended_by {
            Some(leaver) if release.task.is_none() => leaver.time,
            _ => release.time,
        }
    }

    /// Whether every holder that is known has given it up, and it is not known to be held since.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.descriptors.is_empty() && !self.leavers.is_empty()
    }

    /// It is still held, after all who gave it up are through with that: by somebody else.
    pub(super) fn outlived_leavers(&mut self) {
        self.leavers.clear();
    }

    pub(super) fn add_descriptor(&mut self, pid: u32, fd: i32) {
        self.leavers.retain(|leaver| leaver.task.pid != pid);
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

    /// A process gave up a descriptor. The entry goes when the process is seen to hold it again.
    pub(super) fn left(&mut self, leaver: Leaver) {
        self.leavers.retain(|other| other.task.pid != leaver.task.pid);
        if self.leavers.len() == LEAVERS {
            self.leavers.remove(0);
        }
        self.leavers.push(leaver);
    }

    /// It ends. `holder` is the task of the one process that is known to hold it, where there is
    /// just one.
    ///
    /// Who ended it follows from who held it and what each of them did, in the order in which that
    /// happened, and never from how much time has passed: a busy machine takes seconds to free what
    /// a process held.
    pub(super) fn end(&mut self, release: &Event, fd: Option<i32>, holder: Option<Task>) {
        let closed = |task, fd| Leaver { task, fd, how: Departure::Closed, time: release.time };
        self.ended_by = match release.task {
            // The kernel names who did it. Without a descriptor it is not said how: in the course of
            // an exit or exec, if that is how this process gave up the last one it had.
            Some(task) => {
                let is_its_own = |leaver: &&Leaver| leaver.task.pid == task.pid;
                let holds = self.descriptors.iter().any(|&(pid, _)| pid == task.pid);
                let left = self.leavers.iter().find(is_its_own).filter(|_| fd.is_none() && !holds);
                let on_the_way_out = left.filter(|leaver| leaver.how != Departure::Closed);
                Some(on_the_way_out.copied().unwrap_or_else(|| closed(task, fd)))
            }
            // Noticed afterwards, when all had left: it was the last of them.
            None if self.descriptors.is_empty() => self.leavers.last().copied(),
            // Noticed afterwards, and nobody was seen to leave: the only holder has closed it in a way
            // that is not seen. Of several, or if others have left as well, it can be any.
            None if self.leavers.is_empty() => holder.map(|task| {
                let fd = match self.descriptors[..] {
                    [(_, fd)] => Some(fd),
                    _ => None,
                };
                closed(task, fd)
            }),
            None => None,
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
