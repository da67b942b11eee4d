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
mod worth;

use std::collections::{BTreeMap, BTreeSet, hash_map::Entry};

pub use cgroups::{Cgroup, Cgroups};
pub use counts::{Counts, Summary};
pub use floors::{Floors, Row, STRETCHES};
pub use instance::{
    Departure, Descriptor, Instance, Leaver, MANY, Origin, Overflow, SERVED, Watch,
};
pub use lifetimes::Lifetimes;
pub use process::Process;
pub use state::Part;
pub use users::{Account, Users};
pub use worth::{CEILING, Forgotten};

use crate::{
    event::{
        BootTime, CgroupId, Charge, Comm, Event, EventKind, InstanceId, Loss, Quota, Table, Task,
    },
    identity::{Program, Shim},
    numbered::ByNumber,
    resource::Resource,
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
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    instances: ByNumber<InstanceId, Instance>,
    /// Processes with descriptors that lead to instances, by process id; and shims that had some: they
    /// are identified once.
    processes: ByNumber<u32, Process>,
    /// The shims without a descriptor.
    idle_shims: BTreeSet<u32>,
    users: Users,
    cgroups: Cgroups,
    /// How long processes have held instances that do no longer, by cgroup and command.
    ended: BTreeMap<(CgroupId, Comm), Lifetimes>,
    counts: Counts,
    /// The latest answers about charges, and their time. A failure needs those of its own moment, so that
    /// they are not part of the state that a recording begins with.
    counted: (BootTime, Vec<Charge>),
    /// The instance that the last event released.
    released: Option<Instance>,
    growth: worth::Growth,
    /// Instances that were forgotten.
    forgotten_instances: u64,
    /// Whether events are missing since the state was last replaced.
    is_uncertain: bool,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Events are missing here: what was known may be over.
    pub fn miss_events(&mut self) {
        self.is_uncertain = true;
    }

    /// Whether events are missing, so that the state may be wrong: no verdict can rest on it.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Applies an event.
    ///
    /// If events were lost, an event may contradict the state: the event counts.
    pub fn apply(&mut self, event: &Event) {
        self.released = None;
        self.count_growth(event);
        self.counts.add(event);
        self.users.apply(event);
        self.learn_by_use(event);
        if let EventKind::Charged { charges } = &event.kind {
            if self.counted.0 != event.time {
                self.counted = (event.time, Vec::new());
            }
            self.counted.1.extend(charges);
        }
        let pid = event.task.map(|task| task.pid);
        let table = event.task.and_then(|task| task.table);
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
                    instance.add_descriptor(descriptor(task, *fd));
                    self.own(event, task, *fd, *id);
                }
            }
            EventKind::InstanceCreated { instance: id, fd, flags, quota } => {
                let user = quota.map(User::from);
                let mut instance = Instance::created(*id, event.time, event.task, *flags, user);
                if let Some(task) = event.task {
                    instance.add_descriptor(descriptor(task, *fd));
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
                if let Some(task) = event.task {
                    self.disown(descriptor(task, *fd), *instance, event.time);
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
                let (range, own) = (*first..=*last, table);
                let is_lost = |table, fd, _: &_| table == own && range.contains(&fd);
                self.leave(event, Departure::Closed, is_lost);
            }
            EventKind::ProcessForked { child } => self.fork(event.task, *child),
            EventKind::ProcessExec { kept: Some(kept) } => {
                let is_lost = |own, fd, _: &_| own != table || !kept.contains(&fd);
                self.leave(event, Departure::Executed, is_lost);
                self.share(event.task);
            }
            // The kept descriptors are unknown; most are as they were created.
            EventKind::ProcessExec { kept: None } => {
                let is_lost = |own, _, it: &Instance| own != table || it.is_close_on_exec();
                self.leave(event, Departure::Executed, is_lost);
                self.share(event.task);
            }
            EventKind::ProcessExited => {
                let is_lost = |own, _, _: &_| table.is_none() || own == table;
                self.leave(event, Departure::Exited, is_lost);
                if table.is_none() {
                    pid.into_iter().for_each(|pid| self.forget_idle(pid));
                }
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
            EventKind::Lost { count, what: what @ (Loss::Instances | Loss::Cgroups) } => {
                self.forget_some(*what, *count);
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

    /// The number that was charged to a user at exactly this time, if the kernel was asked then.
    #[must_use]
    pub fn counted(&self, time: BootTime, user: User, resource: Resource) -> Option<u32> {
        let (at, charges) = &self.counted;
        let mut charges = charges.iter().filter(|charge| User::from(**charge) == user);
        let charge = charges.find(|_| *at == time)?;
        charge.of(resource).map(|count| count.used)
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
        let before = process.descriptors.insert((task.table, fd), id);
        if let Some(before) = before.filter(|&before| before != id)
            && let Some(instance) = self.instances.get_mut(&before)
        {
            instance.remove_descriptor(descriptor(task, fd));
            let (how, time) = (Departure::Closed, event.time);
            instance.left(Leaver { task, fd: Some(fd), how, time });
        }
    }

    /// A process that uses an instance holds it, though it may have got the descriptor unseen: by dup(2),
    /// through a socket, or with a copy of a table.
    fn learn_by_use(&mut self, event: &Event) {
        let (instance, fd) = match event.kind {
            EventKind::WatchAdded { instance, fd, .. }
            | EventKind::WatchFailed { instance: Some(instance), fd, .. }
            | EventKind::WatchRemoved { instance, fd: Some(fd), .. } => (instance, fd),
            _ => return,
        };
        let Some(task) = event.task else { return };
        let Some(used) = self.instances.get_mut(&instance) else { return };
        let descriptor = descriptor(task, fd);
        if !used.descriptors().contains(&descriptor) {
            used.add_descriptor(descriptor);
            self.own(event, task, fd, instance);
        }
    }

    /// The only known holder of an instance; None if there are none or several.
    fn only_holder(&self, id: InstanceId) -> Option<Task> {
        let descriptors = self.instance(id)?.descriptors();
        let pid = descriptors.first()?.pid;
        let is_alone = descriptors.iter().all(|other| other.pid == pid);
        self.process(pid).filter(|_| is_alone).map(|process| process.task)
    }

    /// Instances that all known holders have given up. The kernel frees them a moment later, unless
    /// an unknown process holds them.
    pub fn given_up(&self) -> impl Iterator<Item = &Instance> {
        self.instances().filter(|instance| instance.is_given_up())
    }

    /// Removes a closed descriptor.
    fn disown(&mut self, descriptor: Descriptor, id: InstanceId, time: BootTime) {
        let Descriptor { pid, table, fd } = descriptor;
        if let Some(process) = self.processes.get_mut(&pid) {
            if process.descriptors.get(&(table, fd)) == Some(&id) {
                process.descriptors.remove(&(table, fd));
            }
            self.rest(pid, time);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.remove_descriptor(descriptor);
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
    fn leave(
        &mut self,
        event: &Event,
        how: Departure,
        lost: impl Fn(Table, i32, &Instance) -> bool,
    ) {
        let Some(task) = event.task else { return };
        let (pid, time) = (task.pid, event.time);
        let Some(process) = self.processes.get(&pid) else { return };
        let is_lost = |&(&(table, fd), id): &(&(Table, i32), &InstanceId)| {
            self.instances.get(id).is_some_and(|instance| lost(table, fd, instance))
        };
        let gone: Vec<_> = process.descriptors.iter().filter(is_lost).collect();
        let gone: Vec<_> = gone.into_iter().map(|(&place, &id)| (place, id)).collect();
        for ((table, fd), id) in gone {
            self.disown(Descriptor { pid, table, fd }, id, time);
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.left(Leaver { task, fd: Some(fd), how, time });
            }
        }
    }

    /// Makes the table in `task` the only one of its process.
    fn share(&mut self, task: Option<Task>) {
        let Some(Task { pid, table: table @ Some(_), .. }) = task else { return };
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let descriptors = std::mem::take(&mut process.descriptors);
        process.descriptors =
            descriptors.into_iter().map(|((_, fd), id)| ((None, fd), id)).collect();
        for (&(_, fd), id) in &process.descriptors {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.remove_descriptor(Descriptor { pid, table, fd });
                instance.add_descriptor(Descriptor { pid, table: None, fd });
            }
        }
        process.task.table = None;
    }

    /// Gives the child the descriptors in the table of the thread that forked.
    fn fork(&mut self, parent: Option<Task>, child: u32) {
        let Some(parent) = parent else { return };
        let Some(mut process) = self.process(parent.pid).cloned() else { return };
        let all = std::mem::take(&mut process.descriptors);
        let copied = all.into_iter().filter(|((table, _), _)| *table == parent.table);
        process.descriptors = copied.map(|((_, fd), id)| ((None, fd), id)).collect();
        if process.descriptors.is_empty() {
            return;
        }
        for (&(table, fd), id) in &process.descriptors {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.add_descriptor(Descriptor { pid: child, table, fd });
            }
        }
        // The child's only thread is a copy of the one that forked.
        process.task = Task { pid: child, tid: child, table: None, thread: None, ..process.task };
        process.task.comm = parent.thread_name();
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
        for &Descriptor { pid, table, fd } in instance.descriptors() {
            if let Some(process) = self.processes.get_mut(&pid) {
                process.descriptors.remove(&(table, fd));
                self.rest(pid, time);
            }
        }
        self.released = Some(instance);
    }
}

/// A descriptor in the table of a task.
fn descriptor(task: Task, fd: i32) -> Descriptor {
    Descriptor { pid: task.pid, table: task.table, fd }
}
