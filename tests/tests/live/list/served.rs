//! The container an instance serves, and the cgroup that holds it: a shim is outside its
//! containers.

use std::{fs, process::Command};

use inotify_trace_tests::{
    Cgroup, Listing, Process, World, agent,
    listing::ROADS,
    live_test,
    process::{hex, workload},
    system,
};
use serde_json::{Value, json};

#[live_test(each = kernel)]
fn an_instance_for_one_container_is_that_container_s() {
    let _machine = system::the_machine();
    let cgroups = (Cgroup::new(), Cgroup::of_containerd(), Cgroup::of_containerd());
    let (Some(home), Some(first), Some(second)) = cgroups else {
        return system::skip(
            "list::served::an_instance_for_one_container_is_that_container_s",
            "no cgroup v2 hierarchy is mounted",
        );
    };
    let world = World::new();
    let mut shim = world.subject();
    shim.move_to(&home);
    // Without the memory controller in this hierarchy, memory.events is missing.
    let file = |cgroup: &Cgroup| {
        let files = ["memory.events", "cgroup.events"].map(|it| cgroup.directory().join(it));
        files.into_iter().find(|file| file.exists()).expect("every cgroup has events")
    };
    // Two instances serve the first container, one the second, one both, and one the shim itself.
    for watched in [&[&first][..], &[&first], &[&second], &[&first, &second], &[&home]] {
        let fd = shim.create(0).unwrap();
        for cgroup in watched {
            shim.watch(fd, file(cgroup), libc::IN_MODIFY).unwrap();
        }
    }
    // The first container has an instance of its own, too.
    let mut inside = world.subject();
    inside.move_to(&first);
    inside.create(0).unwrap();

    let (theirs, ours) = (&first.path, &home.path);
    for road in ROADS {
        let listing = Listing::by("container", road);
        let row = |cgroup: &Cgroup| {
            let id = cgroup.container.as_ref().unwrap()["id"].as_str().unwrap();
            let mut rows = listing.rows().iter().filter(|row| row["container"]["id"] == id);
            let row = rows.next().unwrap_or_else(|| panic!("{id} is missing: {listing:?}"));
            assert!(rows.next().is_none(), "{id} twice: {listing:?}");
            row
        };
        let numbers = |row: &Value| {
            ["instances", "outside", "watches", "fds", "processes"].map(|it| row[it].clone())
        };
        // The row has both the served container and the holding cgroup.
        let row_of_first = row(&first);
        assert_eq!(numbers(row_of_first), [3, 2, 2, 3, 2], "{row_of_first}");
        assert_eq!(row_of_first["held_in"], json!([ours]));
        let mut places: Vec<_> = row_of_first["cgroup"].as_array().unwrap().clone();
        places.sort_by_key(Value::to_string);
        let mut expected = vec![json!(ours), json!(theirs)];
        expected.sort_by_key(Value::to_string);
        assert_eq!(places, expected, "{row_of_first}");
        assert_eq!(row_of_first["pod"], json!([first.container.as_ref().unwrap()["pod"]]));
        let row_of_second = row(&second);
        assert_eq!(numbers(row_of_second), [1, 1, 1, 1, 1], "{row_of_second}");
        assert_eq!(row_of_second["cgroup"], json!([ours]));
        assert_eq!(row_of_second["runtime"], json!(["containerd"]));
        // An instance that serves several containers or none counts where it is held.
        let row_of_home = listing.rows().iter().find(|row| {
            row["cgroup"] == json!([ours]) && row["container"] != row_of_second["container"]
        });
        let row_of_home = row_of_home.unwrap();
        assert_eq!([&row_of_home["instances"], &row_of_home["watches"]], [2, 3], "{row_of_home}");
        assert_eq!(row_of_home["outside"], json!(null));
        let by_process = Listing::by("process", road);
        assert_eq!(by_process.process(shim.pid()).unwrap()["instances"], 5);
    }
    let mut command = Command::new(agent::binary());
    let output = command.args(["list", "--by", "container"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.lines().next().unwrap().ends_with("HELD-IN"), "{table}");
    let id = second.container.as_ref().unwrap()["id"].as_str().unwrap();
    let its = table.lines().find(|line| line.starts_with(&format!("containerd:{}", &id[..12])));
    assert!(its.unwrap().ends_with(ours), "{table}");
}

#[live_test(each = kernel)]
fn what_a_shim_leaks_is_counted_for_its_pod_as_leaked_and_not_as_needed() {
    let _machine = system::the_machine();
    let cgroups = (Cgroup::new(), Cgroup::of_containerd());
    let (Some(home), Some(sandbox)) = cgroups else {
        return system::skip(
            "list::served::what_a_shim_leaks_is_counted_for_its_pod_as_leaked_and_not_as_needed",
            "no cgroup v2 hierarchy is mounted",
        );
    };
    let id = sandbox.container.as_ref().unwrap()["id"].as_str().unwrap().to_owned();
    let directory = system::directory();
    let program = directory.path().join("containerd-shim-runc-v2");
    fs::copy(workload(), &program).unwrap();
    let mut shim = Process::start_as(&program, &["-namespace", "k8s.io", "-id", &id]);
    home.add(shim.pid);
    let mut watch = |cgroup: &Cgroup| {
        let fd = shim.call("init1 0").unwrap();
        let path = hex(cgroup.directory().join("cgroup.events").as_os_str().as_encoded_bytes());
        shim.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
    };
    let recommended = || -> Value {
        let output = Command::new(agent::binary()).args(["limits", "-o", "json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["recommendation"]["max_user_instances"].clone()
    };
    watch(&sandbox);
    let before = recommended();
    for _ in 0..3 {
        let gone = Cgroup::of_containerd().unwrap();
        watch(&gone);
        gone.remove();
    }
    let after = recommended();
    let more = |name: &str| after[name].as_i64().unwrap() - before[name].as_i64().unwrap();
    assert_eq!(more("leaked"), 3, "{before} {after}");
    for road in ROADS {
        let listing = Listing::by("container", road);
        let row = listing.rows().iter().find(|row| row["container"]["id"] == *id);
        let row = row.unwrap_or_else(|| panic!("{id} is missing: {listing:?}"));
        let numbers = ["instances", "leaked", "outside"].map(|it| row[it].clone());
        assert_eq!(numbers, [4, 3, 4], "{row}");
        let by_process = Listing::by("process", road);
        assert_eq!(by_process.process(shim.pid).unwrap()["leaked"], 3);
    }
}
