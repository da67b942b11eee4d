//! Instances passed between processes, and references that are no descriptors.

use inotify_trace_tests::{Backend, Subject, live_test, system, wait};
use serde_json::{Value, json};

use crate::{nothing_lost, scene};

/// A pair of connected sockets in a process, and a child that shares it.
fn connected(subject: &mut Subject) -> (i32, i32, Subject) {
    let pair = subject.process.ask("socketpair");
    let [ours, theirs] = [pair[0], pair[1]].map(|fd| i32::try_from(fd).unwrap());
    let child = subject.fork();
    (ours, theirs, child)
}

#[live_test(each = backend)]
fn a_receiver_that_closes_last_ends_the_instance() {
    let (_machine, world, agent) = scene();
    let mut sender = world.subject();
    let (ours, theirs, mut receiver) = connected(&mut sender);
    let fd = sender.create(0).unwrap();
    let instance = sender.instance(fd);
    sender.send(ours, fd);
    let received = receiver.receive(theirs, instance);
    sender.close(fd);
    // The receiver never created or used an instance: the kernel programs do not know it as a
    // holder.
    receiver.close_unseen(received);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_receiver_that_uses_it_is_known_as_a_holder() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut sender = world.subject();
    let (ours, theirs, mut receiver) = connected(&mut sender);
    let fd = sender.create(0).unwrap();
    let instance = sender.instance(fd);
    sender.send(ours, fd);
    let received = receiver.receive(theirs, instance);
    sender.close(fd);
    receiver.watch(received, directory.path(), libc::IN_CREATE).unwrap();
    receiver.close(received);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_descriptor_in_a_dead_socket_ends_with_it() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let pair = subject.process.ask("socketpair");
    let fd = subject.create(0).unwrap();
    let instance = subject.instance(fd);
    subject.send(i32::try_from(pair[0]).unwrap(), fd);
    subject.close(fd);
    agent.wait_for_close(json!({ "pid": subject.pid() }));
    let since = system::boot_ns();
    for socket in pair {
        subject.process.call(&format!("close {socket}")).unwrap();
    }
    subject.reference_gone(instance, since);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn what_outlives_all_its_known_holders_is_ended_by_nobody_known() {
    let (_machine, world, agent) = scene();
    let mut sender = world.subject();
    let (ours, theirs, mut keeper) = connected(&mut sender);
    let fd = sender.create(0).unwrap();
    // The instance is in flight when its only holder exits; it has no known holder then.
    sender.process.call(&format!("send {ours} {fd}")).unwrap();
    let (pid, backend) = (sender.pid(), agent.backend());
    sender.exit();
    if backend == Backend::Tracepoints {
        agent.wait_for_event(&json!({ "event": "held", "left": 1 }));
    }
    for socket in [ours, theirs] {
        keeper.process.call(&format!("close {socket}")).unwrap();
    }
    let end_of_it = |events: &[Value]| {
        let made = |event: &&Value| event["event"] == "create" && event["pid"] == pid;
        let instance = events.iter().find(made)?["instance"].clone();
        let ends = |event: &&Value| event["event"] == "release" && event["instance"] == instance;
        events.iter().find(ends).cloned()
    };
    agent.wait_for("its end", |events| end_of_it(events).is_some());
    let run = agent.stop();
    nothing_lost(&run);
    let end = end_of_it(&run.events).unwrap();
    if backend == Backend::Tracepoints {
        // The agent names the creator, since it knows no other holder.
        assert_eq!((&end["how"], &end["pid"]), (&json!("unknown"), &json!(pid)), "{end}");
    } else {
        assert_eq!((&end["how"], &end["pid"]), (&json!("closed"), &json!(keeper.pid())), "{end}");
    }
}

#[live_test(each = backend)]
fn a_read_that_blocks_keeps_the_instance() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut main = world.subject();
    let mut creator = main.thread();
    let mut reader = main.thread();
    let mut closer = main.thread();
    let fd = creator.create(0).unwrap();
    creator.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    let instance = creator.instance(fd);
    reader.process.tell(&format!("read {fd}"));
    until_blocked_in_read(reader.process.pid, reader.process.tid, fd);
    reader.reference(instance);
    closer.close(fd);
    agent.wait_for_close(json!({ "tid": closer.process.tid, "left": 1 }));
    let since = system::boot_ns();
    // Wakes the reader, which held the last reference.
    std::fs::write(directory.path().join("new"), "").unwrap();
    let read = reader.process.answer("read").unwrap();
    assert!(read > 0);
    reader.reference_gone(instance, since);
    nothing_lost(&agent.finish(&world));
}

/// Waits until the thread blocks in read(2) on this descriptor, as /proc shows.
fn until_blocked_in_read(pid: u32, tid: u32, fd: i32) {
    let blocked = format!("{} {fd:#x} ", libc::SYS_read);
    let call = format!("/proc/{pid}/task/{tid}/syscall");
    wait::until("the thread is blocked", || {
        std::fs::read_to_string(&call).unwrap().starts_with(&blocked)
    });
}

#[live_test(each = backend)]
fn threads_share_their_process_s_instances() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut main = world.subject();
    let mut other = main.thread();
    let fd = other.create(0).unwrap();
    main.watch(fd, directory.path(), libc::IN_DELETE).unwrap();
    // The exit of a thread does not end its process.
    drop(other);
    let kept = main.create(libc::IN_CLOEXEC).unwrap();
    main.close(fd);
    let mut last = main.thread();
    last.close(kept);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn one_s_user_changes_and_the_payer_stays() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject_of_root();
    let (payer, later) = (system::fresh_uid(), system::fresh_uid());
    let userns = system::user_namespace(std::process::id());
    // The kernel charges the effective user, not the real one.
    subject.process.call(&format!("euid {payer}")).unwrap();
    (subject.actor.uid, subject.payer) = (payer, world.payer(payer, userns, 0));
    let first = subject.create(0).unwrap();
    let second = subject.create(0).unwrap();
    subject.process.call("euid 0").unwrap();
    subject.process.call(&format!("uid {later}")).unwrap();
    (subject.actor.uid, subject.payer) = (later, world.payer(later, userns, 0));
    let third = subject.create(0).unwrap();
    for fd in [first, third, second] {
        subject.close(fd);
    }
    nothing_lost(&agent.finish(&world));
}
