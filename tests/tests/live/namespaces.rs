//! User namespaces: the limit that applies.

use inotify_trace_tests::{Agent, Subject, World, live_test, process::hex, system};
use serde_json::json;

use crate::{nothing_lost, scene};

/// Moves a process to a new user namespace, as its root, which is the same user outside. False if
/// the machine does not allow it.
pub(crate) fn enter(subject: &mut Subject, map: &str) -> bool {
    if !unshare(subject) {
        return false;
    }
    let directory = format!("/proc/{}", subject.pid());
    std::fs::write(format!("{directory}/uid_map"), map).expect("root may map users");
    // Only a group that is mapped here can create a namespace below this one.
    std::fs::write(format!("{directory}/gid_map"), "0 0 1").expect("root may map groups");
    true
}

/// Moves the root of a user namespace to a child namespace. Only a process in either of the two may
/// map the users of the child.
fn enter_below(subject: &mut Subject) -> bool {
    // After a change of user, a process does not own its files in /proc.
    subject.process.call("dumpable").unwrap();
    if !unshare(subject) {
        return false;
    }
    let command = format!("write {} {}", hex(b"/proc/self/uid_map"), hex(b"0 0 1"));
    subject.process.call(&command).expect("anyone may map themselves");
    true
}

fn unshare(subject: &mut Subject) -> bool {
    if subject.process.call(&format!("unshare {}", libc::CLONE_NEWUSER)).is_err() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        system::skip(&test, "no user namespace can be made");
        return false;
    }
    true
}

/// Sets a limit of the process's namespace.
pub(crate) fn limit(subject: &mut Subject, name: &str, value: u32) {
    let path = hex(format!("/proc/sys/user/{name}").as_bytes());
    let result =
        subject.process.call(&format!("write {path} {}", hex(value.to_string().as_bytes())));
    result.expect("its root may lower a namespace's limit");
}

/// Charges the process in its own namespace from now on.
fn pays_in_its_namespace(world: &World, subject: &mut Subject, level: u32) {
    let userns = system::user_namespace(subject.pid());
    subject.payer = world.payer(subject.actor.uid, userns, level);
}

/// Waits until a refusal is told. Before that, the agent looks for the holders of what it does not know of,
/// and the kernel holds the files that it looks at: one that is closed in that moment ends a little later.
fn refusal_is_told(agent: &Agent, subject: &Subject) {
    agent.wait_for_event(&json!({ "event": "create-failed", "pid": subject.pid() }));
}

#[live_test(each = kernel)]
fn the_host_s_limit_binds_in_a_namespace_without_one() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    pays_in_its_namespace(&world, &mut subject, 1);
    let fd = subject.create(0).unwrap();
    subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    while subject.create(0).is_ok() {}
    refusal_is_told(&agent, &subject);
    subject.close(fd);
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_namespace_s_own_limits_bind() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    limit(&mut subject, "max_inotify_instances", 3);
    limit(&mut subject, "max_inotify_watches", 5);
    pays_in_its_namespace(&world, &mut subject, 0);
    world.change_payer(subject.payer, |payer| (payer.max_instances, payer.max_watches) = (3, 5));
    let fd = subject.create(0).unwrap();
    let mut watches = Vec::new();
    for number in 0..6 {
        let path = directory.path().join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        watches.push(subject.watch(fd, &path, libc::IN_CREATE));
    }
    assert_eq!(watches.pop(), Some(Err(libc::ENOSPC)));
    subject.unwatch(fd, watches[0].unwrap());
    subject.create(0).unwrap();
    subject.create(0).unwrap();
    assert_eq!(subject.create(0), Err(libc::EMFILE));
    agent.wait_for_event(&json!({ "limit_hit": "inotify-watches", "used": 5, "limit": 5 }));
    agent.wait_for_event(&json!({ "limit_hit": "inotify-instances", "used": 3, "limit": 3 }));
    for fd in [5, 4, 3] {
        subject.close(fd);
    }
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = kernel)]
fn the_limit_of_a_namespace_in_between_binds() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    limit(&mut subject, "max_inotify_instances", 4);
    let between = system::user_namespace(subject.pid());
    if !enter_below(&mut subject) {
        return;
    }
    pays_in_its_namespace(&world, &mut subject, 1);
    let binding = (subject.actor.uid, between);
    world.change_payer(subject.payer, |payer| {
        (payer.max_instances, payer.binding) = (4, binding);
    });
    for _ in 0..4 {
        subject.create(0).unwrap();
    }
    assert_eq!(subject.create(0), Err(libc::EMFILE));
    refusal_is_told(&agent, &subject);
    subject.close(3);
    subject.exit();
    nothing_lost(&agent.finish(&world));
}
