//! Failed calls, and the limit that caused each.

use inotify_trace_tests::{Agent, Process, World, agent::has, live_test, system};
use serde_json::{Value, json};

use crate::{nothing_lost, scene};

const MAX_INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

#[live_test(each = backend)]
fn a_user_fills_the_instance_limit() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let limit = system::number_in(MAX_INSTANCES);
    let mut made = 0;
    while subject.create(libc::IN_CLOEXEC).is_ok() {
        made += 1;
    }
    assert_eq!(made, limit, "instances that fit");
    assert_eq!(subject.create(libc::IN_NONBLOCK), Err(libc::EMFILE));
    // The old system call, which C libraries still use.
    assert_eq!(subject.create_legacy(), Err(libc::EMFILE));
    // One close makes room for one instance.
    subject.close(10);
    subject.create(0).unwrap();
    assert_eq!(subject.create(0), Err(libc::EMFILE));
    agent.expect(&world);
    let pid = subject.pid();
    let events = agent.events();
    let last_good = json!({ "event": "create", "pid": pid, "used": limit, "limit": limit });
    let failure = json!({
        "event": "create-failed", "pid": pid, "errno": "EMFILE", "limit_hit": "inotify-instances",
        "used": limit, "limit": limit,
    });
    let at = events.iter().position(|event| has(event, &last_good)).expect("the last that fits");
    let next = events[at + 1..].iter().find(|event| event["pid"] == pid);
    assert!(next.is_some_and(|next| has(next, &failure)), "{next:?}");
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn too_many_open_files_is_another_failure() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    subject.create(0).unwrap();
    subject.process.call("open_files 6").unwrap();
    while subject.create(0).is_ok() {}
    let told = json!({ "event": "create-failed", "limit_hit": "rlimit-nofile", "used": 3 });
    agent.wait_for_event(&told);
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = backend)]
fn a_user_s_first_instance_fails_for_lack_of_files() {
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    subject.process.call("open_files 3").unwrap();
    assert_eq!(subject.process.call("init1 0"), Err(libc::EMFILE));
    // The kernel creates the counters for the call and drops them when it fails. The agent cannot
    // know the limit, and must not guess wrongly.
    let pid = subject.pid();
    agent.wait_for_event(&json!({ "event": "create-failed", "pid": pid, "errno": "EMFILE" }));
    let told = agent.events();
    let failure = told.iter().find(|event| event["pid"] == pid).unwrap();
    let limit = failure["limit_hit"].as_str().unwrap();
    assert!(["rlimit-nofile", "instances-or-nofile"].contains(&limit), "{failure}");
    nothing_lost(&agent.stop());
}

#[live_test(each = backend)]
fn watches_that_cannot_be() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let missing = directory.path().join("missing");
    assert_eq!(subject.watch(fd, &missing, libc::IN_MODIFY), Err(libc::ENOENT));
    assert_eq!(subject.watch(77, directory.path(), libc::IN_MODIFY), Err(libc::EBADF));
    // Standard error is no inotify instance.
    assert_eq!(subject.watch(2, directory.path(), libc::IN_MODIFY), Err(libc::EINVAL));
    // The mask is empty.
    assert_eq!(subject.watch(fd, directory.path(), 0), Err(libc::EINVAL));
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(subject.watch(fd, &secret, libc::IN_MODIFY), Err(libc::EACCES));
    // Removing a watch that does not exist changes nothing.
    assert_eq!(subject.process.call(&format!("unwatch {fd} 9")), Err(libc::EINVAL));
    subject.watch(fd, directory.path(), libc::IN_MODIFY).unwrap();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn starts_although_root_s_quota_is_full() {
    let _machine = system::the_machine();
    let mut hog = Process::start();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > 10_000 {
        system::skip("limits::starts_although_root_s_quota_is_full", "the limit is too high");
        return;
    }
    // The process needs more files than instances, whatever its own limits.
    hog.call(&format!("open_files {}", limit + 100)).unwrap();
    while hog.call("init1 0").is_ok() {}
    let agent = Agent::start();
    assert_eq!(hog.call("init1 0"), Err(libc::EMFILE));
    let pid = hog.pid;
    agent.wait_for_event(&json!({
        "event": "create-failed", "pid": pid, "errno": "EMFILE", "limit_hit": "inotify-instances",
        "used": limit, "limit": limit, "charged_uid": 0,
    }));
    drop(hog);
    let open_of = move |events: &[Value]| {
        let of_hog = |name| crate::count(events, pid, name);
        of_hog("found") > 0 && of_hog("found") == of_hog("release")
    };
    agent.wait_for("all of them end", open_of);
    nothing_lost(&agent.stop());
}

#[live_test(each = kernel)]
fn the_counts_of_two_users_are_their_own() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let world_of_one = World::clone(&world);
    let (mut one, mut two) = (world_of_one.subject(), world.subject());
    for _ in 0..5 {
        let fd = one.create(0).unwrap();
        one.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
        let fd = two.create(0).unwrap();
        two.close(fd);
    }
    one.close(4);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn those_who_use_up_the_limit_are_named() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let start = |instances: u32| {
        let mut process = Process::start();
        process.call(&format!("open_files {}", limit + 100)).unwrap();
        process.call(&format!("uid {uid}")).unwrap();
        for _ in 0..instances {
            process.call("init1 0").unwrap();
        }
        process
    };
    // Instances from before the agent, instances it sees, and one in flight: sent, and then closed
    // by the sender.
    let before = start(limit - 28);
    let agent = Agent::start();
    let during = start(27);
    let mut sender = start(1);
    let pair = sender.ask("socketpair");
    sender.call(&format!("send {} 3", pair[0])).unwrap();
    sender.call("close 3").unwrap();
    let mut refused = start(0);
    assert_eq!(refused.call("init1 0"), Err(libc::EMFILE));
    assert_eq!(refused.call("init1 0"), Err(libc::EMFILE));
    let failure = json!({ "event": "create-failed", "pid": refused.pid });
    let failures = |events: &[Value]| events.iter().filter(|it| has(it, &failure)).count();
    agent.wait_for("both failures", |events| failures(events) == 2);
    let run = agent.stop();
    let told: Vec<_> = run.events.iter().filter(|it| has(it, &failure)).collect();
    let [most, some] = [(&before, limit - 28), (&during, 27)]
        .map(|(process, count)| json!({ "pid": process.pid, "comm": "workload", "count": count, "shared": 0 }));
    // The agent may still list the sender as a holder: its close did not end the instance.
    let culprits: Vec<_> = told[0]["culprits"].as_array().unwrap().iter().take(2).collect();
    assert_eq!(culprits, [&most, &some], "{}", told[0]);
    assert_eq!(told[0]["not_visible"], 0, "what is in flight was seen being made: {}", told[0]);
    // The agent repeats culprits once a second, by the times of the events.
    let time = |event: &Value| event["boot_ns"].as_u64().unwrap();
    let is_soon = time(told[1]) < time(told[0]) + 1_000_000_000;
    assert_eq!(told[1].get("culprits").is_none(), is_soon, "{} and {}", told[0], told[1]);
    nothing_lost(&run);
}
