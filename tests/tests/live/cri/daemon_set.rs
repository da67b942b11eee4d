//! The image, run by containerd as kubelet runs the pods of the DaemonSet in deploy/kubernetes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Stdio,
};

use inotify_trace_tests::{agent, cgroup, live_test, require_program, system, wait::Wait};
use serde_json::{Value, json};
use xtask::{image, kubernetes::Tools, workspace::Workspace};

use super::containerd::{Containerd, api, static_busybox};

/// What kubelet hides of `/proc` and `/sys`, and lets nobody write (`procMount: Default`).
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The name of the container's log.
const LOG: &str = "agent.log";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn texts(values: &Value) -> Vec<String> {
    values.as_array().unwrap_or_else(|| panic!("no list: {values}")).iter().map(text).collect()
}

/// The pod of the DaemonSet in the manifest.
fn pod_of_manifest(tools: &Tools) -> Value {
    let script = "import json, sys, yaml\n\
                  print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let manifest = fs::File::open(manifest.join("inotify-trace.yaml")).unwrap();
    let mut python = tools.command("python");
    let output = python.args(["-c", script]).stdin(Stdio::from(manifest)).output().unwrap();
    let objects: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut objects = objects.as_array().unwrap().iter();
    let set = objects.find(|it| it["kind"] == "DaemonSet").expect("a DaemonSet");
    set["spec"]["template"]["spec"].clone()
}

/// The container as kubelet asks for it, but for its port, which the kernel chooses here.
fn container(pod: &Value, empty: &Path) -> api::Container {
    let spec = &pod["containers"][0];
    let security = &spec["securityContext"];
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let source = |name: &Value| {
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|it| it["name"] == *name).unwrap();
        match volume["hostPath"]["path"].as_str() {
            Some(path) => path.to_owned(),
            None => empty.to_str().unwrap().to_owned(),
        }
    };
    let mounts = spec["volumeMounts"].as_array().unwrap().iter().map(|mount| api::Mount {
        inside: text(&mount["mountPath"]),
        outside: source(&mount["name"]),
        is_readonly: mount["readOnly"] == true,
        propagation: i32::from(mount["mountPropagation"] == "HostToContainer"),
    });
    let arguments = texts(&spec["args"]).into_iter().map(|argument| {
        let is_place = argument.starts_with("--listen=");
        if is_place { "--listen=127.0.0.1:0".to_owned() } else { argument }
    });
    let security = api::ContainerSecurity {
        capabilities: Some(api::Capabilities {
            add: texts(&security["capabilities"]["add"]),
            drop: texts(&security["capabilities"]["drop"]),
        }),
        namespaces: Some(api::Namespaces {
            network: 2,
            pid: 2 * i32::from(pod["hostPID"] == true),
        }),
        user: Some(api::User { id: pod["securityContext"]["runAsUser"].as_i64().unwrap() }),
        is_root_readonly: security["readOnlyRootFilesystem"] == true,
        no_new_privileges: security["allowPrivilegeEscalation"] == false,
        masked: MASKED.map(str::to_owned).to_vec(),
        readonly: READONLY.map(str::to_owned).to_vec(),
        seccomp: Some(api::Empty {}),
    };
    api::Container {
        metadata: Some(api::Name { name: text(&spec["name"]) }),
        image: Some(api::Name { name: text(&spec["image"]) }),
        arguments: arguments.collect(),
        environment: vec![api::Variable { name: "NODE_NAME".into(), value: "node-7".into() }],
        mounts: mounts.collect(),
        log: LOG.to_owned(),
        linux: Some(api::LinuxContainer { security: Some(security) }),
        ..api::Container::default()
    }
}

/// What is answered at the address that the agent's log names.
fn get(log: &str, path: &str) -> Option<String> {
    let place = log.lines().find_map(|line| line.split_once("Metrics at http://"))?.1;
    let mut stream = TcpStream::connect(place.trim_end_matches("/metrics")).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[live_test]
fn the_daemon_set_s_pod_names_the_containers_of_its_node() {
    require_program!("containerd");
    require_program!("runc");
    let test = "cri::daemon_set::the_daemon_set_s_pod_names_the_containers_of_its_node";
    let (Some(busybox), Some(mount)) = (static_busybox(), cgroup::mount_point()) else {
        return system::skip(test, "no static busybox, or no cgroup v2 hierarchy");
    };
    let Some(tools) = Workspace::locate().ok().and_then(|it| Tools::found(&it)) else {
        return system::skip(test, "no tools of Kubernetes; `cargo xtask setup` installs them");
    };
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut containerd = Containerd::start(&busybox);
    let archive = directory.path().join("image.tar");
    image::write(&[image::Program::of_this_machine(&agent::binary()).unwrap()], &archive).unwrap();
    containerd.import_archive(&archive);

    let uid = |kind: u32| format!("{:08x}-{kind}111-4222-8333-444455556666", std::process::id());
    let parents = [2, 3].map(|kind| format!("/kubepods/burstable/pod{}", uid(kind)));
    let shop = containerd.pod("shop-5d8f", "prod", &uid(2), &parents[0]);
    let web = containerd.container(&shop, "web", &["/usr/bin/tail", "-f", "/etc/log"]);

    let spec = pod_of_manifest(&tools);
    let run = directory.path().join("run");
    fs::create_dir(&run).unwrap();
    let names = ("inotify-trace-x7k2p", "inotify-trace", &*uid(3));
    let namespaces = api::Namespaces { network: 2, pid: 2 };
    let pod = containerd.pod_in(names, &parents[1], namespaces);
    let own = containerd.start_container(&pod, container(&spec, &run));

    let wait = Wait::begin();
    let asked = |path| get(&containerd.log_of(LOG), path);
    let is_well = |path| asked(path).is_some_and(|it| it.starts_with("HTTP/1.0 200"));
    while !is_well("/readyz") {
        wait.look_again(|| format!("{:?}: {}", asked("/readyz"), containerd.log_of(LOG)));
    }
    assert!(is_well("/healthz"));
    let metrics = asked("/metrics").unwrap();
    assert!(metrics.contains("\ninotify_instances_used{"), "{metrics}");

    // As `kubectl exec` does. The agent's own containerd is elsewhere: the runtime's state is what
    // it finds in the machine's files.
    let command = ["inotify-trace", "list", "--agent", "--by", "container", "-o", "json"];
    let mut found = || {
        let (output, errors, code) = containerd.exec(&own, &command);
        assert_eq!(code, 0, "{errors}");
        let listing: Value = serde_json::from_str(&output).unwrap();
        let rows = listing["rows"].as_array().unwrap();
        rows.iter().find(|row| row["container"]["id"] == web).cloned()
    };
    let row = found().expect("the container's row");
    assert_eq!(row["cgroup"], json!([format!("{}/{web}", parents[0])]), "{row}");
    assert_eq!((&row["instances"], &row["watches"]), (&json!(1), &json!(1)), "{row}");
    assert_eq!(row["container"]["pod"], uid(2), "{row}");
    drop(containerd);
    for above in parents.iter().map(String::as_str).chain(["/kubepods/burstable", "/kubepods"]) {
        // Other processes may have cgroups there.
        let _ = fs::remove_dir(mount.join(above.trim_start_matches('/')));
    }
}
