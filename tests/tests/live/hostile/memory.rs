//! Memory that a process makes the agent take.

use inotify_trace_tests::{Agent, Cgroup, Process, live_test, process::hex, system};
use serde_json::json;

use super::{
    CEILING_KIB,
    loads::{Ground, SHIM, growing_files, shim},
};

/// Waits until an agent has told of a last process.
fn has_told_all(agent: &Agent) {
    let mut last = Process::start();
    last.call("init1 0").unwrap();
    agent.wait_for_event(&json!({ "event": "create", "pid": last.pid }));
}

#[live_test]
fn who_looks_like_a_shim_is_told_once_at_most() {
    const NAME: &str = "hostile::memory::who_looks_like_a_shim_is_told_once_at_most";
    /// Enough for half a gigabyte, if each had the version.
    const INSTANCES: u32 = 500;
    let _machine = system::the_machine();
    let ground = Ground::new();
    let directory = ground.directory("shim");
    let program = match shim(&directory) {
        Ok(program) => program,
        Err(why) => return system::skip(NAME, why),
    };
    let file = directory.join("run.itrec");
    let file = file.to_str().unwrap();
    let agent = Agent::with(&["-e", "shim,create", "--record", file]);
    let (mut of_root, mut of_user) =
        (Process::start_as(&program, &SHIM), Process::start_as(&program, &SHIM));
    of_user.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let storm = format!("storm {INSTANCES} {}", hex(directory.as_os_str().as_encoded_bytes()));
    for process in [&mut of_root, &mut of_user] {
        assert_eq!(process.call(&storm), Ok(INSTANCES.cast_signed()));
    }
    has_told_all(&agent);
    let peak = system::peak_resident_kib(agent.pid());
    let run = agent.stop();
    let shims: Vec<_> = run.events.iter().filter(|event| event["event"] == "shim").collect();
    let [shim] = &shims[..] else { panic!("{} shims, at {peak} KiB", shims.len()) };
    assert_eq!(shim["pid"], of_root.pid);
    assert_eq!(shim.get("containerd_version"), None, "a version has 64 bytes at most");
    assert!(peak < CEILING_KIB, "{peak} KiB");
}

#[live_test]
fn a_file_that_grows_is_read_to_its_limit() {
    const NAME: &str = "hostile::memory::a_file_that_grows_is_read_to_its_limit";
    const LOOKS: usize = 400;
    let _machine = system::the_machine();
    let ground = Ground::new();
    let root = ground.root();
    let options = ["--host-root", root.to_str().unwrap(), "-e", "create,cgroup-create"];
    let agent = Agent::with(&options);
    let load = match growing_files(&ground) {
        Ok(load) => load,
        Err(why) => return system::skip(NAME, why),
    };
    let slice = format!("user@{}.service/hostile/app-", ground.uid);
    agent.wait_for("it has looked often", |events| {
        let of_user = |path: &str| path.contains(&slice);
        events.iter().filter(|it| it["target_cgroup"].as_str().is_some_and(of_user)).count() > LOOKS
    });
    has_told_all(&agent);
    let peak = system::peak_resident_kib(agent.pid());
    drop(load);
    drop(agent.stop());
    assert!(peak < CEILING_KIB, "{peak} KiB");
}

#[live_test]
fn containers_that_nobody_knows_leave_nothing_behind() {
    const NAME: &str = "hostile::memory::containers_that_nobody_knows_leave_nothing_behind";
    const CONTAINERS: usize = 200;
    let _machine = system::the_machine();
    let Some(cgroup) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let agent = Agent::with(&["-e", "create,release"]);
    let mut process = Process::start();
    let base = hex(cgroup.directory().as_os_str().as_encoded_bytes());
    process.tell(&format!("churn_until_told {base}"));
    let inside = format!("{}/pod", cgroup.path);
    agent.wait_for("they have come and gone", |events| {
        let is_inside = |path: &str| path.starts_with(&inside);
        let ours = events.iter().filter(|it| it["cgroup"].as_str().is_some_and(is_inside));
        ours.filter(|it| it["event"] == "release").count() >= CONTAINERS
    });
    // Any command ends the churn, whose own reply comes first.
    let made = process.call("gettid").unwrap();
    assert!(usize::try_from(made).unwrap() >= CONTAINERS);
    has_told_all(&agent);
    let peak = system::peak_resident_kib(agent.pid());
    let run = agent.stop();
    let of = |name: &str| {
        let named = run.events.iter().filter(move |it| it["event"] == name);
        named.filter(|it| it["cgroup"].as_str().is_some_and(|it| it.starts_with(&inside))).count()
    };
    assert_eq!(of("create"), usize::try_from(made).unwrap(), "each has one");
    assert_eq!(of("release"), of("create"));
    assert!(peak < CEILING_KIB, "{peak} KiB");
}
