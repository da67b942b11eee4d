//! Growth by what outlives its usual lifetime.

use super::*;

const APP: &str = "app";

/// The kinds of verdicts in each second.
fn kinds(machine: &Machine, seconds: impl Iterator<Item = u64>) -> Vec<Kind> {
    let mut all: Vec<_> =
        seconds.flat_map(|it| machine.verdicts(it)).map(|verdict| verdict.kind).collect();
    all.dedup();
    all
}

/// The only verdict that is a leak.
fn leak(machine: &Machine, seconds: u64) -> Verdict {
    let verdicts = machine.verdicts(seconds);
    let mut leaks = verdicts.iter().filter(|it| it.kind.is_leak());
    let (Some(leak), None) = (leaks.next(), leaks.next()) else { panic!("{verdicts:?}") };
    leak.clone()
}

/// The machine after its state was taken apart and put together again, as from a recording.
fn restored(machine: &Machine) -> Machine {
    let mut restored = Machine(Tracker::new());
    machine.0.parts().into_iter().for_each(|part| restored.0.restore(part));
    restored
}

/// Makes `made` at once, and closes all but `kept` of them after `lifetime`, every `every` seconds.
fn churn(made: u64, kept: u64, lifetime: u64, every: u64, rounds: u64) -> Machine {
    let (mut machine, app) = (Machine::new(), task(1, APP));
    let mut events: Vec<(u64, bool, u64)> = Vec::new();
    for round in 0..rounds {
        for number in 0..made {
            let (time, instance) = (round * every, 1 + round * made + number);
            events.push((time, true, instance));
            if number >= kept {
                events.push((time + lifetime, false, instance));
            }
        }
    }
    events.sort_unstable_by_key(|&(time, is_made, instance)| (time, !is_made, instance));
    for (time, is_made, instance) in events {
        if time > rounds * every {
            break;
        }
        if is_made {
            machine.create(time, app, instance).watch(time, app, instance, Err("/tmp"));
        } else {
            machine.release(time, app, instance);
        }
    }
    machine
}

#[test]
fn ten_made_and_nine_closed_a_round_is_a_leak_of_one() {
    let machine = churn(10, 1, 0, 2, 70);
    let verdict = leak(&machine, 140);
    assert_eq!((verdict.kind, verdict.confidence()), (Kind::Growing, Confidence::Likely));
    let growth = verdict.growth.unwrap();
    assert!((growth.per_minute - 30.0).abs() < 0.5, "{growth:?}");
    assert_eq!(growth.resource, Resource::Instances);
    let Detail::Watched(Watched::Same(target)) = &verdict.detail else { panic!("{verdict:?}") };
    assert_eq!(target.path.as_deref(), Some("/tmp"));
    assert_eq!(machine.verdicts(140), restored(&machine).verdicts(140));
    // The same if those that are closed live for some time, and the leak is rare.
    let machine = churn(10, 1, 25, 5, 50);
    let verdict = leak(&machine, 250);
    assert!((verdict.growth.unwrap().per_minute - 12.0).abs() < 0.5, "{:?}", verdict.growth);
    assert_eq!(machine.verdicts(250), restored(&machine).verdicts(250));
}

#[test]
fn what_is_not_decided_yet_is_a_note_if_the_limit_is_near() {
    let machine = churn(10, 1, 0, 2, 20);
    let [verdict] = &machine.verdicts(40)[..] else { panic!("{:?}", machine.verdicts(40)) };
    let Detail::Near(near) = verdict.detail else { panic!("{verdict:?}") };
    assert_eq!((verdict.kind, near.looks_used), (Kind::LimitNear, false));
    assert_eq!((near.quota.used, near.quota.limit), (28, 128));
    // 100 are left, at one in two seconds.
    let left = verdict.growth.unwrap().time_left().unwrap().as_secs();
    assert!((190..=210).contains(&left), "{left}");
    assert_eq!(churn(10, 1, 0, 2, 3).verdicts(6), []);
}

#[test]
fn whoever_closes_all_of_them_in_the_end_does_not_leak() {
    for lifetime in [1, 10, 59, 100] {
        let machine = churn(3, 0, lifetime, 5, 400);
        assert_eq!(kinds(&machine, 1500..2000), [], "each lives {lifetime} s");
    }
    // Lifetimes between half a minute and five, at random.
    let (mut machine, app) = (Machine::new(), task(1, APP));
    let mut open: Vec<(u64, u64)> = Vec::new();
    let mut random = 1_u64;
    for second in 0..3000 {
        open.retain(|&(end, instance)| {
            if end == second {
                machine.release(second, app, instance);
            }
            end != second
        });
        if second % 8 == 0 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let instance = 1 + second / 8;
            machine.create(second, app, instance).watch(second, app, instance, Err("/tmp"));
            open.push((second + 30 + (random >> 33) % 270, instance));
        }
        let leaks = machine.verdicts(second).into_iter().filter(|it| it.kind.is_leak());
        assert_eq!(leaks.collect::<Vec<_>>(), [], "after {second} s");
    }
}

#[test]
fn one_for_each_of_many_living_targets_is_use() {
    let (mut machine, kubelet) = (Machine::new(), task(1, "kubelet"));
    for number in 1..=60 {
        let (time, log) = (10 * number, format!("/var/log/{number}.log"));
        machine.create(time, kubelet, number).watch(time, kubelet, number, Err(&log));
        // Somebody else follows the same one.
        machine.create(time, kubelet, 1000 + number);
        machine.watch(time, kubelet, 1000 + number, Err(&log));
        let leaks = machine.verdicts(time).into_iter().filter(|it| it.kind.is_leak());
        assert_eq!(leaks.collect::<Vec<_>>(), [], "after {time} s");
    }
    assert_eq!(machine.verdicts(601), []);
    // Its limit may be near all the same.
    let quota = Some(Quota::own(90, 128, 0, 1));
    machine.tell(601, None, EventKind::CreateFailed { flags: 0, errno: 24, quota, files: None });
    let near = machine.verdicts(601);
    let [Verdict { kind: Kind::LimitNear, detail: Detail::Near(near), .. }] = &near[..] else {
        panic!("{near:?}")
    };
    assert!(near.looks_used);
    // Logs that are gone are followed by nobody.
    for number in 1..=60 {
        machine.unwatch(602, number, None).unwatch(602, 1000 + number, None);
    }
    assert_eq!(leak(&machine, 604).detail, Detail::Watched(Watched::Nothing));
}

#[test]
fn an_unknown_target_may_be_its_own() {
    let (mut machine, app) = (Machine::new(), task(1, APP));
    for number in 1..=60 {
        let time = 10 * number;
        machine.create(time, app, number);
        let (instance, target, fd) = (InstanceId(number), Default::default(), 3);
        let kind = EventKind::WatchAdded { instance, fd, wd: 1, target, mask: 2, quota: None };
        machine.tell(time, Some(app), kind);
    }
    assert!(machine.verdicts(600).iter().all(|it| !it.kind.is_leak()));
}

#[test]
fn one_more_target_that_all_others_have_too_makes_no_use() {
    let (mut machine, app) = (Machine::new(), task(1, APP));
    let watch = |machine: &mut Machine, time, instance: u64, wd, path: String| {
        let target = Target { path: Some(path.into()), ..Default::default() };
        let (instance, fd) = (InstanceId(instance), 3);
        let kind = EventKind::WatchAdded { instance, fd, wd, target, mask: 2, quota: None };
        machine.tell(time, Some(app), kind);
    };
    // Each watches a tree that becomes larger.
    for number in 1..=40 {
        let time = 10 * number;
        machine.create(time, app, number);
        for directory in 0..=number / 4 {
            let wd = i32::try_from(1 + directory).unwrap();
            watch(&mut machine, time, number, wd, format!("/srv/{directory}"));
        }
    }
    assert_eq!(leak(&machine, 400).detail, Detail::Watched(Watched::Various));
    // But a file of its own does.
    for number in 1..=40 {
        watch(&mut machine, 401, number, 90, format!("/srv/own/{number}"));
    }
    assert!(machine.verdicts(402).iter().all(|it| !it.kind.is_leak()));
}

#[test]
fn a_reload_that_replaces_all_and_a_burst_are_no_growth() {
    let (mut machine, app) = (Machine::new(), task(1, APP));
    for reload in 0..30 {
        let time = 60 * reload;
        for number in 1..=10 {
            let instance = 10 * reload + number;
            machine.create(time, app, instance).watch(time, app, instance, Err("/etc"));
        }
        for number in 1..=10 {
            if reload > 0 {
                machine.release(time + 1, app, 10 * (reload - 1) + number);
            }
        }
        let leaks = machine.verdicts(time + 50).into_iter().filter(|it| it.kind.is_leak());
        assert_eq!(leaks.collect::<Vec<_>>(), []);
    }
}

#[test]
fn of_a_start_in_a_burst_only_what_comes_later_counts() {
    let (mut machine, daemon) = (Machine::new(), task(1, "daemon"));
    for number in 1..=40 {
        machine.create(0, daemon, number).watch(0, daemon, number, Err("/etc"));
    }
    for number in 1..=30 {
        let (time, instance) = (600 + 20 * number, 100 + number);
        machine.create(time, daemon, instance).watch(time, daemon, instance, Err("/etc"));
    }
    let verdict = leak(&machine, 1201);
    assert_eq!((verdict.kind, verdict.evidence.len()), (Kind::Growing, 30));
    assert!((verdict.growth.unwrap().per_minute - 3.0).abs() < 0.1, "{:?}", verdict.growth);
    // It stopped.
    assert!(machine.verdicts(1500).iter().all(|it| !it.kind.is_leak()));
}

#[test]
fn a_program_that_another_one_executes_begins_anew() {
    let mut machine = churn(10, 1, 0, 2, 70);
    machine.tell(140, Some(task(1, "next")), EventKind::ProcessExec { kept: Some(Vec::new()) });
    assert_eq!(machine.verdicts(141), []);
}

#[test]
fn a_verdict_is_told_again_when_the_limit_is_very_near() {
    let (mut machine, app) = (Machine::new(), task(1, APP));
    let mut watcher = Watcher::new(Grace::default());
    let mut told = Vec::new();
    for second in 0..400_u64 {
        if second % 4 == 0 {
            let (instance, fd) = (InstanceId(1 + second), i32::try_from(second).unwrap());
            let used = 28 + u32::try_from(second / 4).unwrap();
            let quota = Some(Quota::own(used, 128, 0, 1));
            let kind = EventKind::InstanceCreated { instance, fd, flags: 0, quota };
            machine.tell(second, Some(app), kind);
        }
        for verdict in watcher.reached(&machine.0, at(second)) {
            told.push((verdict.kind, second));
        }
    }
    // Not decided, decided at two minutes, twice as many, and a minute before the end.
    let kinds: Vec<_> = told.iter().map(|it| it.0).collect();
    assert_eq!(kinds[..2], [Kind::LimitNear, Kind::Growing], "{told:?}");
    assert!(kinds[1..].iter().all(|&it| it == Kind::Growing), "{told:?}");
    assert!((120..130).contains(&told[1].1), "{told:?}");
    assert!(told.iter().any(|it| (335..350).contains(&it.1)), "{told:?}");
    assert!(told.len() <= 5, "{told:?}");
}
