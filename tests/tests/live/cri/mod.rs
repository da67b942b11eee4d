//! Container names that are not on disk but come from a real containerd's CRI socket.

mod containerd;
mod daemon_set;
mod fake;

use std::fs;

use inotify_trace_tests::{
    Agent, Cgroup, Listing, Process, cgroup,
    listing::ROADS,
    live_test, require_program, system,
    wait::{self, Wait},
};
use serde_json::json;

use crate::{nothing_lost, serve::Served};
use containerd::{Containerd, IMAGE, static_busybox};

#[live_test]
fn a_container_of_kubernetes_is_asked_for() {
    require_program!("containerd");
    require_program!("runc");
    let test = "cri::a_container_of_kubernetes_is_asked_for";
    let Some(busybox) = static_busybox() else {
        return system::skip(test, "no static busybox is installed");
    };
    let Some(mount) = cgroup::mount_point() else {
        return system::skip(test, "no cgroup v2 hierarchy is mounted");
    };
    let _machine = system::the_machine();
    let mut containerd = Containerd::start(&busybox);
    // A host root without any file.
    let empty = system::directory();
    let socket = containerd.socket();
    let options =
        ["--host-root", empty.path().to_str().unwrap(), "--cri-socket", socket.to_str().unwrap()];
    let events = ["-e", "found,create,watch,cgroup-create,container-name,release"];
    let agent = Agent::with(&[&options[..], &events].concat());
    let uid = format!("{:08x}-1111-4222-8333-444455556666", std::process::id());
    let parent = format!("/kubepods/burstable/pod{uid}");
    let pod = containerd.pod("shop-5d8f", "prod", &uid, &parent);
    let id = containerd.container(&pod, "web", &["/usr/bin/tail", "-f", "/etc/log"]);
    let sandbox = json!({
        "runtime": "containerd", "id": pod.id, "pod": uid, "qos": "burstable",
        "pod_name": "shop-5d8f", "namespace": "prod", "is_sandbox": true,
    });
    let container = json!({
        "runtime": "containerd", "id": id, "pod": uid, "qos": "burstable",
        "name": "web", "pod_name": "shop-5d8f", "namespace": "prod", "image": IMAGE,
    });
    for (id, told) in [(&pod.id, sandbox), (&id, container)] {
        agent.wait_for_event(&json!({
            "event": "container-name", "target_cgroup": format!("{parent}/{id}"),
            "target_container": told,
        }));
    }
    agent.wait_for_event(&json!({ "event": "create", "cgroup": format!("{parent}/{id}") }));
    for road in ROADS {
        // A listing does not wait long for the runtime, which may be slow on a busy machine.
        let wait = Wait::begin();
        let row = loop {
            let listing = Listing::by("container", &[road, &options].concat());
            let row = listing.rows().iter().find(|row| row["container"]["id"] == id);
            match row {
                Some(row) => break row.clone(),
                None => wait.look_again(|| format!("it is missing: {listing:?}")),
            }
        };
        assert_eq!(row["cgroup"], json!([format!("{parent}/{id}")]));
        assert_eq!(row["runtime"], json!(["containerd"]));
    }
    nothing_lost(&agent.stop());
    drop(containerd);
    for above in [parent.as_str(), "/kubepods/burstable", "/kubepods"] {
        // Other processes may have cgroups there.
        let _ = fs::remove_dir(mount.join(above.trim_start_matches('/')));
    }
}

#[live_test]
fn how_often_a_runtime_was_asked_and_did_not_answer_is_a_metric() {
    let test = "cri::how_often_a_runtime_was_asked_and_did_not_answer_is_a_metric";
    let _machine = system::the_machine();
    let mut known = String::new();
    // A host root without any file but the socket.
    let root = system::directory();
    let socket = root.path().join("cri.sock");
    let cgroup = Cgroup::of_containerd_after(|id| known = id.to_owned());
    let Some(cgroup) = cgroup else {
        return system::skip(test, "no cgroup v2 hierarchy is mounted");
    };
    let fake = fake::Runtime::start(&socket, &known);
    let options =
        ["--host-root", root.path().to_str().unwrap(), "--cri-socket", socket.to_str().unwrap()];
    let mut process = Process::start();
    cgroup.add(process.pid);
    process.call("init1 0").unwrap();
    let served = Served::start(&options);
    let counts = || {
        let now = served.scrape();
        ["requests", "errors"].map(|it| now[&format!("inotify_trace_cri_{it}_total")])
    };
    let list = ["list", "-o", "json"];
    wait::until("the pod is named", || served.said(&list, true).1.contains("job-1"));
    wait::until("each question is counted", || counts() == [fake.asked() as f64, 0.0]);
    fake.hang_up();
    let other = Cgroup::of_containerd().unwrap();
    let mut second = Process::start();
    other.add(second.pid);
    second.call("init1 0").unwrap();
    wait::until("the failure is counted", || counts()[1] == 1.0);
    assert_eq!(counts(), [fake.asked() as f64, 1.0], "it is left alone after a failure");
    served.stop();
    drop((process, second));
}
