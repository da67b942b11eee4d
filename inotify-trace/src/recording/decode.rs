//! Turns frames into events and state. Decoding does not fail: an undamaged frame is valid, and
//! unknown kinds of a newer version become losses.

use std::collections::BTreeMap;

use inotify_trace_model::{
    event::{
        BootTime, CgroupId, Charge, Comm, Event, EventKind, Files, InstanceId, Level, Loss, Quota,
        Silence, Target, Task,
    },
    feed::Batch,
    identity::{Container, Names, PodUid, Program, Qos, Runtime, Shim},
    tracker::{
        Account, Departure, Descriptor, Floors, Forgotten, Instance, Leaver, Lifetimes, Origin,
        Overflow, Part, Process, Row, User, Watch,
    },
};

use super::wire;

/// The most user namespaces in one another: the kernel allows 32 below the initial one
/// (`create_user_ns`).
const LEVELS: usize = 64;

/// Takes a frame apart.
#[derive(Debug)]
pub(super) struct Decoder {
    tasks: Vec<Task>,
    payers: Vec<wire::Payer>,
    batches: std::vec::IntoIter<wire::Batch>,
    /// The time of the previous event.
    before: u64,
}

impl Decoder {
    /// For the batches of a frame.
    pub(super) fn new(frame: wire::Frame) -> Self {
        Self {
            tasks: frame.tasks.iter().map(to_task).collect(),
            payers: frame.payers,
            batches: frame.batches.into_iter(),
            before: 0,
        }
    }

    /// The next batch.
    pub(super) fn batch(&mut self) -> Option<Batch> {
        let batch = self.batches.next()?;
        let events = batch.events.into_iter().map(|event| self.event(event)).collect();
        Some(Batch { time: BootTime(batch.time), judged: batch.judged, events })
    }

    fn event(&mut self, event: wire::Event) -> Event {
        self.before = self.before.wrapping_add(event.time.cast_unsigned());
        let quota = at(&self.payers, event.payer).map(|payer| {
            let wire::Payer { limit, uid, userns, level, above } = *payer;
            let wire::User { uid: payer_uid, userns: payer_userns } =
                above.unwrap_or(wire::User { uid, userns });
            Quota { used: event.used, limit, uid, userns, level, payer_uid, payer_userns }
        });
        Event {
            time: BootTime(self.before),
            task: at(&self.tasks, event.task).copied(),
            kind: to_kind(event.kind, InstanceId(event.instance), quota),
        }
    }
}

/// The element at an index plus one; None for 0.
fn at<T>(list: &[T], place: u32) -> Option<&T> {
    list.get(usize::try_from(place).ok()?.checked_sub(1)?)
}

fn to_kind(kind: Option<wire::Kind>, instance: InstanceId, quota: Option<Quota>) -> EventKind {
    let Some(kind) = kind else { return EventKind::Lost { count: 1, what: Loss::Records } };
    match kind {
        wire::Kind::InstanceFound(it) => EventKind::InstanceFound {
            instance,
            fd: it.fd,
            flags: it.flags,
            creator_cgroup: CgroupId(it.creator_cgroup),
            queued: it.queued,
            quota,
        },
        wire::Kind::WatchFound(it) => {
            let (wd, target, mask) = (it.wd, to_target(it.target), it.mask);
            EventKind::WatchFound { instance, wd, target, mask }
        }
        wire::Kind::InstanceCreated(it) => {
            EventKind::InstanceCreated { instance, fd: it.fd, flags: it.flags, quota }
        }
        wire::Kind::CreateFailed(it) => {
            let files = it.files.map(|wire::Files { used, limit }| Files { used, limit });
            EventKind::CreateFailed { flags: it.flags, errno: it.errno, quota, files }
        }
        wire::Kind::WatchAdded(it) => EventKind::WatchAdded {
            instance,
            fd: it.fd,
            wd: it.wd,
            target: to_target(it.target),
            mask: it.mask,
            quota,
        },
        wire::Kind::WatchFailed(it) => EventKind::WatchFailed {
            instance: (instance.0 != 0).then_some(instance),
            fd: it.fd,
            path: it.path.map(Into::into),
            mask: it.mask,
            errno: it.errno,
            quota,
        },
        wire::Kind::WatchRemoved(it) => {
            EventKind::WatchRemoved { instance, fd: it.fd, wd: it.wd, quota }
        }
        wire::Kind::DescriptorClosed(it) => {
            EventKind::DescriptorClosed { instance, fd: it.fd, left: it.left, quota }
        }
        wire::Kind::InstanceHeld(left) => EventKind::InstanceHeld { instance, left, quota },
        wire::Kind::QueueOverflowed(it) => {
            let wire::QueueOverflowed { queued, limit, was_seen } = it;
            EventKind::QueueOverflowed { instance, queued, limit, was_seen }
        }
        wire::Kind::InstanceReleased(it) => {
            EventKind::InstanceReleased { instance, fd: it.fd, quota }
        }
        wire::Kind::RangeClosed(it) => EventKind::RangeClosed { first: it.first, last: it.last },
        wire::Kind::ProcessForked(child) => EventKind::ProcessForked { child },
        wire::Kind::ProcessExec(it) => {
            EventKind::ProcessExec { kept: it.is_known.then_some(it.kept) }
        }
        wire::Kind::ProcessExited(_) => EventKind::ProcessExited,
        wire::Kind::Charged(it) => {
            let charges = it.charges.into_iter().take(LEVELS);
            EventKind::Charged { charges: charges.map(to_charge).collect() }
        }
        wire::Kind::CgroupFound(it) => {
            EventKind::CgroupFound { cgroup: CgroupId(it.id), path: it.path.into() }
        }
        wire::Kind::ContainerNamed(it) => {
            let (cgroup, container) = (CgroupId(it.cgroup), it.container.clone());
            let container = container.map(to_container);
            EventKind::ContainerNamed { cgroup, container, names: to_names(it) }
        }
        wire::Kind::ShimIdentified(it) => {
            let Shim { id, namespace, version } = to_shim(it);
            EventKind::ShimIdentified { id, namespace, version }
        }
        wire::Kind::ProgramIdentified(it) => {
            let Program { exe, arguments } = to_program(it);
            EventKind::ProgramIdentified { exe, arguments }
        }
        wire::Kind::CgroupCreated(it) => {
            EventKind::CgroupCreated { cgroup: CgroupId(it.id), path: it.path.into() }
        }
        wire::Kind::CgroupRenamed(it) => {
            EventKind::CgroupRenamed { cgroup: CgroupId(it.id), path: it.path.into() }
        }
        wire::Kind::CgroupRemoved(id) => EventKind::CgroupRemoved { cgroup: CgroupId(id) },
        wire::Kind::Lost(it) => EventKind::Lost { count: it.count, what: to_loss(it.what) },
    }
}

/// A part of the state; None for one of a newer version.
pub(super) fn to_part(part: wire::Part) -> Option<Part> {
    Some(match part.kind? {
        wire::PartKind::Forgotten(wire::Forgotten { instances, cgroups }) => {
            Part::Forgotten(Forgotten { instances, cgroups })
        }
        wire::PartKind::Cgroup(it) => Part::Cgroup {
            id: CgroupId(it.id),
            path: it.path.into(),
            container: it.container.map(to_container),
            removed: it.removed.map(BootTime),
        },
        wire::PartKind::Names(it) => {
            let (cgroup, container) = (CgroupId(it.cgroup), it.container.clone());
            let container = container.map(to_container);
            Part::Names { cgroup, container, names: to_names(it) }
        }
        wire::PartKind::Account(it) => Part::Account {
            user: to_user(it.user?),
            account: Account {
                instances: it.instances.map(to_level),
                watches: it.watches.map(to_level),
                payers: it.payers.into_iter().take(LEVELS).map(to_user).collect(),
            },
        },
        wire::PartKind::Process(it) => Part::Process(Process {
            task: to_task(&it.task?),
            descriptors: it
                .descriptors
                .iter()
                .map(|it| ((it.table, it.fd), InstanceId(it.instance)))
                .collect(),
            began: it.began.map(BootTime),
            closed: Lifetimes::from_counts(it.closed),
            shim: it.shim.map(to_shim),
            program: it.program.map(to_program),
        }),
        wire::PartKind::Instance(it) => Part::Instance(Box::new(to_instance(&it))),
        wire::PartKind::Watches(it) => {
            let watches = it.watches.into_iter();
            let watches =
                watches.map(|it| (it.wd, Watch { target: to_target(it.target), mask: it.mask }));
            Part::Watches { instance: InstanceId(it.instance), watches: watches.collect() }
        }
        wire::PartKind::Ended(it) => Part::Ended {
            cgroup: CgroupId(it.cgroup),
            comm: Comm::from(&it.comm[..]),
            lifetimes: Lifetimes::from_counts(it.lifetimes),
        },
    })
}

fn to_instance(instance: &wire::Instance) -> Instance {
    let creator = instance.creator.as_ref().map(to_task);
    let origin = match (instance.origin(), creator) {
        (wire::Origin::Found, _) => Origin::Found,
        (wire::Origin::Created, Some(task)) => Origin::Created(task),
        (wire::Origin::Created | wire::Origin::CreatedUnseen, _) => Origin::CreatedUnseen,
    };
    Instance {
        id: InstanceId(instance.id),
        origin,
        since: BootTime(instance.since),
        creator_cgroup: CgroupId(instance.creator_cgroup),
        flags: instance.flags,
        charged: instance.charged.map(to_user),
        queued: instance.queued,
        overflow: instance.overflow.map(to_overflow),
        served: instance.served.iter().copied().map(CgroupId).collect(),
        files: instance.files.iter().map(|file| file.as_str().into()).collect(),
        emptied: instance.emptied.map(BootTime),
        leavers: instance.leavers.iter().filter_map(to_leaver).collect(),
        // The state has open instances only.
        ended_by: None,
        descriptors: instance
            .descriptors
            .iter()
            .map(|&wire::HolderDescriptor { pid, fd, table }| Descriptor { pid, table, fd })
            .collect(),
        watches: BTreeMap::new(),
        floors: (!instance.floors.is_empty()).then(|| Box::new(to_floors(&instance.floors))),
    }
}

fn to_overflow(overflow: wire::Overflow) -> Overflow {
    let wire::Overflow { since, last, was_seen, queued, limit } = overflow;
    Overflow { since: BootTime(since), last: BootTime(last), was_seen, queued, limit }
}

fn to_floors(rows: &[wire::Floors]) -> Floors {
    let row = |it: &wire::Floors| Row { latest: it.latest, lowest: it.lowest.clone() };
    Floors::from_rows(rows.iter().map(row).collect())
}

fn to_leaver(leaver: &wire::Leaver) -> Option<Leaver> {
    let how = match leaver.how() {
        wire::Departure::Closed => Departure::Closed,
        wire::Departure::Executed => Departure::Executed,
        wire::Departure::Exited => Departure::Exited,
    };
    let task = to_task(leaver.task.as_ref()?);
    Some(Leaver { task, fd: leaver.fd, how, time: BootTime(leaver.time) })
}

fn to_task(task: &wire::Task) -> Task {
    Task {
        pid: task.pid,
        tid: task.tid,
        uid: task.uid,
        comm: Comm::from(&task.comm[..]),
        thread: task.thread.as_ref().map(|it| Comm::from(&it[..])),
        table: task.table,
        cgroup: CgroupId(task.cgroup),
    }
}

fn to_target(target: Option<wire::Target>) -> Target {
    let Some(target) = target else { return Target::default() };
    let wire::Target { path, is_gone, inode, dev, cgroup, resolved, file, silence } = target;
    let [path, resolved, file] = [path, resolved, file].map(|text| text.map(Into::into));
    let silence = match silence {
        1 => Some(Silence::NotAsked),
        2 => Some(Silence::NoAnswer),
        _ => None,
    };
    Target { path, resolved, silence, is_gone, inode, dev, cgroup: CgroupId(cgroup), file }
}

fn to_container(container: wire::Container) -> Box<Container> {
    let wire::Container { runtime, id, pod, qos, outer } = container;
    Box::new(Container {
        runtime: Runtime::by_name(&runtime),
        id,
        pod: pod.map(PodUid::from),
        qos: qos.and_then(|qos| Qos::by_name(&qos)),
        // The outer one runs in none.
        outer: outer.map(|outer| to_container(wire::Container { outer: None, ..*outer })),
    })
}

fn to_names(names: wire::ContainerNamed) -> Box<Names> {
    let wire::ContainerNamed { name, pod_name, namespace, image, is_sandbox, .. } = names;
    Box::new(Names { name, pod_name, namespace, image, is_sandbox })
}

fn to_shim(shim: wire::Shim) -> Shim {
    let wire::Shim { id, namespace, version } = shim;
    Shim { id: id.into(), namespace: namespace.into(), version: version.map(Into::into) }
}

fn to_program(program: wire::Program) -> Program {
    let wire::Program { exe, arguments } = program;
    let arguments = arguments.into_iter().map(Into::into).collect();
    Program { exe: exe.map(Into::into), arguments }
}

fn to_user(user: wire::User) -> User {
    User { userns: user.userns, uid: user.uid }
}

fn to_level(level: wire::Level) -> Level {
    let wire::Level { used, limit } = level;
    Level { used, limit }
}

fn to_charge(charge: wire::Charge) -> Charge {
    let wire::Charge { uid, userns, instances, watches } = charge;
    Charge { uid, userns, instances: instances.map(to_level), watches: watches.map(to_level) }
}

fn to_loss(what: i32) -> Loss {
    match wire::Loss::try_from(what) {
        Ok(wire::Loss::Events) => Loss::Events,
        Ok(wire::Loss::Holders) => Loss::Holders,
        Ok(wire::Loss::Calls) => Loss::Calls,
        Ok(wire::Loss::Runs) => Loss::Runs,
        Ok(wire::Loss::Unrecorded) => Loss::Unrecorded,
        Ok(wire::Loss::Instances) => Loss::Instances,
        Ok(wire::Loss::Cgroups) => Loss::Cgroups,
        Ok(wire::Loss::Records) | Err(_) => Loss::Records,
    }
}
