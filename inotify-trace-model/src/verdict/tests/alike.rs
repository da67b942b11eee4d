//! What a snapshot alone says.

use super::*;

fn alike(machine: &Machine, seconds: u64) -> Option<(u32, usize, Detail)> {
    let verdicts = machine.verdicts(seconds);
    let found = verdicts.into_iter().find(|it| it.kind == Kind::Alike)?;
    Some((found.pid, found.size(), found.detail))
}

#[test]
fn many_on_the_same_target_or_on_none_are_worth_a_note() {
    for path in [Some("/etc"), None] {
        let (mut machine, resolver) = (Machine::new(), task(1, "hass"));
        for instance in 1..=9 {
            machine.found(resolver, instance, path);
        }
        assert_eq!(alike(&machine, 100), None, "few are nothing special");
        machine.found(resolver, 10, path).found(resolver, 11, Some("/var"));
        let (pid, count, detail) = alike(&machine, 100).expect("ten are");
        assert_eq!((pid, count), (1, 10));
        match (path, detail) {
            (None, detail) => assert_eq!(detail, Detail::Watched(Watched::Nothing)),
            (path, Detail::Watched(Watched::Same(it))) => assert_eq!(it.path.as_deref(), path),
            (_, detail) => panic!("{detail:?}"),
        }
        assert!(machine.verdicts(100).iter().all(|it| !it.kind.is_leak()), "no leak for that");
    }
}

#[test]
fn many_on_targets_of_their_own_are_not() {
    let (mut machine, kubelet) = (Machine::new(), task(1, "kubelet"));
    for instance in 1..=60 {
        machine.found(kubelet, instance, Some(&format!("/var/log/{instance}")));
    }
    assert_eq!(alike(&machine, 100), None);
}

#[test]
fn of_a_moment_s_instances_nothing_is_said() {
    let (mut machine, app) = (Machine::new(), task(1, "app"));
    for instance in 1..=20 {
        machine.create(10, app, instance).watch(10, app, instance, Err("/etc"));
    }
    assert_eq!(alike(&machine, 39), None);
    assert_eq!(alike(&machine, 40).map(|it| it.1), Some(20));
    let (_, next) = judgement(&machine.0, at(39), &Grace::default());
    assert_eq!(next, Some(at(40)), "it wakes for that");
}
