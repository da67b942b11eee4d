//! cgroups and containers of events.

use std::{
    fs,
    path::{Path, PathBuf},
};

use inotify_trace_tests::{Agent, Cgroup, Process, World, cgroup, live_test, system};
use serde_json::{Value, json};

use crate::{nothing_lost, scene};

/// A new cgroup; skips the test if there is none.
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

#[live_test]
fn a_container_from_before_the_start_is_named() {
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

#[live_test(each = kernel)]
fn a_container_that_is_gone_at_once_is_named() {
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

#[live_test]
fn a_process_that_moves_is_where_it_is() {
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

#[live_test(each = kernel)]
fn an_instance_from_before_has_its_holder_s_container() {
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

#[live_test(each = kernel)]
fn a_watch_on_a_cgroup_s_file_tells_whom_it_serves() {
    let (_machine, world, agent) = scene();
    let cgroup = cgroup!(Cgroup::of_containerd());
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    // Without the memory controller in this hierarchy, memory.events is missing.
    let files = ["memory.events", "cgroup.events"].map(|name| cgroup.directory().join(name));
    let file = files.iter().find(|file| file.exists()).expect("every cgroup has events");
    subject.watch(fd, file, libc::IN_MODIFY).unwrap();
    subject.watch(fd, cgroup.directory(), libc::IN_DELETE_SELF).unwrap();
    agent.wait_for_event(&json!({
        "event": "watch", "pid": subject.pid(), "path": file.to_str(),
        "target_cgroup": cgroup.path, "target_cgroup_id": cgroup.id,
        "target_container": cgroup.container.clone().unwrap(),
    }));
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn a_watch_from_before_tells_whom_it_serves() {
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
            "target_container": cgroup.container.clone().unwrap(),
        }));
    }
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test(each = kernel)]
fn a_renamed_cgroup_has_its_new_name() {
    let (_machine, world, agent) = scene();
    let cgroup = cgroup!(Cgroup::new());
    let renamed = cgroup.directory().with_extension("renamed");
    // cgroup v2 refuses; v1 hierarchies, which allow it, are not traced.
    if fs::rename(cgroup.directory(), &renamed).is_err() {
        let mut subject = world.subject();
        subject.move_to(&cgroup);
        let fd = subject.create(0).unwrap();
        subject.close(fd);
        subject.exit();
    }
    nothing_lost(&agent.finish(&world));
}

/// Creates the bundle that containerd keeps for a Kubernetes container, with `root` as root
/// directory.
fn bundle(root: &Path, id: &str, name: &str) -> PathBuf {
    let directory = root.join("run/containerd/io.containerd.runtime.v2.task/k8s.io").join(id);
    fs::create_dir_all(&directory).unwrap();
    let annotations = json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": name,
        "io.kubernetes.cri.sandbox-name": "shop-5d8f",
        "io.kubernetes.cri.sandbox-namespace": "prod",
        "io.kubernetes.cri.image-name": "registry.example/web:7",
    });
    let config = json!({ "ociVersion": "1.0.2", "annotations": annotations });
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    directory
}

#[live_test(emulated = "three hundred containers take minutes")]
fn three_hundred_short_lived_containers_have_names() {
    const CONTAINERS: usize = 300;
    let machine = system::directory();
    let root = machine.path().to_str().unwrap().to_owned();
    let _machine = system::the_machine();
    let agent = Agent::with(&["--host-root", &root, "-e", "create,release"]);
    let mut process = Process::start();
    let home = cgroup::of_process(process.pid);
    let mut used = Vec::new();
    let mut last: Option<(Cgroup, PathBuf)> = None;
    let remove = |(cgroup, directory): (Cgroup, PathBuf)| {
        cgroup.remove();
        fs::remove_dir_all(directory).unwrap();
    };
    for number in 0..CONTAINERS {
        let mut directory = PathBuf::new();
        let prepare = |id: &str| directory = bundle(machine.path(), id, &format!("web-{number}"));
        let cgroup = cgroup!(Cgroup::of_containerd_after(prepare));
        cgroup.add(process.pid);
        let fd = process.call("init1 0").unwrap();
        process.call(&format!("close {fd}")).unwrap();
        let (path, _) = home.clone().unwrap();
        let home = cgroup::mount_point().unwrap().join(path.trim_start_matches('/'));
        fs::write(home.join("cgroup.procs"), process.pid.to_string()).unwrap();
        // Each container is removed once its events are reported: from then on the name is only in
        // the agent's memory.
        let closed = |event: &&Value| event["pid"] == process.pid && event["event"] == "release";
        agent.wait_for("the instance's end", |events| {
            events.iter().rev().filter(closed).count() == number + 1
        });
        last.replace((cgroup, directory)).into_iter().for_each(remove);
        if number % 100 == 99 {
            used.push(system::resident_kib(agent.pid()));
        }
    }
    last.into_iter().for_each(remove);
    let named = |event: &&Value| event["container"]["namespace"] == "prod";
    let of_process = |events: &[Value]| {
        events.iter().filter(|it| it["pid"] == process.pid && it["event"] == "create").count()
    };
    agent.wait_for("every container's instance", |events| of_process(events) == CONTAINERS);
    let run = agent.stop();
    let ours = |it: &&Value| it["pid"] == process.pid && it["event"] == "create";
    for (number, event) in run.events.iter().filter(ours).enumerate() {
        let container = &event["container"];
        assert_eq!(container["name"], format!("web-{number}"), "{event}");
        assert_eq!(container["pod_name"], "shop-5d8f");
        assert_eq!(container["image"], "registry.example/web:7");
    }
    assert_eq!(run.events.iter().filter(ours).filter(named).count(), CONTAINERS);
    nothing_lost(&run);
    // The agent keeps the names of removed containers for a while: a few hundred bytes each.
    assert!(used[2] < used[0] + 1024, "the agent grows: {used:?} KiB");
}

#[live_test]
fn a_container_from_before_has_its_name_too() {
    let machine = system::directory();
    let root = machine.path().to_str().unwrap().to_owned();
    let _machine = system::the_machine();
    let prepare = |id: &str| drop(bundle(machine.path(), id, "web"));
    let cgroup = cgroup!(Cgroup::of_containerd_after(prepare));
    let mut process = Process::start();
    cgroup.add(process.pid);
    process.call("init1 0").unwrap();
    let agent = Agent::with(&["--host-root", &root, "-e", "found"]);
    agent.wait_for_event(&json!({ "event": "found", "pid": process.pid }));
    let found = agent.events().into_iter().find(|it| it["pid"] == process.pid).unwrap();
    assert_eq!(found["container"]["name"], "web", "{found}");
    nothing_lost(&agent.stop());
    process.tell("exit 0");
    process.join();
}
