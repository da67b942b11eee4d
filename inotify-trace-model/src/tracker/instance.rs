//! An instance, its watches and its holders.

use std::collections::{BTreeMap, BTreeSet};

use super::{Floors, User};
use crate::event::{BootTime, CgroupId, Event, IN_CLOEXEC, InstanceId, Table, Target, Task};

/// The number of latest leavers that an instance keeps: enough for the processes of one kill, and a
/// bound for a holder that forks without end.
const LEAVERS: usize = 16;

/// An instance that has watched more cgroups than this serves none in particular.
pub const SERVED: usize = 16;

/// The number of watches from which the tracker follows how it changes: most instances have fewer.
pub const MANY: usize = 16;

/// An open instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// How it became known.
    pub origin: Origin,
    /// When it became known: its creation, if that was seen.
    pub since: BootTime,
    /// The cgroup of its creator.
    pub creator_cgroup: CgroupId,
    /// Flags of its first descriptor (`IN_NONBLOCK`, `IN_CLOEXEC`).
    pub flags: u32,
    /// The charged user.
    pub charged: Option<User>,
    /// Unread events at the time of the snapshot; None if its creation was seen.
    pub queued: Option<u32>,
    /// Its queue's overflow, if there was one.
    pub overflow: Option<Overflow>,
    /// The cgroups whose files it watches or has watched: at most one more than [`SERVED`].
    pub served: BTreeSet<CgroupId>,
    /// The names of these files, the empty one for those unknown: at most one more than [`SERVED`].
    pub files: BTreeSet<Box<str>>,
    /// When its last watch was removed; None if it has watches, or never had one.
    pub emptied: Option<BootTime>,
    /// Known holders that gave it up, the latest last, at most one entry per process. One of them
    /// ends it, unless it is seen to exist after they have finished giving it up.
    pub leavers: Vec<Leaver>,
    /// The process that ended it; None while it is open, or if several may have.
    pub ended_by: Option<Leaver>,
    /// Every known descriptor.
    pub descriptors: Vec<Descriptor>,
    /// By watch descriptor.
    pub watches: BTreeMap<i32, Watch>,
    /// How the number of its watches has changed, once it has had [`MANY`].
    pub floors: Option<Box<Floors>>,
}

/// How an instance became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It existed before tracing began.
    Found,
    /// This task created it.
    Created(Task),
    /// It was created by an unknown task.
    CreatedUnseen,
}

/// A descriptor of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor {
    /// The process.
    pub pid: u32,
    /// The descriptor table.
    pub table: Table,
    /// The number.
    pub fd: i32,
}

/// One watch of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its target.
    pub target: Target,
    /// The events it waits for (`IN_*`).
    pub mask: u32,
}

/// The overflows of an instance's queue: the kernel has dropped events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The first time.
    pub since: BootTime,
    /// The last time that one began.
    pub last: BootTime,
    /// Whether the first was seen as it happened; if not, `since` is when the queue was looked at.
    pub was_seen: bool,
    /// Events that waited to be read at the last time.
    pub queued: u32,
    /// How many may wait; 0 if unknown.
    pub limit: u32,
}

/// A process that gave up a descriptor. The kernel may free the instance later: even then, this
/// process ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The process.
    pub task: Task,
    /// The descriptor it gave up, if known.
    pub fd: Option<i32>,
    /// How it gave it up.
    pub how: Departure,
    /// When it gave it up.
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
            overflow: None,
            served: BTreeSet::new(),
            files: BTreeSet::new(),
            emptied: None,
            leavers: Vec::new(),
            ended_by: None,
            descriptors: Vec::new(),
            watches: BTreeMap::new(),
            floors: None,
        }
    }

    /// Every known descriptor.
    #[must_use]
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// Its watches, by watch descriptor.
    #[must_use]
    pub fn watches(&self) -> &BTreeMap<i32, Watch> {
        &self.watches
    }

    /// Events that waited to be read when that was last known; 0 if it never was.
    #[must_use]
    pub fn unread(&self) -> u32 {
        self.overflow.map(|it| it.queued).or(self.queued).unwrap_or_default()
    }

    /// When it ended: the time its last holder left, if the end was noticed only afterwards.
    #[must_use]
    pub fn ended(&self, release: &Event) -> BootTime {
        match self.ended_by {
            Some(leaver) if release.task.is_none() => leaver.time,
            _ => release.time,
        }
    }

    /// Whether every known holder has given it up, and it has not been seen to exist since.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.descriptors.is_empty() && !self.leavers.is_empty()
    }

    /// Forgets the leavers: the instance still exists after all of them have finished giving it up,
    /// so another process holds it.
    pub(super) fn outlived_leavers(&mut self) {
        self.leavers.clear();
    }

    pub(super) fn add_descriptor(&mut self, descriptor: Descriptor) {
        self.leavers.retain(|leaver| leaver.task.pid != descriptor.pid);
        if !self.descriptors.contains(&descriptor) {
            self.descriptors.push(descriptor);
        }
    }

    pub(super) fn remove_descriptor(&mut self, descriptor: Descriptor) {
        self.descriptors.retain(|&known| known != descriptor);
    }

    /// Whether its first descriptor was created close-on-exec.
    pub(super) fn is_close_on_exec(&self) -> bool {
        self.flags & IN_CLOEXEC != 0
    }

    /// Adds a process that gave up a descriptor. The entry is removed when the process is seen to
    /// hold the instance again.
    pub(super) fn left(&mut self, leaver: Leaver) {
        self.leavers.retain(|other| other.task.pid != leaver.task.pid);
        if self.leavers.len() == LEAVERS {
            self.leavers.remove(0);
        }
        self.leavers.push(leaver);
    }

    /// Sets the process that ended it. `holder` is the only known holder, None if there are none or
    /// several.
    ///
    /// That process follows from the actions of the holders, in their order, and never from elapsed
    /// time: a busy machine takes seconds to free the instances of a process.
    pub(super) fn end(&mut self, release: &Event, fd: Option<i32>, holder: Option<Task>) {
        let closed = |task, fd| Leaver { task, fd, how: Departure::Closed, time: release.time };
        self.ended_by = match release.task {
            // The kernel names the process. Without a descriptor it does not say how: by exit or
            // exec, if that is how this process gave up its last descriptor.
            Some(task) => {
                let is_its_own = |leaver: &&Leaver| leaver.task.pid == task.pid;
                let holds = self.descriptors.iter().any(|it| it.pid == task.pid);
                let left = self.leavers.iter().find(is_its_own).filter(|_| fd.is_none() && !holds);
                let on_the_way_out = left.filter(|leaver| leaver.how != Departure::Closed);
                Some(on_the_way_out.copied().unwrap_or_else(|| closed(task, fd)))
            }
            // Noticed afterwards, when all had left: the last of them ended it.
            None if self.descriptors.is_empty() => self.leavers.last().copied(),
            // Noticed afterwards, and no holder was seen to leave: the only holder has closed it in
            // a way that is not seen. With several holders, or after others left, it can be any.
            None if self.leavers.is_empty() => holder.map(|task| {
                let fd = match self.descriptors[..] {
                    [Descriptor { fd, .. }] => Some(fd),
                    _ => None,
                };
                closed(task, fd)
            }),
            None => None,
        };
    }

    /// Adds or changes a watch. Absent fields of the new target keep their old values: a watch of
    /// the snapshot may have no path, a changed one no inode.
    pub(super) fn add_watch(&mut self, wd: i32, target: &Target, mask: u32, time: BootTime) {
        let before = self.watches.len();
        let watch =
            self.watches.entry(wd).or_insert_with(|| Watch { target: Target::default(), mask });
        watch.mask = mask;
        self.emptied = None;
        if let Some(cgroup) = target.cgroup.known() {
            if self.served.len() <= SERVED {
                self.served.insert(cgroup);
            }
            if self.files.len() <= SERVED {
                self.files.insert(target.file_name().unwrap_or_default().into());
            }
        }
        if target.path.is_some() {
            watch.target.path.clone_from(&target.path);
            watch.target.resolved.clone_from(&target.resolved);
        }
        if target.inode != 0 {
            let (path, resolved) = (watch.target.path.take(), watch.target.resolved.take());
            let Target { silence, is_gone, inode, dev, cgroup, ref file, .. } = *target;
            let file = file.clone();
            watch.target = Target { path, resolved, silence, is_gone, inode, dev, cgroup, file };
        }
        self.number_changed(before, time);
    }

    /// Follows the number of watches.
    fn number_changed(&mut self, before: usize, time: BootTime) {
        let now = self.watches.len();
        if now == before || (self.floors.is_none() && now < MANY) {
            return;
        }
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        self.floors.get_or_insert_default().change(time, number(before), number(now));
    }

    /// Its queue has overflowed.
    pub(super) fn overflow(&mut self, time: BootTime, queued: u32, limit: u32, was_seen: bool) {
        let new = Overflow { since: time, last: time, was_seen, queued, limit };
        let overflow = self.overflow.get_or_insert(new);
        (overflow.last, overflow.queued, overflow.limit) = (time, queued, limit);
    }

    /// Removes a watch, on the holder's request or with its target.
    pub(super) fn remove_watch(&mut self, wd: i32, time: BootTime, on_request: bool) {
        let before = self.watches.len();
        let was_known = self.watches.remove(&wd).is_some();
        self.number_changed(before, time);
        if was_known && self.watches.is_empty() {
            self.emptied = Some(time);
            if on_request {
                // The holder removed its last watch, and may use the instance for another purpose.
                self.served.clear();
                self.files.clear();
            }
        }
    }
}
