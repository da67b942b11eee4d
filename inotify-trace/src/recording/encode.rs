//! Turns events and state into frames.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{
        BootTime, CgroupId, Charge, Comm, Event, EventKind, Files, Level, Loss, Quota, Silence,
        Target, Task,
    },
    feed::Batch,
    identity::{Container, Names, Program, Runtime, Shim},
    tracker::{
        Account, Departure, Descriptor, Forgotten, Instance, Leaver, Origin, Overflow, Part,
        Process, User,
    },
};

use super::wire;

/// The most events, parts and batches in a frame, all of which a reader has in memory at once.
pub(super) const EVENTS: usize = 8192;

/// The most bytes of paths and names in a frame, without those of the last event.
pub(super) const TEXT: usize = 256 << 10;

/// Fills a frame.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    frame: wire::Frame,
    tasks: HashMap<Task, u32>,
    payers: HashMap<wire::Payer, u32>,
    /// The time of the previous event.
    before: BootTime,
    events: usize,
    text: usize,
}

impl Encoder {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.frame.batches.is_empty() && self.frame.parts.is_empty()
    }

    /// Whether the frame has reached its limits.
    pub(super) fn is_full(&self) -> bool {
        self.events >= EVENTS || self.text >= TEXT
    }

    /// Returns the frame, and begins the next one.
    pub(super) fn take(&mut self) -> wire::Frame {
        std::mem::take(self).frame
    }

    /// Discards the state so far; parts follow.
    pub(super) fn restart(&mut self) {
        self.frame.restarts = true;
    }

    /// Adds a part of the state.
    pub(super) fn part(&mut self, part: Part) {
        // A part is about as large as an event, without its text.
        self.events += 1;
        let kind = match part {
            Part::Forgotten(Forgotten { instances, cgroups }) => {
                wire::PartKind::Forgotten(wire::Forgotten { instances, cgroups })
            }
            Part::Cgroup { id, path, container, removed } => {
                self.text += path.len();
                let removed = removed.map(|time| time.0);
                let container = container.map(|it| to_container(*it));
                let (id, path) = (id.0, path.into());
                wire::PartKind::Cgroup(wire::CgroupPart { id, path, removed, container })
            }
            Part::Names { cgroup, container, names } => {
                wire::PartKind::Names(self.names(cgroup, container, *names))
            }
            Part::Account { user, account } => {
                self.events += account.payers.len();
                wire::PartKind::Account(to_account(user, &account))
            }
            Part::Process(process) => {
                self.events += process.descriptors.len();
                wire::PartKind::Process(to_process(&process))
            }
            Part::Instance(instance) => {
                self.events += instance.descriptors.len();
                self.events += instance.floors.as_ref().map_or(0, |it| it.rows().len());
                wire::PartKind::Instance(to_instance(*instance))
            }
            Part::Watches { instance, watches } => {
                self.events += watches.len();
                let watches = watches.into_iter().map(|(wd, watch)| {
                    let target = self.target(watch.target);
                    wire::WatchFound { wd, mask: watch.mask, target }
                });
                let watches = watches.collect();
                wire::PartKind::Watches(wire::Watches { instance: instance.0, watches })
            }
            Part::Ended { cgroup, comm, lifetimes } => wire::PartKind::Ended(wire::Ended {
                cgroup: cgroup.0,
                comm: bytes::Bytes::copy_from_slice(comm.as_bytes()),
                lifetimes: lifetimes.counts().to_vec(),
            }),
        };
        self.frame.parts.push(wire::Part { kind: Some(kind) });
    }

    /// Adds as much of a batch as fits; the rest is left in it.
    pub(super) fn batch(&mut self, batch: &mut Batch) {
        // Batches without events count, too: else a frame of these would never be full.
        self.events += 1;
        let mut events = Vec::with_capacity(batch.events.len().min(EVENTS));
        let mut rest = std::mem::take(&mut batch.events).into_iter();
        while !self.is_full()
            && let Some(event) = rest.next()
        {
            events.push(self.event(event));
        }
        batch.events = rest.collect();
        // Only the last piece of a batch is judged.
        let judged = batch.judged && batch.events.is_empty();
        self.frame.batches.push(wire::Batch { time: batch.time.0, judged, events });
    }

    fn event(&mut self, event: Event) -> wire::Event {
        self.events += 1;
        let time = event.time.0.wrapping_sub(self.before.0).cast_signed();
        self.before = event.time;
        let quota = event.kind.quota();
        wire::Event {
            time,
            task: event.task.map_or(0, |task| self.task(task)),
            instance: event.kind.instance().map_or(0, |instance| instance.0),
            payer: quota.map_or(0, |quota| self.payer(quota)),
            used: quota.map_or(0, |quota| quota.used),
            kind: Some(self.kind(event.kind)),
        }
    }

    fn task(&mut self, task: Task) -> u32 {
        *self.tasks.entry(task).or_insert_with(|| {
            self.frame.tasks.push(to_task(&task));
            place(self.frame.tasks.len())
        })
    }

    fn payer(&mut self, quota: Quota) -> u32 {
        let Quota { limit, uid, userns, level, .. } = quota;
        let above = (User::payer(quota) != User::from(quota)).then(|| to_user(User::payer(quota)));
        let payer = wire::Payer { limit, uid, userns, level, above };
        *self.payers.entry(payer).or_insert_with(|| {
            self.frame.payers.push(payer);
            place(self.frame.payers.len())
        })
    }

    fn kind(&mut self, kind: EventKind) -> wire::Kind {
        match kind {
            EventKind::InstanceFound { fd, flags, creator_cgroup, queued, .. } => {
                let creator_cgroup = creator_cgroup.0;
                wire::Kind::InstanceFound(wire::InstanceFound { fd, flags, creator_cgroup, queued })
            }
            EventKind::WatchFound { wd, target, mask, .. } => {
                let target = self.target(target);
                wire::Kind::WatchFound(wire::WatchFound { wd, mask, target })
            }
            EventKind::InstanceCreated { fd, flags, .. } => {
                wire::Kind::InstanceCreated(wire::Descriptor { fd, flags })
            }
            EventKind::CreateFailed { flags, errno, files, .. } => {
                let files = files.map(|Files { used, limit }| wire::Files { used, limit });
                wire::Kind::CreateFailed(wire::CreateFailed { flags, errno, files })
            }
            EventKind::WatchAdded { fd, wd, target, mask, .. } => {
                let target = self.target(target);
                wire::Kind::WatchAdded(wire::WatchAdded { fd, wd, mask, target })
            }
            EventKind::WatchFailed { fd, path, mask, errno, .. } => {
                let path = path.map(|path| self.text(path));
                wire::Kind::WatchFailed(wire::WatchFailed { fd, path, mask, errno })
            }
            EventKind::WatchRemoved { fd, wd, .. } => {
                wire::Kind::WatchRemoved(wire::WatchRemoved { fd, wd })
            }
            EventKind::DescriptorClosed { fd, left, .. } => {
                wire::Kind::DescriptorClosed(wire::DescriptorClosed { fd, left })
            }
            EventKind::InstanceHeld { left, .. } => wire::Kind::InstanceHeld(left),
            EventKind::QueueOverflowed { queued, limit, was_seen, .. } => {
                wire::Kind::QueueOverflowed(wire::QueueOverflowed { queued, limit, was_seen })
            }
            EventKind::InstanceReleased { fd, .. } => {
                wire::Kind::InstanceReleased(wire::Released { fd })
            }
            EventKind::RangeClosed { first, last } => {
                wire::Kind::RangeClosed(wire::RangeClosed { first, last })
            }
            EventKind::ProcessForked { child } => wire::Kind::ProcessForked(child),
            EventKind::ProcessExec { kept } => {
                self.text += kept.as_ref().map_or(0, |kept| kept.len() * size_of::<i32>());
                wire::Kind::ProcessExec(wire::ProcessExec {
                    is_known: kept.is_some(),
                    kept: kept.unwrap_or_default(),
                })
            }
            EventKind::ProcessExited => wire::Kind::ProcessExited(wire::Nothing {}),
            EventKind::Charged { charges } => {
                self.events += charges.len();
                let charges = charges.iter().copied().map(to_charge).collect();
                wire::Kind::Charged(wire::Charged { charges })
            }
            EventKind::CgroupFound { cgroup, path } => {
                wire::Kind::CgroupFound(self.cgroup(cgroup, path))
            }
            EventKind::ContainerNamed { cgroup, container, names } => {
                wire::Kind::ContainerNamed(self.names(cgroup, container, *names))
            }
            EventKind::ShimIdentified { id, namespace, version } => {
                let shim = Shim { id, namespace, version };
                self.text += shim.id.len() + shim.namespace.len();
                wire::Kind::ShimIdentified(to_shim(&shim))
            }
            EventKind::ProgramIdentified { exe, arguments } => {
                let texts = exe.iter().chain(&arguments);
                self.text += texts.map(|text| text.len()).sum::<usize>();
                wire::Kind::ProgramIdentified(to_program(Program { exe, arguments }))
            }
            EventKind::CgroupCreated { cgroup, path } => {
                wire::Kind::CgroupCreated(self.cgroup(cgroup, path))
            }
            EventKind::CgroupRenamed { cgroup, path } => {
                wire::Kind::CgroupRenamed(self.cgroup(cgroup, path))
            }
            EventKind::CgroupRemoved { cgroup } => wire::Kind::CgroupRemoved(cgroup.0),
            EventKind::Lost { count, what } => {
                wire::Kind::Lost(wire::Lost { count, what: to_loss(what).into() })
            }
        }
    }

    fn text(&mut self, text: Box<str>) -> String {
        self.text += text.len();
        text.into()
    }

    /// None for an unknown target.
    fn target(&mut self, target: Target) -> Option<wire::Target> {
        if target == Target::default() {
            return None;
        }
        let Target { path, resolved, silence, is_gone, inode, dev, cgroup, file } = target;
        let [path, resolved, file] = [path, resolved, file].map(|text| Some(self.text(text?)));
        let silence = match silence {
            None => 0,
            Some(Silence::NotAsked) => 1,
            Some(Silence::NoAnswer) => 2,
        };
        Some(wire::Target { path, is_gone, inode, dev, cgroup: cgroup.0, resolved, file, silence })
    }

    fn cgroup(&mut self, id: CgroupId, path: Box<str>) -> wire::Cgroup {
        wire::Cgroup { id: id.0, path: self.text(path) }
    }

    fn names(
        &mut self,
        cgroup: CgroupId,
        container: Option<Box<Container>>,
        names: Names,
    ) -> wire::ContainerNamed {
        let Names { name, pod_name, namespace, image, is_sandbox } = names;
        let texts = [&name, &pod_name, &namespace, &image];
        self.text += texts.into_iter().flatten().map(String::len).sum::<usize>();
        wire::ContainerNamed {
            cgroup: cgroup.0,
            name,
            pod_name,
            namespace,
            image,
            is_sandbox,
            container: container.map(|it| to_container(*it)),
        }
    }
}

fn to_container(container: Container) -> wire::Container {
    let Container { runtime, id, pod, qos, outer } = container;
    wire::Container {
        runtime: runtime.map_or("", Runtime::as_str).to_owned(),
        id,
        pod: pod.map(|pod| pod.as_str().to_owned()),
        qos: qos.map(|qos| qos.as_str().to_owned()),
        outer: outer.map(|outer| Box::new(to_container(*outer))),
    }
}

/// An index plus one, given the length of the list that ends there. Lists are far shorter than 2^32.
fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or_default()
}

fn to_task(task: &Task) -> wire::Task {
    let Task { pid, tid, uid, comm, thread, table, cgroup } = *task;
    let bytes = |comm: Comm| bytes::Bytes::copy_from_slice(comm.as_bytes());
    let (comm, thread) = (bytes(comm), thread.map(bytes));
    wire::Task { pid, tid, uid, comm, thread, table, cgroup: cgroup.0 }
}

fn to_level(level: Level) -> wire::Level {
    let Level { used, limit } = level;
    wire::Level { used, limit }
}

fn to_charge(charge: Charge) -> wire::Charge {
    let Charge { uid, userns, instances, watches } = charge;
    let (instances, watches) = (instances.map(to_level), watches.map(to_level));
    wire::Charge { uid, userns, instances, watches }
}

fn to_user(user: User) -> wire::User {
    wire::User { uid: user.uid, userns: user.userns }
}

fn to_account(user: User, account: &Account) -> wire::Account {
    wire::Account {
        user: Some(to_user(user)),
        instances: account.instances.map(to_level),
        watches: account.watches.map(to_level),
        payers: account.payers.iter().copied().map(to_user).collect(),
    }
}

fn to_process(process: &Process) -> wire::Process {
    let descriptors = process.descriptors.iter();
    wire::Process {
        task: Some(to_task(&process.task)),
        descriptors: descriptors
            .map(|(&(table, fd), id)| wire::Held { fd, instance: id.0, table })
            .collect(),
        began: process.began.map(|time| time.0),
        shim: process.shim.as_ref().map(to_shim),
        program: process.program.clone().map(to_program),
        closed: process.closed.counts().to_vec(),
    }
}

fn to_instance(instance: Instance) -> wire::Instance {
    let creator = match &instance.origin {
        Origin::Created(task) => Some(to_task(task)),
        Origin::Found | Origin::CreatedUnseen => None,
    };
    let descriptors = instance.descriptors.into_iter();
    let floors = instance.floors.iter().flat_map(|it| it.rows());
    let floors = floors.map(|it| wire::Floors { latest: it.latest, lowest: it.lowest.clone() });
    wire::Instance {
        floors: floors.collect(),
        id: instance.id.0,
        origin: to_origin(&instance.origin).into(),
        creator,
        since: instance.since.0,
        creator_cgroup: instance.creator_cgroup.0,
        flags: instance.flags,
        charged: instance.charged.map(to_user),
        queued: instance.queued,
        served: instance.served.into_iter().map(|cgroup| cgroup.0).collect(),
        emptied: instance.emptied.map(|time| time.0),
        leavers: instance.leavers.iter().map(to_leaver).collect(),
        descriptors: descriptors
            .map(|Descriptor { pid, table, fd }| wire::HolderDescriptor { pid, fd, table })
            .collect(),
        overflow: instance.overflow.map(to_overflow),
        files: instance.files.into_iter().map(Into::into).collect(),
    }
}

fn to_overflow(overflow: Overflow) -> wire::Overflow {
    let Overflow { since, last, was_seen, queued, limit } = overflow;
    wire::Overflow { since: since.0, last: last.0, was_seen, queued, limit }
}

fn to_shim(shim: &Shim) -> wire::Shim {
    let Shim { id, namespace, version } = shim.clone();
    wire::Shim { id: id.into(), namespace: namespace.into(), version: version.map(Into::into) }
}

fn to_program(program: Program) -> wire::Program {
    let Program { exe, arguments } = program;
    let arguments = arguments.into_iter().map(Into::into).collect();
    wire::Program { exe: exe.map(Into::into), arguments }
}

fn to_origin(origin: &Origin) -> wire::Origin {
    match origin {
        Origin::Found => wire::Origin::Found,
        Origin::Created(_) => wire::Origin::Created,
        Origin::CreatedUnseen => wire::Origin::CreatedUnseen,
    }
}

fn to_leaver(leaver: &Leaver) -> wire::Leaver {
    let how = match leaver.how {
        Departure::Closed => wire::Departure::Closed,
        Departure::Executed => wire::Departure::Executed,
        Departure::Exited => wire::Departure::Exited,
    };
    let (task, fd) = (Some(to_task(&leaver.task)), leaver.fd);
    wire::Leaver { task, fd, how: how.into(), time: leaver.time.0 }
}

fn to_loss(loss: Loss) -> wire::Loss {
    match loss {
        Loss::Events => wire::Loss::Events,
        Loss::Holders => wire::Loss::Holders,
        Loss::Calls => wire::Loss::Calls,
        Loss::Runs => wire::Loss::Runs,
        // Replays add the last three, and no recorder does.
        Loss::Records | Loss::Frames | Loss::Files | Loss::End => wire::Loss::Records,
        Loss::Unrecorded => wire::Loss::Unrecorded,
        Loss::Instances => wire::Loss::Instances,
        Loss::Cgroups => wire::Loss::Cgroups,
    }
}
