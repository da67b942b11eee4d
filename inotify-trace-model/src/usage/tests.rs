use super::*;
use crate::event::{
    BootTime, Charge, Comm, EMFILE, Event, EventKind, InstanceId, Quota, Target, Task,
};

/// A user of the initial namespace.
fn user(uid: u32) -> User {
    User { userns: User::INITIAL, uid }
}

fn quota(user: User, used: u32, limit: u32) -> Quota {
    Quota::own(used, limit, user.uid, user.userns)
}

/// A tracker that tests fill with events.
struct Machine(Tracker);

impl Machine {
    fn new() -> Self {
        Self(Tracker::new())
    }

    fn tell(&mut self, pid: u32, kind: EventKind) -> &mut Self {
        let comm = Comm::from("holder");
        let task = Task {
            pid,
            tid: pid,
            uid: 9,
            comm,
            cgroup: CgroupId(u64::from(pid) / 10),
            ..Task::default()
        };
        self.0.apply(&Event { time: BootTime(1), task: Some(task), kind });
        self
    }

    /// Process `pid` holds an instance, for which `payer` pays, by descriptor `fd`.
    fn found(&mut self, pid: u32, fd: i32, instance: u64, payer: User) -> &mut Self {
        self.tell(
            pid,
            EventKind::InstanceFound {
                instance: InstanceId(instance),
                fd,
                flags: 0,
                creator_cgroup: CgroupId(0),
                queued: 2,
                quota: Some(quota(payer, 5, 128)),
            },
        )
    }

    fn watch(&mut self, instance: u64, wd: i32) -> &mut Self {
        let (instance, target) = (InstanceId(instance), Target::default());
        self.tell(1, EventKind::WatchFound { instance, wd, target, mask: 2 })
    }

    /// What is charged at each level: user, instances, watches; the limit is 128 and 1000.
    fn charged(&mut self, levels: &[(User, u32, u32)]) -> &mut Self {
        let charge = |&(payer, instances, watches): &(User, u32, u32)| Charge {
            uid: payer.uid,
            userns: payer.userns,
            instances: Some(quota(payer, instances, 128).into()),
            watches: Some(quota(payer, watches, 1000).into()),
        };
        let charges = levels.iter().map(charge).collect();
        self.tell(1, EventKind::Charged { charges })
    }

    fn groups(&self, by: By) -> Vec<(Key, usize, u64, u64)> {
        let summary = |it: Group| (it.key, it.instances.len(), it.descriptors, it.shared);
        groups(&self.0, by).into_iter().map(summary).collect()
    }
}

#[test]
fn what_serves_one_container_alone_is_that_container_s() {
    let id = |digit: &str| digit.repeat(64);
    let mut machine = Machine::new();
    for (cgroup, path) in [
        (1, "/system.slice/containerd.service".to_owned()),
        (2, format!("/kubepods/cri-containerd-{}.scope", id("a"))),
        (3, format!("/kubepods/cri-containerd-{}.scope", id("b"))),
        (4, format!("/kubepods/cri-containerd-{}.scope/below", id("a"))),
    ] {
        machine.tell(1, EventKind::CgroupFound { cgroup: CgroupId(cgroup), path: path.into() });
    }
    let watches: [(u64, &[u64]); 6] =
        [(1, &[2]), (2, &[2, 4]), (3, &[2, 3]), (4, &[2, 0]), (5, &[1]), (6, &[])];
    for (instance, cgroups) in watches {
        machine.found(10, instance as i32, instance, user(0));
        for (wd, &cgroup) in cgroups.iter().enumerate() {
            let cgroup = CgroupId(cgroup);
            let target = Target { inode: 5, cgroup, ..Target::default() };
            let (instance, wd) = (InstanceId(instance), wd as i32 + 1);
            machine.tell(1, EventKind::WatchFound { instance, wd, target, mask: 2 });
        }
    }
    // Of the container itself.
    machine.found(20, 3, 7, user(0));
    let container = |digit| Container {
        runtime: Some(crate::identity::Runtime::Containerd),
        id: id(digit),
        pod: None,
        qos: None,
        outer: None,
    };
    assert_eq!(
        machine.groups(By::Container),
        [(Key::Cgroup(CgroupId(1)), 4, 4, 0), (Key::Container(container("a")), 3, 3, 0)]
    );
    let outside = groups(&machine.0, By::Container).into_iter().map(|it| it.outside);
    assert_eq!(outside.collect::<Vec<_>>(), [0, 2]);
    // By process nothing is different.
    assert_eq!(machine.groups(By::Process)[0].1, 6);
}

#[test]
fn a_shared_instance_is_one_of_each_holder_and_one_of_all() {
    let mut machine = Machine::new();
    machine.found(10, 3, 1, user(5)).found(10, 4, 1, user(5)).found(11, 3, 1, user(5));
    machine.found(20, 3, 2, user(6)).watch(1, 1).watch(1, 2);
    assert_eq!(
        machine.groups(By::Process),
        [(Key::Process(10), 1, 2, 1), (Key::Process(11), 1, 1, 1), (Key::Process(20), 1, 1, 0)]
    );
    assert_eq!(
        machine.groups(By::User),
        [(Key::User(Some(user(5))), 1, 3, 0), (Key::User(Some(user(6))), 1, 1, 0)]
    );
    // Both holders of the first run in the same cgroup.
    assert_eq!(
        machine.groups(By::Container),
        [(Key::Cgroup(CgroupId(1)), 1, 3, 0), (Key::Cgroup(CgroupId(2)), 1, 1, 0)]
    );
    let all = total(&machine.0);
    assert_eq!((all.instances.len(), all.watches, all.queued), (2, 2, 4));
    assert_eq!((all.descriptors, all.processes.len()), (4, 3));
}

#[test]
fn an_instance_without_a_holder_is_nobody_s() {
    let mut machine = Machine::new();
    machine.found(10, 3, 1, user(5));
    machine.tell(
        10,
        EventKind::DescriptorClosed { instance: InstanceId(1), fd: 3, left: 1, quota: None },
    );
    assert_eq!(machine.groups(By::Process), [(Key::Nobody, 1, 0, 0)]);
    assert_eq!(machine.groups(By::User), [(Key::User(Some(user(5))), 1, 0, 0)]);
}

#[test]
fn what_is_charged_and_not_seen_is_told() {
    let mut machine = Machine::new();
    machine.found(10, 3, 1, user(5)).watch(1, 1).charged(&[(user(5), 3, 1)]);
    let standing = &standings(&machine.0)[&user(5)];
    assert_eq!(standing.instances, Some(Level { used: 3, limit: 128 }));
    assert_eq!((standing.unseen_instances(), standing.unseen_watches()), (Some(2), Some(0)));
}

#[test]
fn users_above_pay_too_and_see_what_they_pay_for() {
    let inner = User { userns: 77, uid: 1000 };
    let mut machine = Machine::new();
    machine.found(10, 3, 1, inner).found(20, 3, 2, user(5));
    machine.charged(&[(inner, 1, 0), (user(5), 2, 0)]).charged(&[(user(5), 2, 0)]);
    let standings = standings(&machine.0);
    assert_eq!(standings[&inner].payers, [user(5)]);
    assert_eq!(standings[&inner].unseen_instances(), Some(0));
    assert_eq!(standings[&user(5)].seen_instances, 2);
    assert_eq!(standings[&user(5)].unseen_instances(), Some(0));
    // Equally many fit at both levels but one: the outer limit binds.
    assert_eq!(standings[&inner].binding, 1);
}

/// An instance is refused to `user`, since `payer` uses `used` of 128.
fn refused(user: User, payer: User, used: u32) -> Event {
    let (payer_uid, payer_userns) = (payer.uid, payer.userns);
    let level = u32::from(user != payer);
    let quota = Some(Quota { level, payer_uid, payer_userns, ..quota(user, used, 128) });
    let kind = EventKind::CreateFailed { flags: 0, errno: EMFILE, quota, files: None };
    let task = Task { pid: 99, tid: 99, ..Task::default() };
    Event { time: BootTime(2), task: Some(task), kind }
}

#[test]
fn culprits_are_those_who_hold_what_this_user_pays_for() {
    let inner = User { userns: 77, uid: 1000 };
    let mut machine = Machine::new();
    machine.found(10, 3, 1, user(5)).found(11, 3, 1, user(5)).found(10, 4, 2, user(5));
    machine.found(20, 3, 3, user(6)).found(30, 3, 4, inner);
    machine.charged(&[(inner, 1, 0), (user(5), 128, 0)]);
    let event = refused(user(5), user(5), 128);
    machine.0.apply(&event);
    let culprits = Culprits::of(&event, &machine.0).unwrap();
    let culprit = |pid, count, shared| Culprit { pid, count, shared };
    assert_eq!(culprits.holders, [culprit(10, 2, 1), culprit(11, 1, 1), culprit(30, 1, 0)]);
    assert_eq!((culprits.unseen, culprits.used), (125, 128));
    // Someone in the namespace is refused because of the limit above: the same are to blame.
    let event = refused(inner, user(5), 128);
    let culprits = Culprits::of(&event, &machine.0).unwrap();
    assert_eq!((culprits.user, culprits.inside, culprits.holders.len()), (user(5), None, 3));
    // The quota was not used up: it was RLIMIT_NOFILE, and there are no culprits.
    assert_eq!(Culprits::of(&refused(user(5), user(5), 127), &machine.0), None);
}

#[test]
fn namespaces_that_share_a_payer_are_blamed_together() {
    let inner = |number| User { userns: 70 + number, uid: 1_000_000 };
    let mut machine = Machine::new();
    for number in 0..4 {
        let pid = 10 + number;
        machine.charged(&[(inner(number), 1, 0), (user(5), number + 1, 0)]);
        machine.found(pid, 3, pid.into(), inner(number));
    }
    // A namespace of which nothing is known but what the refusal says.
    let culprits = Culprits::of(&refused(inner(9), user(5), 128), &machine.0).unwrap();
    assert_eq!((culprits.user, culprits.unseen, culprits.holders.len()), (user(5), 124, 4));
    // One whose own limit is used up is to blame alone, and is reached through a process in it.
    let culprits = Culprits::of(&refused(inner(2), inner(2), 128), &machine.0).unwrap();
    assert_eq!((culprits.user, culprits.inside), (inner(2), Some(99)));
    assert_eq!(culprits.holders, [Culprit { pid: 12, count: 1, shared: 0 }]);
}

#[test]
fn a_watch_that_is_refused_is_the_instance_s_user_s() {
    let inner = User { userns: 77, uid: 1000 };
    let mut machine = Machine::new();
    machine.charged(&[(inner, 1, 0), (user(5), 1, 0)]).found(30, 3, 4, inner).watch(4, 1);
    let quota = Some(quota(inner, 12, 12));
    let (instance, path) = (Some(InstanceId(4)), Some("/x".into()));
    let kind = EventKind::WatchFailed { instance, fd: 3, path, mask: 2, errno: 28, quota };
    let event = Event { time: BootTime(2), task: None, kind };
    let culprits = Culprits::of(&event, &machine.0).unwrap();
    assert_eq!((culprits.user, culprits.inside, culprits.unseen), (inner, Some(30), 11));
}
