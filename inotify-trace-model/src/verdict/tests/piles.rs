//! Equal processes that pile up.

use super::*;

/// A process of a service, with an instance that watches `path`.
fn start(machine: &mut Machine, seconds: u64, task: Task, path: Result<u64, &str>) {
    let instance = u64::from(task.pid);
    machine.create(seconds, task, instance).watch(seconds, task, instance, path);
}

fn end(machine: &mut Machine, seconds: u64, task: Task) {
    machine.tell(seconds, Some(task), EventKind::ProcessExited);
    let kind = EventKind::InstanceReleased {
        instance: InstanceId(task.pid.into()),
        fd: None,
        quota: None,
    };
    machine.tell(seconds, None, kind);
}

fn piles(machine: &Machine, seconds: u64) -> Vec<(u32, usize)> {
    let verdicts = machine.verdicts(seconds);
    let piles = verdicts.iter().filter(|it| it.kind == Kind::PilingUp);
    piles.map(|it| (it.pid, it.size())).collect()
}

#[test]
fn ever_more_of_a_command_in_a_service_that_never_end_pile_up() {
    let mut machine = Machine::new();
    for number in 1..=20 {
        start(&mut machine, 10 * u64::from(number), task(number, "dbus-daemon"), Err("/etc/dbus"));
    }
    let verdicts = machine.verdicts(201);
    let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((verdict.kind, verdict.pid, verdict.size()), (Kind::PilingUp, 1, 20));
    let Detail::Pile(pile) = verdict.detail else { panic!("{verdict:?}") };
    assert_eq!((pile.cgroup, pile.comm, pile.latest), (CgroupId(2), "dbus-daemon".into(), 20));
    assert!((verdict.growth.unwrap().per_minute - 6.0).abs() < 0.1, "{:?}", verdict.growth);
    let mut restored = Machine(Tracker::new());
    machine.0.parts().into_iter().for_each(|part| restored.0.restore(part));
    assert_eq!(restored.verdicts(201), verdicts);
    // Their number is stable now.
    assert_eq!(piles(&machine, 400), []);
}

#[test]
fn processes_that_end_some_day_do_not() {
    let mut machine = Machine::new();
    for second in 0..3000_u32 {
        if second % 20 == 0 {
            start(&mut machine, second.into(), task(1 + second, "tail"), Err("/var/log/app"));
        }
        if second % 20 == 0 && second >= 100 {
            end(&mut machine, second.into(), task(1 + second - 100, "tail"));
        }
        assert_eq!(piles(&machine, second.into()), [], "after {second} s");
    }
    // But those of them that outlive the others do.
    for second in 3000..4000_u32 {
        if second % 20 == 0 {
            start(&mut machine, second.into(), task(1 + second, "tail"), Err("/var/log/app"));
        }
        if second % 20 == 0 && second % 40 == 0 {
            end(&mut machine, second.into(), task(1 + second - 100, "tail"));
        }
    }
    assert_eq!(piles(&machine, 4000).len(), 1);
}

#[test]
fn neither_a_burst_nor_other_places_nor_targets_of_their_own_are_a_pile() {
    // A service is scaled up, twice.
    let mut machine = Machine::new();
    for number in 1..=60 {
        let time = if number <= 30 { number / 3 } else { 200 + number / 3 };
        start(&mut machine, time, task(number as u32, "worker"), Err("/etc/app"));
        assert_eq!(piles(&machine, time), []);
    }
    assert_eq!(piles(&machine, 300), []);
    // Each in a container of its own, or nobody knows where.
    for cgroup in [true, false] {
        let mut machine = Machine::new();
        for number in 1..=20 {
            let (time, id) = (10 * u64::from(number), 100 + u64::from(number));
            machine.container(time, id);
            let cgroup = CgroupId(if cgroup { id } else { 0 });
            start(&mut machine, time, Task { cgroup, ..task(number, "nginx") }, Err("/etc"));
        }
        assert_eq!(piles(&machine, 201), []);
    }
    // Ever more pods, whose shims each watch the cgroup of their own; and tails of files.
    let mut machine = Machine::new();
    for number in 1..=30 {
        let (time, id) = (10 * u64::from(number), 100 + u64::from(number));
        machine.container(time, id);
        start(&mut machine, time, task(number, "containerd-shim"), Ok(id));
        start(&mut machine, time, task(500 + number, "tail"), Err(&format!("/var/log/{number}")));
        assert_eq!(piles(&machine, time), []);
    }
}

/// One a second, of the only user, up to now.
fn hurried(count: u32) -> Machine {
    let mut machine = Machine::new();
    for number in 1..=count {
        start(&mut machine, number.into(), task(number, "tail"), Err("/var/log/app"));
    }
    machine
}

#[test]
fn those_that_reach_the_limit_before_it_is_decided_are_a_note() {
    let machine = hurried(30);
    let [note] = &machine.verdicts(31)[..] else { panic!("{:?}", machine.verdicts(31)) };
    assert_eq!((note.kind, note.pid, note.evidence.len()), (Kind::LimitNear, 1, 30));
    let Detail::Near(near) = note.detail else { panic!("{note:?}") };
    assert_eq!((near.looks_used, near.quota.used, near.quota.limit), (false, 28, 128));
    let pile = near.pile.unwrap();
    assert_eq!((pile.comm, pile.processes, pile.latest), ("tail".into(), 30, 30));
    let left = note.growth.unwrap().time_left().unwrap().as_secs();
    assert!((95..=105).contains(&left), "{left}");
    let mut restored = Machine(Tracker::new());
    machine.0.parts().into_iter().for_each(|part| restored.0.restore(part));
    assert_eq!(&restored.verdicts(31)[..], std::slice::from_ref(note));
    // Too few, or for too short a time, and nothing after the verdict.
    assert_eq!(hurried(10).verdicts(11), []);
    let decided: Vec<_> = hurried(150).verdicts(151).iter().map(|it| it.kind).collect();
    assert_eq!(decided, [Kind::PilingUp]);
}
