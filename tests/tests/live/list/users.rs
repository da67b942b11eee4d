//! The charged users, their usage and their limits.

use inotify_trace_tests::{Listing, World, listing::ROADS, live_test, system};

use crate::namespaces::{enter, limit};

#[live_test(each = kernel)]
fn those_above_a_user_namespace_pay_too() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let creator = subject.payer;
    let fd = subject.create(0).unwrap();
    subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    let userns = system::user_namespace(subject.pid());
    subject.payer = world.payer(subject.actor.uid, userns, 1);
    world.change_payer(subject.payer, |payer| payer.above = Some(creator));
    for _ in 0..2 {
        let fd = subject.create(0).unwrap();
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    world.check_listings();
    // The same in plain numbers.
    let payer = world.payer_at(creator);
    for road in ROADS {
        let listing = Listing::by("user", road);
        for (userns, charged) in [(payer.userns, 3), (userns, 2)] {
            let told = listing.user(payer.uid, userns).unwrap();
            let numbers = [&told["used"], &told["not_visible"]];
            assert_eq!(numbers.map(|it| it.as_u64()), [Some(charged), Some(0)], "{told}");
        }
    }
    // Only the instances of the child namespace are left. The user above, who has none of their own
    // now, is still charged.
    subject.close(fd);
    world.check_listings();
}

#[live_test(each = kernel)]
fn a_full_watch_limit_is_shown_full() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let creator = subject.payer;
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    limit(&mut subject, "max_inotify_watches", 5);
    limit(&mut subject, "max_inotify_instances", 3);
    let userns = system::user_namespace(subject.pid());
    subject.payer = world.payer(subject.actor.uid, userns, 0);
    world.change_payer(subject.payer, |payer| {
        (payer.max_instances, payer.max_watches) = (3, 5);
        payer.above = Some(creator);
    });
    let fd = subject.create(0).unwrap();
    let watch = |number: u32| {
        let path = directory.path().join(number.to_string());
        std::fs::write(&path, "").unwrap();
        path
    };
    for number in 0..5 {
        subject.watch(fd, watch(number), libc::IN_MODIFY).unwrap();
    }
    assert_eq!(subject.watch(fd, watch(5), libc::IN_MODIFY), Err(libc::ENOSPC));
    world.check_listings();
    for _ in 0..2 {
        subject.create(0).unwrap();
    }
    assert_eq!(subject.create(0), Err(libc::EMFILE));
    world.check_listings();
    for road in ROADS {
        let listing = Listing::by("user", road);
        let row = listing.rows().iter().find(|row| row["user"]["userns"] == userns).unwrap();
        let fields = ["used", "limit", "percent", "watches_used", "watch_limit", "watch_percent"];
        let told = fields.map(|field| row[field].as_f64().unwrap());
        assert_eq!(told, [3.0, 3.0, 100.0, 5.0, 5.0, 100.0], "{row}");
    }
}

#[live_test]
fn a_full_instance_limit_is_shown_full() {
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let limit = world.payer_at(subject.payer).max_instances;
    while subject.create(0).is_ok() {}
    assert_eq!(subject.create(0), Err(libc::EMFILE));
    assert_eq!(world.payer_at(subject.payer).instances, limit);
    world.check_listings();
    subject.close(3);
    world.check_listings();
}

#[live_test]
fn two_users_of_one_process_are_told_apart() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject_of_root();
    for count in 1..=3 {
        subject.act_as_another();
        for _ in 0..count {
            let fd = subject.create(0).unwrap();
            subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
        }
        subject.process.call("euid 0").unwrap();
    }
    world.check_listings();
}
