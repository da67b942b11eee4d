//! Who it was: cgroups and containers.

use inotify_trace_tests::{Agent, Cgroup, World, require_root, system};
use serde_json::json;

use crate::{nothing_lost, scene};

/// A new cgroup, or leaves the test.
macro_rules! cgroup {
    ($make:expr) => {
        match $make {
            Some(cgroup) => cgroup,
            None => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                system::skip(&test, "no cgroup v2 hierarchy is mounted");
                return;
            }
        }
    };
}

#[test]
fn a_container_from_before_the_start_is_named() {
    require_root!();
    let machine = system::the_machine();
    let cgroup = cgroup!(Cgroup::of_containerd());
    let agent = Agent::start();
    let world = World::new();
    let mut subject = world.subject();
    subject.move_to(&cgroup);
    let fd = subject.create(0).unwrap();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
    drop(machine);
}

#[test]
fn a_container_that_is_gone_at_once_is_named() {
    require_root!();
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    for _ in 0..10 {
        let cgroup = cgroup!(Cgroup::of_containerd());
        let mut subject = world.subject();
        subject.move_to(&cgroup);
        let fd = subject.create(0).unwrap();
        subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
        subject.exit();
        let (id, path) = (cgroup.id, cgroup.path.clone());
        cgroup.remove();
        let path = path.as_str();
        for event in ["cgroup-create", "cgroup-remove"] {
            let told = json!({ "event": event, "target_cgroup_id": id, "target_cgroup": path });
            agent.wait_for_event(&told);
        }
    }
    nothing_lost(&agent.finish(&world));
}

#[test]
fn a_process_that_moves_is_where_it_is() {
    require_root!();
    let (_machine, world, agent) = scene();
    let (first, second) = (cgroup!(Cgroup::new()), cgroup!(Cgroup::of_containerd()));
    let mut subject = world.subject();
    subject.move_to(&first);
    let fd = subject.create(0).unwrap();
    subject.move_to(&second);
    let other = subject.create(0).unwrap();
    subject.close(fd);
    subject.close(other);
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[test]
fn an_instance_from_before_has_its_holder_s_container() {
    require_root!();
    let _machine = system::the_machine();
    let cgroup = cgroup!(Cgroup::of_containerd());
    let world = World::new();
    let mut subject = world.subject();
    subject.move_to(&cgroup);
    subject.create(0).unwrap();
    world.traced_from_now();
    let agent = Agent::start();
    agent.expect(&world);
    subject.exit();
    nothing_lost(&agent.finish(&world));
}

#[test]
fn a_watch_on_a_cgroup_s_file_tells_whom_it_serves() {
    require_root!();
    let (_machine, world, agent) = scene();
    let cgroup = cgroup!(Cgroup::of_containerd());
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    // Where the memory controller is not of this hierarchy, memory.events is missing.
    let files = ["memory.events", "cgroup.events"].map(|name| cgroup.directory().join(name));
    let file = files.iter().find(|file| file.exists()).expect("every cgroup has events");
    subject.watch(fd, file, libc::IN_MODIFY).unwrap();
    subject.watch(fd, cgroup.directory(), libc::IN_DELETE_SELF).unwrap();
    agent.wait_for_event(&json!({
        "event": "watch", "pid": subject.pid(), "path": file.to_str(),
        "target_cgroup": cgroup.path, "target_cgroup_id": cgroup.id,
    }));
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[test]
fn a_watch_from_before_tells_whom_it_serves() {
    require_root!();
    let _machine = system::the_machine();
    let (cgroup, directory) = (cgroup!(Cgroup::of_containerd()), system::directory());
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    subject.watch(fd, cgroup.directory().join("cgroup.events"), libc::IN_MODIFY).unwrap();
    subject.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    subject.watch(fd, cgroup.directory(), libc::IN_DELETE_SELF).unwrap();
    world.traced_from_now();
    let agent = Agent::start();
    for wd in [1, 3] {
        agent.wait_for_event(&json!({
            "event": "watch-found", "wd": wd,
            "target_cgroup": cgroup.path, "target_cgroup_id": cgroup.id,
        }));
    }
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[test]
fn a_renamed_cgroup_has_its_new_name() {
    require_root!();
    let (_machine, world, agent) = scene();
    let cgroup = cgroup!(Cgroup::new());
    let renamed = cgroup.directory().with_extension("renamed");
    // cgroup v2 refuses; the old hierarchies, where it works, are not traced.
    if std::fs::rename(cgroup.directory(), &renamed).is_err() {
        let mut subject = world.subject();
        subject.move_to(&cgroup);
        let fd = subject.create(0).unwrap();
        subject.close(fd);
        subject.exit();
    }
    nothing_lost(&agent.finish(&world));
}
