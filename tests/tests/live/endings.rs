//! The beginnings and ends of instances.

use std::collections::BTreeMap;

use inotify_trace_tests::{Backend, Subject, agent::has, live_test, process::hex, system};
use serde_json::{Value, json};

use crate::{nothing_lost, scene};

/// Runs a workload under an agent and compares all events with the expected ones, at the end and
/// when the workload calls its second argument. After that call, a late end cannot be reported
/// after the events of the next step.
fn traced(act: impl FnOnce(&mut Subject, &dyn Fn())) {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    act(&mut subject, &|| agent.expect(&world));
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn create_watch_unwatch_close() {
    let directory = system::directory();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    traced(|subject, _| {
        let fd = subject.create(0).unwrap();
        let first = subject.watch(fd, directory.path(), libc::IN_CREATE | libc::IN_ONLYDIR);
        let second = subject.watch(fd, &file, libc::IN_MODIFY | libc::IN_DELETE_SELF).unwrap();
        // Changes the existing watch instead of adding one.
        let again = subject.watch(fd, &file, libc::IN_ATTRIB | libc::IN_MASK_ADD).unwrap();
        assert_eq!(second, again);
        subject.unwatch(fd, first.unwrap());
        let other = subject.create(0).unwrap();
        subject.watch(other, &file, libc::IN_ACCESS).unwrap();
        subject.close(other);
        subject.close(fd);
    });
}

#[live_test(each = backend)]
fn a_watch_goes_with_its_target() {
    let directory = system::directory();
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    for file in [&one, &two] {
        std::fs::write(file, "").unwrap();
    }
    let (_machine, world, agent) = scene();
    if agent.backend() == Backend::Tracepoints {
        return system::skip("endings::a_watch_goes_with_its_target", "system calls do not tell");
    }
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let first = subject.watch(fd, &one, libc::IN_MODIFY).unwrap();
    let second = subject.watch(fd, &two, libc::IN_MODIFY).unwrap();
    subject.remove_watched(&one, fd, first);
    subject.unwatch(fd, second);
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn flags_and_the_legacy_call() {
    traced(|subject, _| {
        let both = libc::IN_NONBLOCK | libc::IN_CLOEXEC;
        for flags in [0, libc::IN_NONBLOCK, libc::IN_CLOEXEC, both] {
            subject.create(flags).unwrap();
        }
        subject.create(1).unwrap_err();
        if cfg!(target_arch = "x86_64") {
            subject.create_legacy().unwrap();
        }
        for fd in (3..).take(if cfg!(target_arch = "x86_64") { 5 } else { 4 }) {
            subject.close(fd);
        }
    });
}

#[live_test(each = backend)]
fn a_copy_keeps_the_instance_open() {
    traced(|subject, _| {
        let fd = subject.create(libc::IN_NONBLOCK).unwrap();
        let copy = subject.dup(fd);
        subject.close(fd);
        subject.close(copy);
    });
}

#[live_test(each = backend)]
fn copying_over_an_instance_closes_it() {
    traced(|subject, _| {
        let (one, two) = (subject.create(0).unwrap(), subject.create(0).unwrap());
        subject.dup_over(one, two, None);
        // A dup2 onto itself, or onto a descriptor that is no instance, closes nothing.
        subject.dup_over(one, one, None);
        subject.dup_over(one, 40, None);
        let three = subject.create(0).unwrap();
        subject.dup_over(40, three, Some(libc::O_CLOEXEC));
        // A dup3 onto a copy of the same instance.
        subject.dup_over(40, three, Some(0));
        for fd in [one, two, three, 40] {
            subject.close(fd);
        }
        // A dup2 of standard error onto an instance.
        let four = subject.create(0).unwrap();
        subject.dup_over(2, four, None);
    });
}

#[live_test(each = backend)]
fn a_failed_copy_closes_nothing() {
    traced(|subject, _| {
        let fd = subject.create(0).unwrap();
        assert_eq!(subject.process.call(&format!("dup2 77 {fd}")), Err(libc::EBADF));
        assert_eq!(subject.process.call(&format!("dup3 {fd} {fd} 0")), Err(libc::EINVAL));
        assert_eq!(subject.process.call("close 77"), Err(libc::EBADF));
        subject.close(fd);
    });
}

#[live_test(each = backend)]
fn close_range_closes_what_it_spans() {
    traced(|subject, all_told| {
        for _ in 0..4 {
            subject.create(0).unwrap();
        }
        subject.close_range(4, 5);
        all_told();
        subject.create(0).unwrap();
        subject.close_range(3, u32::MAX);
    });
}

#[live_test(each = backend)]
fn a_range_can_take_one_of_two_copies() {
    traced(|subject, _| {
        let fd = subject.create(0).unwrap();
        subject.dup_over(fd, 20, None);
        subject.close_range(10, 30);
        subject.close(fd);
    });
}

#[live_test(each = backend)]
fn exit_without_close() {
    let directory = system::directory();
    traced(|subject, _| {
        let fd = subject.create(0).unwrap();
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
        subject.exit();
    });
}

#[live_test(each = backend)]
fn exit_with_many_open() {
    traced(|subject, _| {
        for _ in 0..30 {
            subject.create(libc::IN_CLOEXEC).unwrap();
        }
        subject.exit();
    });
}

#[live_test(each = backend)]
fn killed() {
    traced(|subject, _| {
        subject.create(0).unwrap();
        subject.kill();
    });
}

#[live_test(each = backend)]
fn each_of_20_000_instances_ends_with_the_holder_that_is_killed() {
    const NAME: &str = "endings::each_of_20_000_instances_ends_with_the_holder_that_is_killed";
    const AT_ONCE: usize = 500;
    let wanted = if system::is_emulated() { 2000 } else { 20_000 };
    let (_machine, _, agent) = scene();
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let _setting = system::Setting::at_least(path, 20_000);
    let mut process = inotify_trace_tests::Process::start();
    let (pid, uid) = (process.pid, system::fresh_uid());
    // In some environments even root has a limit on open files.
    let files = [20_100, system::most_open_files()];
    let files = files.into_iter().find(|it| process.call(&format!("open_files {it}")).is_ok());
    let count = wanted.min(files.unwrap() - 100);
    if count < 20_000 {
        let why = "which emulation is too slow for, or more files than may be open";
        system::skip(NAME, &format!("with {count} instances instead of 20,000, {why}"));
    }
    process.call(&format!("uid {uid}")).unwrap();
    for made in (0..count).step_by(AT_ONCE) {
        let more = AT_ONCE.min(count - made);
        assert_eq!(process.call(&format!("create {more}")), Ok(i32::try_from(more).unwrap()));
        // Waits for the events, so that none is lost; the tests of storms cover losses.
        agent.wait_for("each beginning is told", |events| {
            crate::count(events, pid, "create") == made + more
        });
    }
    process.signal(libc::SIGKILL);
    process.join();
    agent.wait_for("each end is told", |events| {
        let is_end =
            |it: &&Value| it["event"] == "release" && (it["pid"] == pid || it["how"] == "unknown");
        events.iter().filter(is_end).count() >= count
    });
    let run = agent.stop();
    nothing_lost(&run);
    let made = run.events.iter().filter(|it| it["event"] == "create" && it["pid"] == pid);
    let mut open: BTreeMap<_, _> = made.map(|it| (it["instance"].as_u64(), &it["fd"])).collect();
    assert_eq!(open.len(), count);
    let (mut wrong, mut ended) = (Vec::new(), 0);
    for end in run.events.iter().filter(|event| event["event"] == "release") {
        let Some(fd) = open.remove(&end["instance"].as_u64()) else { continue };
        ended += 1;
        let told = json!({ "how": "exit", "pid": pid, "uid": uid, "comm": "workload" });
        // An agent that sees ends but no closes does not know the descriptor.
        let is_of_fd = end["fd"].is_null() || end["fd"] == *fd;
        if !has(end, &told) || !is_of_fd {
            wrong.push(end);
        }
    }
    let first = wrong.first();
    assert_eq!((wrong.len(), ended), (0, count), "the first one that is wrong: {first:?}");
}

#[live_test(each = backend)]
fn executing_a_program_ends_what_is_close_on_exec() {
    traced(|subject, all_told| {
        let fd = subject.create(libc::IN_CLOEXEC).unwrap();
        subject.exec();
        all_told();
        // The descriptor number is free in the new program.
        assert_eq!(subject.create(0).unwrap(), fd);
        subject.close(fd);
    });
}

#[live_test(each = backend)]
fn what_is_not_close_on_exec_ends_with_the_new_program() {
    traced(|subject, all_told| {
        subject.create(0).unwrap();
        subject.create(libc::IN_CLOEXEC).unwrap();
        subject.exec();
        all_told();
        subject.exit();
    });
}

#[live_test(each = backend)]
fn a_new_program_that_makes_an_instance_at_once_is_followed() {
    const TIMES: usize = 100;
    let (_machine, _world, agent) = scene();
    let mut process = inotify_trace_tests::Process::start();
    for _ in 0..TIMES {
        process.call(&format!("init1 {}", libc::IN_CLOEXEC)).unwrap();
        let answers = process.ask("exec executed-create");
        assert!(answers[0] >= 0 && answers[1] == 0, "{answers:?}");
    }
    let pid = process.pid;
    agent.wait_for("every end is told", |events| crate::count(events, pid, "release") == 2 * TIMES);
    let run = agent.stop();
    nothing_lost(&run);
    let ends = |how: &str| {
        run.events.iter().filter(|event| event["pid"] == pid && event["how"] == how).count()
    };
    // A reused descriptor number does not confuse the new instance with the old one.
    let (by_exec, unknown, closed) = (ends("exec"), ends("unknown"), ends("closed"));
    assert_eq!((by_exec, unknown, closed), (TIMES, 0, TIMES), "exec, unknown, closed");
}

/// What an exec keeps goes by the flags of that moment, not by those of the creation; and the new program
/// may close it before anybody looks.
#[live_test(each = backend)]
fn a_new_program_that_closes_at_once_what_it_was_left_closes_it() {
    const TIMES: usize = 20;
    let (_machine, _world, agent) = scene();
    let mut process = inotify_trace_tests::Process::start();
    // A number that needs a larger table.
    let high = 700;
    for _ in 0..TIMES {
        let kept = process.call(&format!("init1 {}", libc::IN_CLOEXEC)).unwrap();
        process.call(&format!("dup3 {kept} {high} {}", libc::O_CLOEXEC)).unwrap();
        process.call(&format!("close {kept}")).unwrap();
        process.call(&format!("close_on_exec {high} 0")).unwrap();
        let lost = process.call("init1 0").unwrap();
        process.call(&format!("close_on_exec {lost} 1")).unwrap();
        assert_eq!(process.ask(&format!("exec executed-close {high}")), [0]);
    }
    let pid = process.pid;
    agent.wait_for("every end is told", |events| crate::count(events, pid, "release") == 2 * TIMES);
    let run = agent.stop();
    nothing_lost(&run);
    let its = run.events.iter().filter(|event| event["pid"] == pid);
    let ends = |how: &str| its.clone().filter(|event| event["how"] == how).count();
    assert_eq!((ends("exec"), ends("closed")), (TIMES, TIMES), "exec, closed");
    let kept = its.clone().filter(|event| event["kept"] == json!([high])).count();
    assert_eq!(kept, TIMES);
}

/// This program copies descriptors to learn of them. The kernel frees an instance in the name of whoever
/// has the last reference.
#[live_test(each = backend)]
fn who_only_looks_at_an_instance_does_not_end_it() {
    let (_machine, _world, agent) = scene();
    let [mut owner, mut looker] = [(); 2].map(|()| inotify_trace_tests::Process::start());
    looker.call(&format!("name {}", hex(b"inotify-trace"))).unwrap();
    let fd = owner.call("init1 0").unwrap();
    let pid = owner.pid;
    agent.wait_for("it is there", |events| crate::count(events, pid, "create") == 1);
    let copy = looker.call(&format!("getfd {pid} {fd}")).unwrap();
    drop(owner);
    agent.wait_for("its owner's end", |events| crate::count(events, pid, "exit") == 1);
    looker.call(&format!("close {copy}")).unwrap();
    agent.wait_for("its end", |events| crate::count(events, pid, "release") == 1);
    let run = agent.stop();
    // The looker is not told of. An agent that asks and finds the instance still there, before the
    // looker closes it, cannot know who did.
    let how = if crate::count(&run.events, pid, "held") == 0 { "exit" } else { "unknown" };
    let is_end = |it: &&Value| it["event"] == "release" && it["pid"] == pid;
    assert_eq!(run.events.iter().find(is_end).unwrap()["how"], how);
    nothing_lost(&run);
}

#[live_test(each = backend)]
fn a_close_through_io_uring_ends_the_instance() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let alone = subject.create(0).unwrap();
    if !subject.uring_close(alone) {
        let name = "endings::a_close_through_io_uring_ends_the_instance";
        return system::skip(name, "the kernel offers no io_uring");
    }
    agent.wait_for_event(&json!({ "event": "release", "pid": subject.pid() }));
    let copied = subject.create(0).unwrap();
    let copy = subject.dup(copied);
    assert!(subject.uring_close(copied));
    subject.close(copy);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_child_that_closes_last_ends_the_instance() {
    let (_machine, world, agent) = scene();
    let mut parent = world.subject();
    let fd = parent.create(0).unwrap();
    let mut child = parent.fork();
    parent.exit();
    // Waits until the exit is reported, before the child closes the instance.
    agent.wait_for_event(&json!({ "event": "exit", "pid": parent.pid() }));
    child.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_parent_that_closes_last_ends_the_instance() {
    let (_machine, world, agent) = scene();
    let mut parent = world.subject();
    let fd = parent.create(0).unwrap();
    let mut child = parent.fork();
    let mut grandchild = child.fork();
    grandchild.close(fd);
    child.exit_under(&mut parent);
    parent.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn an_orphan_that_exits_last_ends_the_instance() {
    let (_machine, world, agent) = scene();
    let mut parent = world.subject();
    parent.create(0).unwrap();
    let mut child = parent.fork();
    child.exit_under(&mut parent);
    parent.exit();
    nothing_lost(&agent.finish(&world));
}
