//! Watches that become more in one instance.

use super::*;
use crate::event::{Quota, Target};

/// The only verdict on the watches of process 1; None if there is none.
fn verdict(machine: &Machine, seconds: u64) -> Option<Verdict> {
    let verdicts = machine.verdicts(seconds);
    verdicts.into_iter().find(|it| it.kind == Kind::WatchesGrowing)
}

fn one_instance() -> (Machine, Task) {
    let (mut machine, task) = (Machine::new(), task(1, "supervisor"));
    machine.create(0, task, 1);
    (machine, task)
}

/// Adds `each` watches in each second.
fn add(machine: &mut Machine, task: Task, seconds: std::ops::Range<u64>, each: i32) {
    for second in seconds {
        let first = i32::try_from(machine.0.instance(InstanceId(1)).unwrap().watches().len());
        let first = first.unwrap() + 1;
        machine.watches(second, task, 1, first..first + each);
    }
}

#[test]
fn one_more_every_tenth_of_a_second_grows() {
    let (mut machine, task) = one_instance();
    add(&mut machine, task, 1..125, 10);
    let told = verdict(&machine, 125).expect("after two minutes");
    assert_eq!((told.pid, told.size()), (1, 1240));
    let growth = told.growth.unwrap();
    assert!((growth.per_minute - 600.0).abs() < 30.0, "{growth:?}");
    assert_eq!((growth.resource, growth.left), (Resource::Watches, Some(65_536 - 1339)));
    // From a recording the same.
    let mut restored = Machine(Tracker::new());
    machine.0.parts().into_iter().for_each(|part| restored.0.restore(part));
    assert_eq!(verdict(&restored, 125), Some(told));
    // It stopped.
    assert_eq!(verdict(&machine, 160), None);
    assert_eq!(verdict(&machine, 3600), None);
}

#[test]
fn a_scan_of_a_tree_and_a_build_do_not() {
    // A scan, as fast as it goes, and then nothing.
    let (mut machine, task) = one_instance();
    add(&mut machine, task, 1..20, 1500);
    assert!((0..600).all(|it| verdict(&machine, 20 + it).is_none()));
    // A slow one, with pauses.
    let (mut machine, task) = one_instance();
    for second in 1..150 {
        let each = [3, 200, 0, 11][second as usize / 7 % 4];
        add(&mut machine, task, second..second + 1, each);
        assert_eq!(verdict(&machine, second), None, "after {second} s");
    }
    // A build adds directories, and removes them.
    let (mut machine, task) = one_instance();
    machine.watches(0, task, 1, 1..500);
    for second in 1..1000_u64 {
        let wd = i32::try_from(1000 + 20 * second).unwrap();
        machine.watches(second, task, 1, wd..wd + 20);
        if second % 15 == 0 {
            for wd in 1000 + 20..wd + 20 {
                let (instance, fd) = (InstanceId(1), Some(3));
                let kind = EventKind::WatchRemoved { instance, fd, wd, quota: None };
                machine.tell(second, Some(task), kind);
            }
        }
        assert_eq!(verdict(&machine, second), None, "after {second} s");
    }
}

#[test]
fn growth_is_seen_late_in_a_long_life_and_at_any_pace() {
    let (mut machine, task) = one_instance();
    machine.watches(0, task, 1, 1..300);
    assert_eq!(verdict(&machine, 90_000), None);
    add(&mut machine, task, 90_000..90_130, 5);
    let told = verdict(&machine, 90_130).expect("a fast leak in a day-old instance");
    assert!((told.growth.unwrap().per_minute - 300.0).abs() < 20.0, "{:?}", told.growth);
    // One a minute.
    let (mut machine, task) = one_instance();
    for minute in 0..300 {
        add(&mut machine, task, 60 * minute..60 * minute + 1, 1);
    }
    let told = verdict(&machine, 300 * 60).expect("a slow leak after five hours");
    assert!((told.growth.unwrap().per_minute - 1.0).abs() < 0.1, "{:?}", told.growth);
}

#[test]
fn a_limit_of_watches_that_is_near_is_a_note() {
    let (mut machine, task) = one_instance();
    add(&mut machine, task, 1..45, 300);
    let verdicts = machine.verdicts(45);
    let [Verdict { kind: Kind::LimitNear, growth: Some(growth), .. }] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert_eq!(growth.resource, Resource::Watches);
}

#[test]
fn watches_that_went_with_their_targets_unseen_are_no_growth() {
    // A build adds directories and removes them, and the backend does not see that. Another instance
    // has watches that stay.
    for (cycle, others) in [(20, 0), (60, 5000), (61, 0), (90, 300), (100, 5000)] {
        let (mut machine, task) = one_instance();
        machine.create(0, task, 2).watches(0, task, 2, 1..others + 1);
        for second in 1..900_u64 {
            let wd = i32::try_from(5 * second).unwrap();
            machine.watches(second, task, 1, wd..wd + 4);
            let used = u32::try_from(others).unwrap() + u32::try_from(second % cycle * 5).unwrap();
            let quota = Some(Quota::own(used, 65_536, 0, 1));
            let (instance, target, mask) = (InstanceId(1), Target::default(), 2);
            let kind = EventKind::WatchAdded { instance, fd: 3, wd: wd + 4, target, mask, quota };
            machine.tell(second, Some(task), kind);
            assert_eq!(verdict(&machine, second), None, "after {second} s, {cycle} s each");
        }
    }
}
