//! Made-up events and state: every kind, with values at the edges of what fields can hold.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use inotify_trace_model::{
    event::{
        BootTime, CgroupId, Charge, Comm, Event, EventKind, Files, InstanceId, Level, Loss, Quota,
        Silence, Table, Target, Task,
    },
    feed::Batch,
    identity::{Container, Names, PodUid, Program, Qos, Runtime, Shim},
    tracker::{
        Account, Departure, Descriptor, Floors, Forgotten, Instance, Leaver, Lifetimes, Origin,
        Overflow, Part, Process, Row, User, Watch,
    },
};

fn long() -> BoxedStrategy<u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()].boxed()
}

fn number() -> BoxedStrategy<u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()].boxed()
}

fn fd() -> BoxedStrategy<i32> {
    prop_oneof![Just(0), Just(-1), Just(3), Just(i32::MIN), Just(i32::MAX), any::<i32>()].boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just("/".to_owned()),
        Just("\0\n\u{fffd}\u{1F980}".to_owned()),
        Just("/x".repeat(2048)),
        ".*",
        "/[a-z/]{1,40}",
    ]
    .boxed()
}

fn boxed() -> BoxedStrategy<Box<str>> {
    text().prop_map(Into::into).boxed()
}

fn time() -> BoxedStrategy<BootTime> {
    long().prop_map(BootTime).boxed()
}

fn cgroup() -> BoxedStrategy<CgroupId> {
    long().prop_map(CgroupId).boxed()
}

/// They count from 1.
fn instance() -> BoxedStrategy<InstanceId> {
    long().prop_map(|id| InstanceId(id.max(1))).boxed()
}

fn comm() -> BoxedStrategy<Comm> {
    // With what the kernel leaves behind the zero; its names have fifteen bytes at most.
    any::<[u8; 16]>()
        .prop_map(|mut bytes| {
            bytes[15] = 0;
            Comm::new(bytes)
        })
        .boxed()
}

fn task() -> BoxedStrategy<Task> {
    let ids = (number(), number(), number(), table(), cgroup());
    (ids, comm(), option::of(comm()))
        .prop_map(|((pid, tid, uid, table, cgroup), comm, thread)| Task {
            pid,
            tid,
            uid,
            comm,
            thread,
            table,
            cgroup,
        })
        .boxed()
}

fn table() -> BoxedStrategy<Table> {
    option::of(number()).boxed()
}

fn quota() -> BoxedStrategy<Quota> {
    (number(), number(), user(), number(), user())
        .prop_map(|(used, limit, user, level, payer)| Quota {
            used,
            limit,
            uid: user.uid,
            userns: user.userns,
            level,
            payer_uid: payer.uid,
            payer_userns: payer.userns,
        })
        .boxed()
}

fn level() -> BoxedStrategy<Level> {
    (number(), number()).prop_map(|(used, limit)| Level { used, limit }).boxed()
}

fn files() -> BoxedStrategy<Option<Files>> {
    let files = (option::of(long()), long());
    option::of(files.prop_map(|(used, limit)| Files { used, limit })).boxed()
}

fn charge() -> BoxedStrategy<Charge> {
    (number(), number(), option::of(level()), option::of(level()))
        .prop_map(|(uid, userns, instances, watches)| Charge { uid, userns, instances, watches })
        .boxed()
}

fn target() -> BoxedStrategy<Target> {
    let texts = || option::of(boxed());
    let paths = (texts(), texts());
    let silences = vec![None, Some(Silence::NotAsked), Some(Silence::NoAnswer)];
    let paths = (paths, select(silences));
    let strategy = (paths, any::<bool>(), long(), number(), cgroup(), texts());
    prop_oneof![
        Just(Target::default()),
        strategy.prop_map(|(((path, resolved), silence), is_gone, inode, dev, cgroup, file)| {
            Target { path, resolved, silence, is_gone, inode, dev, cgroup, file }
        }),
    ]
    .boxed()
}

fn names() -> BoxedStrategy<Box<Names>> {
    let text = || option::of(text());
    (text(), text(), text(), text(), any::<bool>())
        .prop_map(|(name, pod_name, namespace, image, is_sandbox)| {
            Box::new(Names { name, pod_name, namespace, image, is_sandbox })
        })
        .boxed()
}

fn container() -> BoxedStrategy<Box<Container>> {
    let runtime = option::of(prop_oneof![Just(Runtime::Containerd), Just(Runtime::Crun)]);
    let qos = option::of(prop_oneof![Just(Qos::Guaranteed), Just(Qos::BestEffort)]);
    let one = (runtime, text(), option::of(text()), qos).prop_map(|(runtime, id, pod, qos)| {
        Box::new(Container { runtime, id, pod: pod.map(PodUid::from), qos, outer: None })
    });
    (one.clone(), option::of(one))
        .prop_map(|(inner, outer)| Box::new(Container { outer, ..*inner }))
        .boxed()
}

fn shim() -> BoxedStrategy<Shim> {
    (boxed(), boxed(), option::of(boxed()))
        .prop_map(|(id, namespace, version)| Shim { id, namespace, version })
        .boxed()
}

fn program() -> BoxedStrategy<Program> {
    (option::of(boxed()), vec(boxed(), 0..3))
        .prop_map(|(exe, arguments)| Program { exe, arguments })
        .boxed()
}

fn loss() -> BoxedStrategy<Loss> {
    prop_oneof![
        Just(Loss::Events),
        Just(Loss::Holders),
        Just(Loss::Calls),
        Just(Loss::Runs),
        Just(Loss::Records),
        Just(Loss::Unrecorded),
        Just(Loss::Instances),
        Just(Loss::Cgroups),
    ]
    .boxed()
}

/// How many kinds there are, and which of them one is. A new one does not compile until it is
/// here, and [`kind`] has to make it too: `every_kind_is_made` sees to that.
pub(super) const KINDS: usize = 24;

pub(super) fn which(kind: &EventKind) -> usize {
    match kind {
        EventKind::InstanceFound { .. } => 0,
        EventKind::WatchFound { .. } => 1,
        EventKind::InstanceCreated { .. } => 2,
        EventKind::CreateFailed { .. } => 3,
        EventKind::WatchAdded { .. } => 4,
        EventKind::WatchFailed { .. } => 5,
        EventKind::WatchRemoved { .. } => 6,
        EventKind::DescriptorClosed { .. } => 7,
        EventKind::InstanceReleased { .. } => 8,
        EventKind::RangeClosed { .. } => 9,
        EventKind::ProcessForked { .. } => 10,
        EventKind::ProcessExec { .. } => 11,
        EventKind::ProcessExited => 12,
        EventKind::Charged { .. } => 13,
        EventKind::CgroupFound { .. } => 14,
        EventKind::ContainerNamed { .. } => 15,
        EventKind::CgroupCreated { .. } => 16,
        EventKind::CgroupRenamed { .. } => 17,
        EventKind::CgroupRemoved { .. } => 18,
        EventKind::Lost { .. } => 19,
        EventKind::ShimIdentified { .. } => 20,
        EventKind::InstanceHeld { .. } => 21,
        EventKind::ProgramIdentified { .. } => 22,
        EventKind::QueueOverflowed { .. } => 23,
    }
}

fn of_instances() -> BoxedStrategy<EventKind> {
    let quota = || option::of(quota());
    prop_oneof![
        (instance(), fd(), number(), cgroup(), number(), quota()).prop_map(
            |(instance, fd, flags, creator_cgroup, queued, quota)| {
                EventKind::InstanceFound { instance, fd, flags, creator_cgroup, queued, quota }
            }
        ),
        (instance(), fd(), number(), quota()).prop_map(|(instance, fd, flags, quota)| {
            EventKind::InstanceCreated { instance, fd, flags, quota }
        }),
        (number(), fd(), quota(), files()).prop_map(|(flags, errno, quota, files)| {
            EventKind::CreateFailed { flags, errno, quota, files }
        }),
        (instance(), fd(), number(), quota()).prop_map(|(instance, fd, left, quota)| {
            EventKind::DescriptorClosed { instance, fd, left, quota }
        }),
        (instance(), number(), quota())
            .prop_map(|(instance, left, quota)| EventKind::InstanceHeld { instance, left, quota }),
        (instance(), number(), number(), any::<bool>()).prop_map(
            |(instance, queued, limit, was_seen)| {
                EventKind::QueueOverflowed { instance, queued, limit, was_seen }
            }
        ),
        (instance(), option::of(fd()), quota()).prop_map(|(instance, fd, quota)| {
            EventKind::InstanceReleased { instance, fd, quota }
        }),
    ]
    .boxed()
}

fn of_watches() -> BoxedStrategy<EventKind> {
    let quota = || option::of(quota());
    prop_oneof![
        (instance(), fd(), target(), number()).prop_map(|(instance, wd, target, mask)| {
            EventKind::WatchFound { instance, wd, target, mask }
        }),
        (instance(), fd(), fd(), target(), number(), quota()).prop_map(
            |(instance, fd, wd, target, mask, quota)| {
                EventKind::WatchAdded { instance, fd, wd, target, mask, quota }
            }
        ),
        (option::of(instance()), fd(), option::of(boxed()), number(), fd(), quota()).prop_map(
            |(instance, fd, path, mask, errno, quota)| {
                EventKind::WatchFailed { instance, fd, path, mask, errno, quota }
            }
        ),
        (instance(), option::of(fd()), fd(), quota()).prop_map(|(instance, fd, wd, quota)| {
            EventKind::WatchRemoved { instance, fd, wd, quota }
        }),
    ]
    .boxed()
}

fn of_others() -> BoxedStrategy<EventKind> {
    prop_oneof![
        (fd(), fd()).prop_map(|(first, last)| EventKind::RangeClosed { first, last }),
        number().prop_map(|child| EventKind::ProcessForked { child }),
        option::of(vec(fd(), 0..5)).prop_map(|kept| EventKind::ProcessExec { kept }),
        Just(EventKind::ProcessExited),
        vec(charge(), 0..4).prop_map(|charges| EventKind::Charged { charges: charges.into() }),
        (cgroup(), boxed()).prop_map(|(cgroup, path)| EventKind::CgroupFound { cgroup, path }),
        (cgroup(), option::of(container()), names()).prop_map(|(cgroup, container, names)| {
            EventKind::ContainerNamed { cgroup, container, names }
        }),
        shim().prop_map(|Shim { id, namespace, version }| {
            EventKind::ShimIdentified { id, namespace, version }
        }),
        program().prop_map(|Program { exe, arguments }| {
            EventKind::ProgramIdentified { exe, arguments }
        }),
        (cgroup(), boxed()).prop_map(|(cgroup, path)| EventKind::CgroupCreated { cgroup, path }),
        (cgroup(), boxed()).prop_map(|(cgroup, path)| EventKind::CgroupRenamed { cgroup, path }),
        cgroup().prop_map(|cgroup| EventKind::CgroupRemoved { cgroup }),
        (long(), loss()).prop_map(|(count, what)| EventKind::Lost { count, what }),
    ]
    .boxed()
}

pub(super) fn kind() -> BoxedStrategy<EventKind> {
    prop_oneof![6 => of_instances(), 4 => of_watches(), 12 => of_others()].boxed()
}

pub(super) fn event() -> BoxedStrategy<Event> {
    (time(), option::of(task()), kind())
        .prop_map(|(time, task, kind)| Event { time, task, kind })
        .boxed()
}

pub(super) fn batch() -> BoxedStrategy<Batch> {
    (time(), any::<bool>(), vec(event(), 0..8))
        .prop_map(|(time, judged, events)| Batch { time, judged, events })
        .boxed()
}

fn user() -> BoxedStrategy<User> {
    (number(), number()).prop_map(|(userns, uid)| User { userns, uid }).boxed()
}

fn leaver() -> BoxedStrategy<Leaver> {
    let how =
        prop_oneof![Just(Departure::Closed), Just(Departure::Executed), Just(Departure::Exited)];
    (task(), option::of(fd()), how, time())
        .prop_map(|(task, fd, how, time)| Leaver { task, fd, how, time })
        .boxed()
}

fn descriptor() -> BoxedStrategy<Descriptor> {
    (number(), table(), fd()).prop_map(|(pid, table, fd)| Descriptor { pid, table, fd }).boxed()
}

fn lifetimes() -> BoxedStrategy<Lifetimes> {
    vec(number(), 0..5).prop_map(Lifetimes::from_counts).boxed()
}

fn floors() -> BoxedStrategy<Option<Box<Floors>>> {
    let row = (long(), vec(number(), 1..5)).prop_map(|(latest, lowest)| Row { latest, lowest });
    option::of(vec(row, 1..4).prop_map(|rows| Box::new(Floors::from_rows(rows)))).boxed()
}

fn instance_state() -> BoxedStrategy<Instance> {
    let origin = prop_oneof![
        Just(Origin::Found),
        Just(Origin::CreatedUnseen),
        task().prop_map(Origin::Created)
    ];
    let identity = (instance(), origin, time(), cgroup(), number(), option::of(user()));
    let overflow = (time(), time(), any::<bool>(), number(), number()).prop_map(
        |(since, last, was_seen, queued, limit)| Overflow { since, last, was_seen, queued, limit },
    );
    let history = (
        (option::of(number()), option::of(overflow)),
        proptest::collection::btree_set(cgroup(), 0..5),
        option::of(time()),
        vec(leaver(), 0..3),
        vec(descriptor(), 0..5),
        proptest::collection::btree_set(boxed(), 0..4),
    );
    (identity, history, floors())
        .prop_map(|(identity, history, floors)| {
            let (id, origin, since, creator_cgroup, flags, charged) = identity;
            let ((queued, overflow), served, emptied, leavers, descriptors, files) = history;
            Instance {
                id,
                origin,
                since,
                creator_cgroup,
                flags,
                charged,
                queued,
                overflow,
                served,
                files,
                emptied,
                leavers,
                ended_by: None,
                descriptors,
                // They come in parts of their own.
                watches: BTreeMap::new(),
                floors,
            }
        })
        .boxed()
}

pub(super) fn part() -> BoxedStrategy<Part> {
    let account = (option::of(level()), option::of(level()), vec(user(), 0..3));
    let account =
        account.prop_map(|(instances, watches, payers)| Account { instances, watches, payers });
    let descriptors = proptest::collection::btree_map((table(), fd()), instance(), 0..5);
    let process = (
        task(),
        descriptors,
        option::of(time()),
        lifetimes(),
        option::of(shim()),
        option::of(program()),
    )
        .prop_map(|(task, descriptors, began, closed, shim, program)| Process {
            task,
            descriptors,
            began,
            closed,
            shim,
            program,
        });
    let watch =
        (fd(), target(), number()).prop_map(|(wd, target, mask)| (wd, Watch { target, mask }));
    prop_oneof![
        (cgroup(), boxed(), option::of(container()), option::of(time())).prop_map(
            |(id, path, container, removed)| Part::Cgroup { id, path, container, removed }
        ),
        (cgroup(), option::of(container()), names())
            .prop_map(|(cgroup, container, names)| Part::Names { cgroup, container, names }),
        (user(), account).prop_map(|(user, account)| Part::Account { user, account }),
        process.prop_map(Part::Process),
        instance_state().prop_map(|instance| Part::Instance(Box::new(instance))),
        (instance(), vec(watch, 0..6))
            .prop_map(|(instance, watches)| Part::Watches { instance, watches }),
        (cgroup(), comm(), lifetimes()).prop_map(|(cgroup, comm, lifetimes)| Part::Ended {
            cgroup,
            comm,
            lifetimes
        }),
        (long(), long())
            .prop_map(|(instances, cgroups)| { Part::Forgotten(Forgotten { instances, cgroups }) }),
    ]
    .boxed()
}
