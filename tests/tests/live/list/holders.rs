//! Holders: an instance counts once, however many descriptors lead to it.

use std::fs;

use inotify_trace_tests::{
    Cgroup, Listing, Process, World, listing::ROADS, live_test, process::hex, system, wait,
};
use serde_json::json;

use super::Forty;

/// A pair of connected sockets in a process.
fn sockets(process: &mut Process) -> (i32, i32) {
    let pair = process.ask("socketpair");
    (i32::try_from(pair[0]).unwrap(), i32::try_from(pair[1]).unwrap())
}

#[live_test(each = kernel)]
fn forty_instances_are_forty() {
    let _machine = system::the_machine();
    let mut forty = Forty::new();
    forty.world.check_listings();
    let payer = forty.world.payer_at(forty.payer);
    // The same in plain numbers, which do not depend on the tests' own state.
    for road in ROADS {
        let by_process = Listing::by("process", road);
        for pid in forty.pids() {
            let row = by_process.process(pid).unwrap();
            let fds = if pid == forty.children[0].pid() { 41 } else { 40 };
            let told = [&row["instances"], &row["watches"], &row["shared"], &row["fds"]];
            assert_eq!(told.map(|it| it.as_u64().unwrap()), [40, 40, 40, fds], "{row}");
            assert_eq!(row["user"], json!([payer.user()]), "who made them is charged");
        }
        let by_user = Listing::by("user", road);
        let row = by_user.rows().iter().find(|row| row["user"] == payer.user()).unwrap();
        let fields = ["used", "instances", "not_visible", "processes", "fds", "watches_used"];
        let told = fields.map(|field| row[field].as_u64().unwrap());
        assert_eq!(told, [40, 40, 0, 5, 201, 40], "{row}");
        let by_instance = Listing::by("instance", road);
        let theirs = by_instance.rows().iter().filter(|row| row["user"] == json!([payer.user()]));
        assert_eq!(theirs.count(), 40);
    }
    // The kernel agrees: the user can create exactly the remaining number of instances.
    let limit = payer.max_instances;
    let mut other = forty.world.subject_of_root();
    other.process.call(&format!("uid {}", payer.uid)).unwrap();
    let fit = (0..=limit).take_while(|_| other.process.call("init1 0").is_ok()).count();
    assert_eq!(fit, (limit - 40) as usize);
    drop(other);
    // All of this holds after some of the processes have exited.
    for child in forty.children.drain(1..) {
        let mut child = child;
        child.exit_under(&mut forty.parent);
    }
    forty.parent.close_range(3, 12);
    forty.world.check_listings();
}

#[live_test]
fn threads_are_one_process() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let mut threads: Vec<_> = (0..6).map(|_| subject.thread()).collect();
    world.check_listings();
    for thread in &mut threads {
        let own = thread.create(0).unwrap();
        thread.watch(own, directory.path(), libc::IN_CREATE).unwrap();
        thread.dup(fd);
    }
    world.check_listings();
    // Instances of the process outlive the threads that created them.
    threads.truncate(2);
    world.check_listings();
}

#[live_test(each = kernel)]
fn a_process_whose_first_thread_has_ended_holds_on() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut main = world.subject();
    let pid = main.pid();
    let mut threads = [main.thread(), main.thread()];
    let fd = main.create(0).unwrap();
    main.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    main.process.tell("end");
    // /proc/PID/fd is empty now.
    wait::until("the first thread has ended", || {
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().next().is_none()
    });
    threads[0].dup(fd);
    let listing = Listing::by("process", &["--watches"]);
    let row = listing.process(pid).unwrap();
    let told = ["instances", "watches", "fds"].map(|field| row[field].as_u64().unwrap());
    assert_eq!(told, [1, 1, 2], "{row}");
    assert_eq!(row["targets"][0]["path"], json!(directory.path().to_str()), "{row}");
}

#[live_test]
fn an_exec_keeps_what_is_not_close_on_exec() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let flags = [0, libc::IN_CLOEXEC, libc::IN_CLOEXEC, 0];
    let fds = flags.map(|flags| subject.create(flags).unwrap());
    for fd in fds {
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    // The exec closes one of its descriptors and keeps the other.
    subject.dup(fds[1]);
    world.check_listings();
    subject.exec();
    world.check_listings();
}

#[live_test]
fn what_is_closed_in_a_range_or_copied_over_is_gone() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let fds: Vec<_> = (0..8).map(|_| subject.create(0).unwrap()).collect();
    for &fd in &fds {
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    subject.dup_over(fds[0], fds[7], None);
    world.check_listings();
    subject.dup_over(2, fds[1], None);
    world.check_listings();
    subject.close_range(fds[2], fds[5].cast_unsigned());
    world.check_listings();
    subject.close_range(fds[0], u32::MAX);
    world.check_listings();
}

#[live_test(each = kernel)]
fn an_instance_is_sent_to_another_user_and_container() {
    let _machine = system::the_machine();
    let (Some(cgroup), Some(home)) = (Cgroup::of_containerd(), Cgroup::new()) else {
        return system::skip(
            "list::holders::an_instance_is_sent_to_another_user_and_container",
            "no cgroup v2 hierarchy is mounted",
        );
    };
    let (world, directory) = (World::new(), system::directory());
    let mut sender = world.subject_of_root();
    let (ours, theirs) = sockets(&mut sender.process);
    let mut receiver = sender.fork();
    sender.become_another();
    receiver.become_another();
    sender.move_to(&home);
    receiver.move_to(&cgroup);
    let fd = sender.create(0).unwrap();
    sender.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    // Keeps the user charged and visible while no process holds the sent instance.
    let kept = sender.create(0).unwrap();
    let instance = sender.instance(fd);
    sender.send(ours, fd);
    world.check_listings();
    sender.close(fd);
    // In flight: charged, but held by no process.
    world.check_listings();
    let payer = world.payer_at(sender.payer);
    for road in ROADS {
        let listing = Listing::by("user", road);
        let told = listing.user(payer.uid, payer.userns).unwrap();
        assert_eq!([&told["not_visible"], &told["used"]], [1, 2], "{told}");
    }
    let received = receiver.receive(theirs, instance);
    world.check_listings();
    for road in ROADS {
        let listing = Listing::by("container", road);
        let row = listing.rows().iter().find(|row| row["cgroup"] == json!([cgroup.path])).unwrap();
        assert_eq!(row["user"], json!([payer.user()]), "the sender pays: {row}");
    }
    sender.close(kept);
    world.check_listings();
    receiver.dup(received);
    receiver.create(0).unwrap();
    world.check_listings();
    sender.exit();
    world.check_listings();
}

#[live_test(each = kernel)]
fn both_ends_hold_what_was_sent() {
    let _machine = system::the_machine();
    let world = World::new();
    let mut sender = world.subject_of_root();
    let (ours, theirs) = sockets(&mut sender.process);
    let mut receiver = sender.fork();
    sender.become_another();
    receiver.become_another();
    let fd = sender.create(0).unwrap();
    let instance = sender.instance(fd);
    sender.send(ours, fd);
    receiver.receive(theirs, instance);
    world.check_listings();
    sender.close(fd);
    world.check_listings();
}

#[live_test]
fn whoever_copies_a_descriptor_holds_the_instance() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let (mut owner, mut copier) = (world.subject(), world.subject_of_root());
    let fd = owner.create(0).unwrap();
    owner.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    let copy = copier.copy_of(&owner, fd);
    world.check_listings();
    owner.exit();
    world.check_listings();
    copier.close(copy);
    world.check_listings();
}

#[live_test]
fn a_killed_holder_is_gone_and_its_child_holds_on() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut lone = world.subject();
    lone.create(0).unwrap();
    let mut parent = world.subject();
    for _ in 0..3 {
        let fd = parent.create(libc::IN_CLOEXEC).unwrap();
        parent.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    let mut child = parent.fork();
    world.check_listings();
    lone.kill();
    parent.kill();
    world.check_listings();
    child.close(3);
    world.check_listings();
}

#[live_test]
fn a_process_id_is_no_inheritance() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let mut maker = world.subject_of_root();
    let mut first = world.subject();
    for _ in 0..3 {
        let fd = first.create(0).unwrap();
        first.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    }
    let pid = first.pid();
    world.check_listings();
    first.exit();
    let mut second = maker.fork_as(pid).expect("the process id is free");
    assert_eq!(second.pid(), pid);
    world.check_listings();
    second.become_another();
    second.create(0).unwrap();
    world.check_listings();
}

#[live_test(each = kernel)]
fn tens_of_thousands_of_watches_are_all_there() {
    let watches: u32 = if system::is_emulated() { 5_000 } else { 50_000 };
    if watches < 50_000 {
        system::skip(
            "list::holders::tens_of_thousands_of_watches_are_all_there",
            "with 5,000 watches instead of 50,000, which emulation is too slow for",
        );
    }
    let _machine = system::the_machine();
    let _setting =
        system::Setting::at_least("/proc/sys/fs/inotify/max_user_watches", watches + 10_000);
    let (world, directory) = (World::new(), system::directory());
    let mut subject = world.subject();
    let without = subject.create(0).unwrap();
    world.check_listings();
    let fd = subject.create(0).unwrap();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    let made = subject.process.call(&format!("watch_files {fd} {path} {watches}"));
    assert_eq!(made, Ok(watches.cast_signed()));
    let (uid, userns) = (subject.actor.uid, system::user_namespace(std::process::id()));
    for road in ROADS {
        let listing = Listing::by("process", &[road, &["--watches"]].concat());
        let row = listing.process(subject.pid()).unwrap();
        assert_eq!([&row["instances"], &row["watches"]], [2, watches]);
        let user = listing.user(uid, userns).unwrap();
        assert_eq!([&user["watches_used"], &user["watches_not_visible"]], [watches, 0]);
        // The first watch is on the file named 0, and so on.
        let targets = row["targets"].as_array().unwrap();
        assert_eq!(targets.len(), watches as usize);
        for (number, target) in targets.iter().enumerate() {
            let path = directory.path().join(number.to_string());
            assert_eq!(target["wd"], number + 1, "{target}");
            assert_eq!(target["path"], json!(path.to_str()), "{target}");
        }
    }
    subject.close(fd);
    world.check_listings();
    subject.close(without);
    world.check_listings();
}
