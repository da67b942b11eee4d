//! All state, derived from events alone: a recording leads to the same state as the live run. No
//! input or output happens here, and events carry their time.

mod cgroups;
mod counts;
mod floors;
mod instance;
mod lifetimes;
mod process;
mod state;
#[cfg(test)]
mod tests;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

pub use cgroups::{Cgroup, Cgroups};
pub use counts::{Counts, Summary};
pub use floors::{Floors, Row, STRETCHES};
pub use instance::{Departure, Instance, Leaver, MANY, Origin, Overflow, SERVED, Watch};
pub use lifetimes::Lifetimes;
pub use process::Process;
pub use state::Part;
pub use users::{Account, Users};

use crate::{
    event::{BootTime, CgroupId, Charge, Comm, Event, EventKind, InstanceId, Quota, Task},
    identity::{Program, Shim},
};

/// A user that is charged for instances and watches: the inode number of the user namespace, and
/// the uid as seen from the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The user namespace, by inode number.
    pub userns: u32,
    /// The uid as seen from the initial user namespace.
    pub uid: u32,
}

impl User {
    /// The inode number of the initial user namespace: `PROC_USER_INIT_INO` of
    /// `include/linux/proc_ns.h`.
    pub const INITIAL: u32 = 0xEFFF_FFFD;
}

impl From<Quota> for User {
    fn from(quota: Quota) -> Self {
        Self { userns: quota.userns, uid: quota.uid }
    }
}

impl User {
    /// The user who pays at the limit that binds: the charged user, or one in a namespace above.
    #[must_use]
    pub fn payer(quota: Quota) -> Self {
        Self { userns: quota.payer_userns, uid: quota.payer_uid }
    }
}

impl From<Charge> for User {
    fn from(charge: Charge) -> Self {
        Self { userns: charge.userns, uid: charge.uid }
    }
}

/// The most shims that are kept while they hold no instance. A node has one for each pod.
const IDLE_SHIMS: usize = 1024;
/// The most cgroups and commands of which the tracker knows how long their processes last.
const COMMANDS: usize = 4096;

/// The state that a stream of events leads to.
#[derive(Debug, Default)]
pub struct Tracker {
    instances: HashMap<InstanceId, Instance>,
    /// Processes with descriptors that lead to instances, by process id; and shims that had some: they
    /// are identified once.
    processes: HashMap<u32, Process>,
    /// The shims without a descriptor.
    idle_shims: BTreeSet<u32>,
    users: Users,
    cgroups: Cgroups,
    /// How long processes have held instances that do no longer, by cgroup and command.
    ended: BTreeMap<(CgroupId, Comm), Lifetimes>,
    counts: Counts,
    /// The instance that the last event released.
    released: Option<Instance>,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies an event.
    ///
    /// If events were lost, an event may contradict the state: the event counts.
    pub fn apply(&mut self, event: &Event) {
        self.released = None;
        self.counts.add(event);
        self.users.apply(event);
        let pid = event.task.map(|task| task.pid);
        if let Some(task) = event.task
            && let Some(process) = self.processes.get_mut(&task.pid)
        {
            process.task = task;
            if matches!(event.kind, EventKind::ProcessExec { .. }) {
                process.forget_past();
                self.forget_idle(task.pid);
            }
        }
        match &event.kind {
            EventKind::InstanceFound { instance: id, fd, flags, creator_cgroup, quota, queued } => {
                let user = quota.map(User::from);
                let instance = self.instances.entry(*id).or_insert_with(|| {
                    self.users.hold(user);
                    Instance::found(*id, event.time, *flags, *creator_cgroup, user)
                });
                instance.queued = Some(*queued);
                if let Some(task) = event.task {
                    instance.add_descriptor(task.pid, *fd);
                    self.own(event, task, *fd, *id);
                }
            }
            EventKind::InstanceCreated { instance: id, fd, flags, quota } => {
                let user = quota.map(User::from);
                let mut instance = Instance::created(*id, event.time, event.task, *flags, user);
                if let Some(task) = event.task {
                    instance.add_descriptor(task.pid, *fd);
                    self.own(event, task, *fd, *id);
                }
                self.users.hold(user);
                if let Some(replaced) = self.instances.insert(*id, instance) {
                    self.users.let_go(replaced.charged, quota.map(User::payer));
                }
                if let Some(process) = pid.and_then(|pid| self.processes.get_mut(&pid)) {
                    process.began.get_or_insert(event.time);
                }
            }
            EventKind::WatchFound { instance, wd, target, mask }
            | EventKind::WatchAdded { instance, wd, target, mask, .. } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.add_watch(*wd, target, *mask, event.time);
                }
            }
            EventKind::WatchRemoved { instance, wd, fd, .. } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.remove_watch(*wd, event.time, fd.is_some());
                }
            }
            EventKind::DescriptorClosed { instance, fd, .. } => {
                // It did not end the instance: a later leaver does.
                if let Some(pid) = pid {
                    self.disown(pid, *fd, *instance, event.time);
                }
            }
            EventKind::InstanceHeld { instance, .. } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.outlived_leavers();
                }
            }
            EventKind::QueueOverflowed { instance, queued, limit, was_seen } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.overflow(event.time, *queued, *limit, *was_seen);
                }
            }
            EventKind::InstanceReleased { instance: id, fd, .. } => {
                let holder = self.only_holder(*id);
                if let Some(instance) = self.instances.get_mut(id) {
                    instance.end(event, *fd, holder);
                }
                self.release(*id, event);
            }
            EventKind::RangeClosed { first, last } => {
                let range = *first..=*last;
                self.leave(event, Departure::Closed, |fd, _| range.contains(&fd));
            }
            EventKind::ProcessForked { child } => self.fork(pid, *child),
            EventKind::ProcessExec { kept: Some(kept) } => {
                self.leave(event, Departure::Executed, |fd, _| !kept.contains(&fd));
            }
            // The kept descriptors are unknown; most are as they were created.
            EventKind::ProcessExec { kept: None } => {
                self.leave(event, Departure::Executed, |_, instance| instance.is_close_on_exec());
            }
            EventKind::ProcessExited => {
                self.leave(event, Departure::Exited, |_, _| true);
                pid.into_iter().for_each(|pid| self.forget_idle(pid));
            }
            EventKind::CgroupFound { cgroup, path }
            | EventKind::CgroupCreated { cgroup, path }
            | EventKind::CgroupRenamed { cgroup, path } => self.cgroups.name(*cgroup, path),
            EventKind::ContainerNamed { cgroup, container, names } => {
                self.cgroups.name_container(*cgroup, container.as_deref(), names);
            }
            EventKind::ShimIdentified { id, namespace, version } => {
                if let Some(process) = pid.and_then(|pid| self.processes.get_mut(&pid)) {
                    let (id, namespace, version) = (id.clone(), namespace.clone(), version.clone());
                    process.shim = Some(Shim { id, namespace, version });
                }
            }
            EventKind::ProgramIdentified { exe, arguments } => {
                if let Some(process) = pid.and_then(|pid| self.processes.get_mut(&pid)) {
                    let (exe, arguments) = (exe.clone(), arguments.clone());
                    process.program = Some(Program { exe, arguments });
                }
            }
            EventKind::CgroupRemoved { cgroup } => {
                self.cgroups.remove(*cgroup, event.time);
                let of_cgroup = self.ended.range((*cgroup, Comm::default())..);
                let keys: Vec<_> =
                    of_cgroup.map(|it| *it.0).take_while(|key| key.0 == *cgroup).collect();
                for key in keys {
                    self.ended.remove(&key);
                }
            }
            EventKind::CreateFailed { .. }
            | EventKind::WatchFailed { .. }
            | EventKind::Charged { .. }
            | EventKind::Lost { .. } => {}
        }
    }

    /// The event's instance, as it is right after the event; a released one as it was before.
    #[must_use]
    pub fn subject(&self, event: &Event) -> Option<&Instance> {
        let id = event.kind.instance()?;
        self.released.as_ref().filter(|released| released.id == id).or_else(|| self.instance(id))
    }

    /// An open instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// Every open instance, in no order.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// Every process that holds an instance, in no order.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| !process.descriptors.is_empty())
    }

    /// A process that holds an instance.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid).filter(|process| !process.descriptors.is_empty())
    }

    /// The charged users.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The cgroups, with their paths and names.
    #[must_use]
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// How long the processes of a command in a cgroup have held instances, of those that do no
    /// longer; None if that is not known.
    #[must_use]
    pub fn ended(&self, cgroup: CgroupId, comm: Comm) -> Option<Lifetimes> {
        let known = self.ended.get(&(cgroup, comm));
        known.cloned().or_else(|| (self.ended.len() < COMMANDS).then(Lifetimes::default))
    }

    /// The totals until now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.counts.summary(self.instances.len())
    }

    /// Adds a descriptor of an instance. If it referred to another instance, the holder has closed
    /// that one unseen.
    fn own(&mut self, event: &Event, task: Task, fd: i32, id: InstanceId) {
        // The end of a shim may have been lost: then this is another process.
        if self.idle_shims.remove(&task.pid) && !Shim::may_be(&task) {
            self.processes.remove(&task.pid);
        }
        let process = self.processes.entry(task.pid).or_insert_with(|| Process::new(task));
        let before = process.descriptors.insert(fd, id);
        if let Some(before) = before.filter(|&before| before != id)
            && let Some(instance) = self.instances.get_mut(&before)
        {
            instance.remove_descriptor(task.pid, fd);
            let (how, time) = (Departure::Closed, event.time);
            instance.left(Leaver { task, fd: Some(fd), how, time });
        }
    }

    /// The only known holder of an instance; None if there are none or several.
    fn only_holder(&self, id: InstanceId) -> Option<Task> {
        let descriptors = self.instance(id)?.descriptors();
        let &(pid, _) = descriptors.first()?;
        let is_alone = descriptors.iter().all(|&(other, _)| other == pid);
        self.process(pid).filter(|_| is_alone).map(|process| process.task)
    }

    /// Instances that all known holders have given up. The kernel frees them a moment later, unless
    /// an unknown process holds them.
    pub fn given_up(&self) -> impl Iterator<Item = &Instance> {
        self.instances().filter(|instance| instance.is_given_up())
    }

    /// Removes a closed descriptor.
    fn disown(&mut self, pid: u32, fd: i32, id: InstanceId, time: BootTime) {
        if let Some(process) = self.processes.get_mut(&pid) {
            if process.descriptors.get(&fd) == Some(&id) {
                process.descriptors.remove(&fd);
            }
            self.rest(pid, time);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.remove_descriptor(pid, fd);
        }
    }

    /// Forgets a process that holds no instance any more, unless it is a shim.
    fn rest(&mut self, pid: u32, time: BootTime) {
        let Entry::Occupied(mut process) = self.processes.entry(pid) else { return };
        if !process.get().descriptors.is_empty() {
            return;
        }
        if let Some(began) = process.get_mut().began.take() {
            let task = process.get().task;
            let key = (task.cgroup, task.comm);
            if self.ended.len() < COMMANDS || self.ended.contains_key(&key) {
                self.ended.entry(key).or_default().add(time.since(began));
            }
        }
        if process.get().shim.is_some() && self.idle_shims.len() < IDLE_SHIMS {
            self.idle_shims.insert(pid);
        } else {
            process.remove();
        }
    }

    /// Forgets a process that is kept as a shim.
    fn forget_idle(&mut self, pid: u32) {
        if self.idle_shims.remove(&pid) {
            self.processes.remove(&pid);
        }
    }

    /// Removes the descriptors of the event's process for which `lost` returns true.
    fn leave(&mut self, event: &Event, how: Departure, lost: impl Fn(i32, &Instance) -> bool) {
        let Some(task) = event.task else { return };
        let (pid, time) = (task.pid, event.time);
        let Some(process) = self.processes.get(&pid) else { return };
        let is_lost = |&(fd, id): &(i32, InstanceId)| {
            self.instances.get(&id).is_some_and(|instance| lost(fd, instance))
        };
        let gone: Vec<_> =
            process.descriptors.iter().map(|(&fd, &id)| (fd, id)).filter(is_lost).collect();
        for (fd, id) in gone {
            self.disown(pid, fd, id, time);
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.left(Leaver { task, fd: Some(fd), how, time });
            }
        }
    }

    /// Gives the child the descriptors of its parent.
    fn fork(&mut self, parent: Option<u32>, child: u32) {
        let Some(mut process) = parent.and_then(|pid| self.process(pid)).cloned() else {
            return;
        };
        for (&fd, id) in &process.descriptors {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.add_descriptor(child, fd);
            }
        }
        (process.task.pid, process.task.tid) = (child, child);
        process.forget_past();
        self.processes.insert(child, process);
    }

    /// Removes an instance and all its descriptors.
    fn release(&mut self, id: InstanceId, event: &Event) {
        let Some(instance) = self.instances.remove(&id) else { return };
        // The user whose count the event has.
        self.users.let_go(instance.charged, event.kind.quota().map(User::payer));
        let time = instance.ended(event);
        if let Origin::Created(task) = instance.origin
            && let Some(creator) = self.processes.get_mut(&task.pid)
        {
            // It lives on, so that it has let go of the instance.
            creator.closed.add(time.since(instance.since));
        }
        for &(pid, fd) in instance.descriptors() {
            if let Some(process) = self.processes.get_mut(&pid) {
                process.descriptors.remove(&fd);
                self.rest(pid, time);
            }
        }
        self.released = Some(instance);
    }
}
