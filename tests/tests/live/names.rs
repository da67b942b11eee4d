//! Names of containers whose runtimes keep them in other places than the usual one: the files are
//! those of real runtimes, below a root directory of the test's own.

use std::{fs, path::Path};

use inotify_trace_tests::{Agent, Cgroup, Listing, Process, listing::ROADS, live_test, system};
use serde_json::{Value, json};

use crate::nothing_lost;

/// An id that no other test has.
fn id(first: &str) -> String {
    format!("{first}{:0>62x}", std::process::id())
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Runs a process in a cgroup, and compares the container that the trace and both roads of `list`
/// name, and the name in the table.
fn named(test: &str, root: &Path, path: &str, expected: &Value, shown: &str) {
    let options = ["--host-root", root.to_str().unwrap()];
    let agent = Agent::with(&[&options[..], &["-e", "create,container-name,release"]].concat());
    let Some(cgroup) = Cgroup::at_path(path) else {
        return system::skip(test, "no cgroup v2 hierarchy is mounted");
    };
    // A thread may look it up: what happens then is the first that has the name.
    if expected.get("name").is_some() {
        agent.wait_for_event(&json!({
            "event": "container-name", "target_cgroup": path, "target_container": expected,
        }));
    }
    let mut process = Process::start();
    cgroup.add(process.pid);
    process.call("init1 0").unwrap();
    agent.wait_for_event(&json!({
        "event": "create", "pid": process.pid, "cgroup": path, "container": expected,
    }));
    for road in ROADS {
        let listing = Listing::by("process", &[road, &options].concat());
        let row = listing.process(process.pid).unwrap();
        assert_eq!(row["container"], json!([expected]), "{row}");
        let table = listing_table(&[road, &options].concat());
        let line = table.lines().find(|line| line.contains(&process.pid.to_string()));
        assert!(line.unwrap().contains(shown), "{table}");
    }
    nothing_lost(&agent.stop());
    process.tell("exit 0");
    process.join();
}

fn listing_table(options: &[&str]) -> String {
    let mut command = std::process::Command::new(inotify_trace_tests::agent::binary());
    let output = command.arg("list").args(options).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[live_test]
fn a_pod_of_containerd_1_4_is_named_by_its_sandbox() {
    let _machine = system::the_machine();
    let root = system::directory();
    let (app, sandbox, uid) = (id("a1"), id("5a"), "1e597579-417e-482f-bf65-5fe170c3aebd");
    let bundles = "run/containerd/io.containerd.runtime.v2.task/k8s.io";
    let annotations = |annotations: Value| json!({ "annotations": annotations }).to_string();
    let of_app = annotations(json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.sandbox-id": sandbox,
    }));
    let of_sandbox = annotations(json!({
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": sandbox,
        "io.kubernetes.cri.sandbox-log-directory": format!("/var/log/pods/prod_shop-5d8f_{uid}"),
    }));
    write(root.path(), &format!("{bundles}/{app}/config.json"), &of_app);
    write(root.path(), &format!("{bundles}/{sandbox}/config.json"), &of_sandbox);
    let path = format!("/kubepods/burstable/pod{uid}/{app}");
    let expected = json!({
        "runtime": "containerd", "id": app, "pod": uid, "qos": "burstable",
        "name": "web", "pod_name": "shop-5d8f", "namespace": "prod",
    });
    let test = "names::a_pod_of_containerd_1_4_is_named_by_its_sandbox";
    named(test, root.path(), &path, &expected, "prod/shop-5d8f/web");
}

#[live_test]
fn a_pod_without_a_bundle_is_named_by_kubelet_s_logs() {
    let _machine = system::the_machine();
    let root = system::directory();
    let (app, uid) = (id("a2"), "2e597579-417e-482f-bf65-5fe170c3aebd");
    write(root.path(), &format!("var/log/containers/shop-5d8f_prod_web-{app}.log"), "");
    let path = format!("/kubepods/burstable/pod{uid}/{app}");
    let expected = json!({
        "id": app, "pod": uid, "qos": "burstable",
        "name": "web", "pod_name": "shop-5d8f", "namespace": "prod",
    });
    let test = "names::a_pod_without_a_bundle_is_named_by_kubelet_s_logs";
    named(test, root.path(), &path, &expected, "prod/shop-5d8f/web");
}

#[live_test]
fn a_user_s_podman_names_its_containers() {
    let _machine = system::the_machine();
    let root = system::directory();
    let app = id("a3");
    write(root.path(), "etc/passwd", "ann:x:60123:60123::/home/ann:/bin/sh\n");
    let list = json!([{
        "id": app, "names": ["rl-tail"],
        "metadata": "{\"image-name\":\"docker.io/library/busybox:1\",\"name\":\"rl-tail\"}",
    }]);
    let store = "home/ann/.local/share/containers/storage/vfs-containers/containers.json";
    write(root.path(), store, &list.to_string());
    let path =
        format!("/user.slice/user-60123.slice/user@60123.service/user.slice/libpod-{app}.scope");
    let expected = json!({
        "runtime": "podman", "id": app, "name": "rl-tail", "image": "docker.io/library/busybox:1",
    });
    let test = "names::a_user_s_podman_names_its_containers";
    named(test, root.path(), &path, &expected, "rl-tail");
}

#[live_test]
fn a_machine_of_nspawn_in_a_service_is_named_by_machined() {
    let _machine = system::the_machine();
    let root = system::directory();
    let unit = format!("nsp-run-{}.service", std::process::id());
    let state = format!(
        "# This is private data. Do not parse.\nNAME=nsp\nSCOPE={unit}\nSERVICE=systemd-nspawn\n\
         ROOT=/var/lib/machines/nsp\nLEADER=712\nCLASS=container\n"
    );
    write(root.path(), "run/systemd/machines/nsp", &state);
    let path = format!("/system.slice/{unit}/payload");
    let expected = json!({ "runtime": "systemd-nspawn", "id": "nsp", "name": "nsp" });
    let test = "names::a_machine_of_nspawn_in_a_service_is_named_by_machined";
    named(test, root.path(), &path, &expected, "systemd-nspawn:nsp");
}

#[live_test]
fn a_container_in_a_container_is_shown_with_its_node() {
    let _machine = system::the_machine();
    let root = system::directory();
    let (node, app, uid) = (id("a5"), id("a6"), "3e597579-417e-482f-bf65-5fe170c3aebd");
    let note = json!({ "Name": "/kind-worker", "Config": { "Image": "kindest/node:v1.31.0" } });
    let path = format!("var/lib/docker/containers/{node}/config.v2.json");
    write(root.path(), &path, &note.to_string());
    // A container of the machine's own that has the id which the inner one has chosen.
    let victim = json!({ "annotations": { "io.kubernetes.cri.container-name": "victim" } });
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{app}/config.json");
    write(root.path(), &bundle, &victim.to_string());
    let path = format!("/docker/{node}/kubelet/kubepods/burstable/pod{uid}/{app}");
    let expected = json!({ "id": app, "pod": uid, "qos": "burstable", "outer": "kind-worker" });
    let test = "names::a_container_in_a_container_is_shown_with_its_node";
    let shown = format!("kind-worker > k8s:{}", &app[..12]);
    named(test, root.path(), &path, &expected, &shown);
}
