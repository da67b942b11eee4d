use std::fs;

use super::*;

const ID: &str = "4fa3b2c1d0e98a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b";

/// A machine with one file on it.
struct Machine(tempfile::TempDir);

impl Machine {
    fn with(path: &str, text: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write(path, text);
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.0.path().join(path.replace("ID", ID));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text.replace("ID", ID)).unwrap();
    }

    fn names(&self, runtime: impl Into<Option<Runtime>>, id: &str) -> Option<Names> {
        Some(self.find(runtime.into(), id)?.names)
    }

    fn find(&self, runtime: Option<Runtime>, id: &str) -> Option<Found> {
        let id = id.to_owned();
        self.of(&Container { runtime, id, pod: None, qos: None, outer: None })
    }

    fn of(&self, container: &Container) -> Option<Found> {
        Files::new(Registry::below(self.0.path().to_owned())).find(container)
    }
}

/// As containerd 1.7 writes it, cut down.
const CONTAINERD: &str = r#"{
    "ociVersion": "1.1.0", "process": {"args": ["/app"]},
    "annotations": {
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "registry.example/shop/web:7",
        "io.kubernetes.cri.sandbox-id": "91b6c0d3",
        "io.kubernetes.cri.sandbox-name": "shop-5d8f",
        "io.kubernetes.cri.sandbox-namespace": "prod"
    }
}"#;

#[test]
fn containerd_notes_name_pod_namespace_and_image() {
    for place in ["run/containerd", "run/k3s/containerd", "run/k0s/containerd"] {
        let path = format!("{place}/io.containerd.runtime.v2.task/k8s.io/ID/config.json");
        let machine = Machine::with(&path, CONTAINERD);
        let names = machine.names(Runtime::Containerd, ID).unwrap();
        assert_eq!(names.display().as_deref(), Some("prod/shop-5d8f/web"));
        assert_eq!(names.image.as_deref(), Some("registry.example/shop/web:7"));
        assert!(!names.is_sandbox);
        // kubelet's cgroupfs driver: only the id is known.
        let runtime = Some(Runtime::Containerd);
        assert_eq!(machine.find(None, ID), Some(Found { names, runtime, is_whole: true }));
        assert_eq!(machine.names(Runtime::Containerd, "another"), None);
    }
}

#[test]
fn a_sandbox_is_told_apart() {
    let text = r#"{"annotations": {"io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-name": "shop-5d8f",
        "io.kubernetes.cri.sandbox-namespace": "prod"}}"#;
    let path = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
    let names = Machine::with(path, text).names(Runtime::Containerd, ID).unwrap();
    assert_eq!(names.display().as_deref(), Some("prod/shop-5d8f/(sandbox)"));
}

/// The annotations of an app and of its sandbox as containerd 1.4.13 writes them.
const OF_1_4: [&str; 2] = [
    r#"{"annotations": {"io.kubernetes.cri.container-name": "app",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.sandbox-id": "91b6c0d3"}}"#,
    r#"{"annotations": {"io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": "91b6c0d3",
        "io.kubernetes.cri.sandbox-log-directory": "/var/log/pods/prod_shop-5d8f_1e597579-417e"}}"#,
];
const BUNDLES: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io";

#[test]
fn containerd_1_4_leaves_the_pod_s_name_with_the_sandbox_alone() {
    let [app, sandbox] = OF_1_4;
    let machine = Machine::with(&format!("{BUNDLES}/ID/config.json"), app);
    let found = |id| machine.find(Some(Runtime::Containerd), id).unwrap();
    let shown = |id| (found(id).names.display().unwrap(), found(id).is_whole);
    assert_eq!(shown(ID), ("app".to_owned(), false));
    machine.write(&format!("{BUNDLES}/91b6c0d3/config.json"), sandbox);
    // Only the image is missing.
    assert_eq!(shown(ID), ("prod/shop-5d8f/app".to_owned(), false));
    assert_eq!(shown("91b6c0d3"), ("prod/shop-5d8f/(sandbox)".to_owned(), true));
    // A sandbox's annotations are those of the same namespace of containerd.
    let elsewhere = BUNDLES.replace("k8s.io", "mine");
    machine.write(&format!("{elsewhere}/91b6c0d3/config.json"), &sandbox.replace("prod", "evil"));
    assert_eq!(shown(ID), ("prod/shop-5d8f/app".to_owned(), false));
}

#[test]
fn kubelet_s_logs_have_the_names_that_containerd_left_out() {
    let machine = Machine::with(&format!("{BUNDLES}/ID/config.json"), OF_1_4[0]);
    machine.write("var/log/containers/shop-5d8f_prod_app-ID.log", "");
    let found = machine.find(Some(Runtime::Containerd), ID).unwrap();
    assert_eq!(found.names.display().as_deref(), Some("prod/shop-5d8f/app"));
    // Without any bundle, and by the pod's uid alone.
    let machine = Machine::with("var/log/pods/prod_shop-5d8f_1e597579/app/0.log", "");
    let path = format!("/kubepods/burstable/pod1e597579/{ID}");
    let container = Container::from_cgroup_path(&path).unwrap();
    let found = machine.of(&container).unwrap();
    assert_eq!(found.names.display().as_deref(), Some("prod/shop-5d8f"));
    assert_eq!((found.runtime, found.is_whole), (None, false));
}

#[test]
fn a_container_in_another_has_no_name_of_this_machine_s_files() {
    let path = format!("{BUNDLES}/ID/config.json");
    let machine = Machine::with(&path, CONTAINERD);
    let inner = format!("/docker/{}/kubepods/burstable/pod1e597579/{ID}", "d5".repeat(32));
    assert_eq!(machine.of(&Container::from_cgroup_path(&inner).unwrap()), None);
}

#[test]
fn names_have_an_end() {
    let path = format!("{BUNDLES}/ID/config.json");
    let long = CONTAINERD.replace("\"web\"", &format!("\"{}\"", "w".repeat(1 << 20)));
    let names = Machine::with(&path, &long).names(Runtime::Containerd, ID).unwrap();
    assert_eq!(names.name.map(|name| name.len()), Some(253));
}

#[test]
fn cri_o_notes_them_elsewhere() {
    let text = r#"{"annotations": {"io.kubernetes.container.name": "db",
        "io.kubernetes.pod.name": "db-0", "io.kubernetes.pod.namespace": "data",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.ImageName": "registry.example/db:1"}}"#;
    let path = "run/containers/storage/overlay-containers/ID/userdata/config.json";
    let names = Machine::with(path, text).names(Runtime::CriO, ID).unwrap();
    assert_eq!(names.display().as_deref(), Some("data/db-0/db"));
    assert_eq!(names.image.as_deref(), Some("registry.example/db:1"));
}

#[test]
fn docker_has_a_name_of_its_own() {
    let text = r#"{"ID": "ID", "Name": "/eager_turing", "Config": {"Image": "alpine",
        "Labels": {}}}"#;
    let path = "var/lib/docker/containers/ID/config.v2.json";
    let machine = Machine::with(path, text);
    let names = machine.names(Runtime::Docker, ID).unwrap();
    assert_eq!(names.display().as_deref(), Some("eager_turing"));
    assert_eq!(names.image.as_deref(), Some("alpine"));
    // `--cgroup-parent` with the cgroupfs driver.
    let runtime = Some(Runtime::Docker);
    assert_eq!(machine.find(None, ID), Some(Found { names, runtime, is_whole: true }));
}

#[test]
fn podman_keeps_a_list() {
    let text = r#"[{"id": "other"}, {"id": "ID", "names": ["build"],
        "metadata": "{\"image-name\":\"debian:12\"}"}]"#;
    for list in ["overlay-containers/containers", "vfs-containers/volatile-containers"] {
        let path = format!("var/lib/containers/storage/{list}.json");
        let names = Machine::with(&path, text).names(Runtime::Podman, ID).unwrap();
        assert_eq!(names.display().as_deref(), Some("build"));
        assert_eq!(names.image.as_deref(), Some("debian:12"));
    }
}

#[test]
fn what_is_not_as_expected_is_passed_over() {
    let path = "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json";
    for text in ["", "{", "[]", "{}", r#"{"annotations": 7}"#, r#"{"annotations": {"x": "y"}}"#] {
        assert_eq!(Machine::with(path, text).names(Runtime::Containerd, ID), None, "{text}");
    }
    let machine = Machine::with(path, CONTAINERD);
    for id in ["", ".", "..", "../default/ID", "a/b"] {
        assert_eq!(machine.names(Runtime::Containerd, &id.replace("ID", ID)), None, "{id}");
    }
}
