//! Paths as they are met in the field. `{id}` and the like stand for full-length ids; each case says
//! which program and driver leaves its shape.

use proptest::prelude::*;

use super::*;

const ID: &str = "4fa3b2c1d0e9a5f6071829384756afbecd0e1f2a3b4c5d6e7f8091a2b3c4d5e6";
const OUTER: &str = "d5d9ee5cf5ec9520d182418b737fb11f3aa6b739e91d7cb6ecd6786f6a2bcbd1";
const UID: &str = "1e597579-417e-482f-bf65-5fe170c3aebd";
const UID_UNDERSCORED: &str = "1e597579_417e_482f_bf65_5fe170c3aebd";
const STATIC_UID: &str = "187bff14cccb94f179e943eacce55bb3";
const BUILD_ID: &str = "n4eu0udvbz9vfzjy71jkvgkwh";

fn expand(template: &str) -> String {
    template
        .replace("{id}", ID)
        .replace("{outer}", OUTER)
        .replace("{uid}", UID)
        .replace("{u_id}", UID_UNDERSCORED)
        .replace("{static}", STATIC_UID)
        .replace("{build}", BUILD_ID)
}

const fn qos_of(class: &str) -> Option<Qos> {
    match class.as_bytes() {
        b"g" => Some(Qos::Guaranteed),
        b"b" => Some(Qos::Burstable),
        b"e" => Some(Qos::BestEffort),
        _ => None,
    }
}

/// Path, compact display, pod, class: g(uaranteed), b(urstable), b(e)steffort or none.
#[rustfmt::skip]
const CONTAINERS: &[(&str, &str, &str, &str)] = &[
    // containerd's CRI plugin, systemd driver (kubeadm's default).
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u_id}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "b"),
    ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_id}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "e"),
    // The same, guaranteed pod: no class in the path.
    ("/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "g"),
    // Static pod of the control plane: kubelet's uid is a hash without dashes.
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{static}", "b"),
    // CRI plugin with a pod's cgroup parent given by hand (crictl).
    ("/system.slice/system-getty.slice/cri-containerd-{id}.scope", "containerd:4fa3b2c1d0e9", "", ""),
    // systemd inside the container makes cgroups of its own.
    ("/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope/init.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "g"),
    ("/kubepods.slice/kubepods-pod{u_id}.slice/cri-containerd-{id}.scope/system.slice/foo.service",
     "containerd:4fa3b2c1d0e9", "{uid}", "g"),
    // kubelet and CRI plugin disagree on the driver: runc's SLICE:PREFIX:ID taken as a directory.
    ("/kubepods-besteffort-pod{u_id}.slice:cri-containerd:{id}", "containerd:4fa3b2c1d0e9", "{uid}", "e"),
    ("/system.slice/containerd.service/kubepods-burstable-pod{u_id}.slice:cri-containerd:{id}",
     "containerd:4fa3b2c1d0e9", "{uid}", "b"),
    // kubelet with cgroupfs driver (k3s, older minikube): the runtime leaves no trace.
    ("/kubepods/burstable/pod{uid}/{id}", "k8s:4fa3b2c1d0e9", "{uid}", "b"),
    ("/kubepods/besteffort/pod{uid}/{id}/sub", "k8s:4fa3b2c1d0e9", "{uid}", "e"),
    ("/kubepods/pod{uid}/{id}", "k8s:4fa3b2c1d0e9", "{uid}", "g"),
    ("/kubepods/burstable/pod{static}/{id}", "k8s:4fa3b2c1d0e9", "{static}", "b"),
    // kubelet --cgroup-root=/container.slice.
    ("/container.slice/container-kubepods.slice/container-kubepods-burstable.slice/container-kubepods-burstable-pod{u_id}.slice/crio-{id}.scope",
     "cri-o:4fa3b2c1d0e9", "{uid}", "b"),
    // kubelet seen from a pod with a cgroup namespace of its own, systemd and cgroupfs driver.
    ("/../../kubepods-burstable-pod{u_id}.slice/cri-containerd-{id}.scope", "containerd:4fa3b2c1d0e9", "{uid}", "b"),
    ("/../../pod{uid}/{id}", "k8s:4fa3b2c1d0e9", "{uid}", ""),
    ("/../cri-containerd-{id}.scope", "containerd:4fa3b2c1d0e9", "", ""),
    // CRI-O, systemd driver; with crun below a cgroup of its own.
    ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_id}.slice/crio-{id}.scope",
     "cri-o:4fa3b2c1d0e9", "{uid}", "e"),
    ("/kubepods.slice/kubepods-pod{u_id}.slice/crio-{id}.scope/container", "cri-o:4fa3b2c1d0e9", "{uid}", "g"),
    // CRI-O, cgroupfs driver, in a pod and with its default parent.
    ("/kubepods/besteffort/pod{uid}/crio-{id}", "cri-o:4fa3b2c1d0e9", "{uid}", "e"),
    ("/crio/crio-{id}", "cri-o:4fa3b2c1d0e9", "", ""),
    // Docker Engine below kubelet (dockershim, cri-dockerd).
    ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_id}.slice/docker-{id}.scope",
     "docker:4fa3b2c1d0e9", "{uid}", "e"),
    // Docker Engine: systemd driver, rootless, cgroupfs driver.
    ("/system.slice/docker-{id}.scope", "docker:4fa3b2c1d0e9", "", ""),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope", "docker:4fa3b2c1d0e9", "", ""),
    ("/docker/{id}", "docker:4fa3b2c1d0e9", "", ""),
    // docker run --cgroup-parent, cgroupfs driver (GitHub's runners do so).
    ("/actions_job/{id}", "4fa3b2c1d0e9", "", ""),
    // Removed while a process of it still exists.
    ("/system.slice/docker-{id}.scope (deleted)", "docker:4fa3b2c1d0e9", "", ""),
    // kind and minikube: a node is a container, the pod's container in it wins.
    ("/system.slice/docker-{outer}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{u_id}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "e"),
    ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u_id}.slice/cri-containerd-{id}.scope",
     "containerd:4fa3b2c1d0e9", "{uid}", "g"),
    ("/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/{id}", "k8s:4fa3b2c1d0e9", "{uid}", "b"),
    ("/docker/{outer}/kubepods.slice/kubepods-pod{u_id}.slice/crio-{id}.scope", "cri-o:4fa3b2c1d0e9", "{uid}", "g"),
    ("/docker/{outer}/docker/{id}", "docker:4fa3b2c1d0e9", "", ""),
    // The node's own services belong to the node, and so does a pod without container yet.
    ("/docker/{id}/system.slice/kubelet.service", "docker:4fa3b2c1d0e9", "", ""),
    ("/docker/{id}/kubelet/kubepods/burstable/pod{uid}", "docker:4fa3b2c1d0e9", "", ""),
    // A pod's uid is not carried over to what runs inside the pod (docker-in-docker for CI).
    ("/kubepods/burstable/pod{uid}/{outer}/docker/{id}", "docker:4fa3b2c1d0e9", "", ""),
    // ctr and nerdctl, cgroupfs driver: /NAMESPACE/ID, ids chosen at will with ctr.
    ("/default/{id}", "containerd:4fa3b2c1d0e9", "", ""),
    ("/default/web-1", "containerd:web-1", "", ""),
    ("/k8s.io/{id}", "containerd:4fa3b2c1d0e9", "", ""),
    // nerdctl, systemd driver, rootful and rootless.
    ("/system.slice/nerdctl-{id}.scope", "containerd:4fa3b2c1d0e9", "", ""),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{id}.scope", "containerd:4fa3b2c1d0e9", "", ""),
    // BuildKit by itself, in Docker Engine with cgroupfs and with systemd driver.
    ("/buildkit/{build}", "buildkit:n4eu0udvbz9vfzjy71jkvgkwh", "", ""),
    ("/docker/buildkit/{build}", "buildkit:n4eu0udvbz9vfzjy71jkvgkwh", "", ""),
    ("/system.slice/docker-{build}.scope", "buildkit:n4eu0udvbz9vfzjy71jkvgkwh", "", ""),
    // Podman, systemd driver; with crun the container is one level deeper.
    ("/machine.slice/libpod-{id}.scope", "podman:4fa3b2c1d0e9", "", ""),
    ("/machine.slice/libpod-{id}.scope/container", "podman:4fa3b2c1d0e9", "", ""),
    ("/machine.slice/libpod-{id}.scope/container/system.slice/nginx.service", "podman:4fa3b2c1d0e9", "", ""),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container", "podman:4fa3b2c1d0e9", "", ""),
    // Podman, cgroupfs driver.
    ("/libpod_parent/libpod-{id}", "podman:4fa3b2c1d0e9", "", ""),
    // Podman pods, rootful, rootless, cgroupfs driver.
    ("/machine.slice/machine-libpod_pod_{outer}.slice/libpod-{id}.scope/container", "podman:4fa3b2c1d0e9", "{outer}", ""),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_{outer}.slice/libpod-{id}.scope",
     "podman:4fa3b2c1d0e9", "{outer}", ""),
    ("/libpod_parent/{outer}/libpod-{id}", "podman:4fa3b2c1d0e9", "{outer}", ""),
    // Quadlet: podman run --cgroups=split within the service.
    ("/system.slice/nginx.service/libpod-payload-{id}", "podman:4fa3b2c1d0e9", "", ""),
    // LXC since 4.0 (LXD, Incus), LXC 3.1, Proxmox, before 3.1.
    ("/lxc.payload.web/system.slice/cron.service", "lxc:web", "", ""),
    ("/lxc.payload/web", "lxc:web", "", ""),
    ("/lxc/101/ns/init.scope", "lxc:101", "", ""),
    ("/lxc/web", "lxc:web", "", ""),
    // Docker in LXC.
    ("/lxc.payload.ci/system.slice/docker-{id}.scope", "docker:4fa3b2c1d0e9", "", ""),
    // systemd-nspawn started by its template, by hand, by NixOS; names escaped as systemd does.
    ("/machine.slice/systemd-nspawn@deb.service/payload/system.slice/cron.service", "systemd-nspawn:deb", "", ""),
    ("/machine.slice/machine-deb.scope/payload/init.scope", "systemd-nspawn:deb", "", ""),
    ("/machine.slice/machine-deb\\x2d12.scope", "systemd-nspawn:deb-12", "", ""),
    ("/machine.slice/container@db.service/payload", "systemd-nspawn:db", "", ""),
    // libvirt's LXC driver, registered with machined.
    ("/machine.slice/machine-lxc\\x2d4711\\x2dweb.scope", "lxc-4711-web", "", ""),
    // Amazon ECS agent: cgroupfs and systemd driver; Fargate's numbering.
    ("/ecs/{static}/{id}", "4fa3b2c1d0e9", "", ""),
    ("/ecstasks.slice/ecstasks-{static}.slice/docker-{id}.scope", "docker:4fa3b2c1d0e9", "", ""),
    ("/ecs/{static}/{static}-2531612879", "187bff14cccb94f179e943eacce55bb3-2531612879", "", ""),
    // Cloud Foundry.
    ("/system.slice/garden.service/garden/6f265890-5165-7fab-6b52-18d1", "garden:6f265890-5165-7fab-6b52-18d1", "", ""),
    ("/garden/good/2f57368b-0eda-4e52-64d8-af5c", "garden:2f57368b-0eda-4e52-64d8-af5c", "", ""),
    // Kata Containers' sandbox within the pod.
    ("/kubepods/besteffort/pod{uid}/kata_{id}", "k8s:4fa3b2c1d0e9", "{uid}", "e"),
];

#[test]
fn containers_are_recognised() {
    for &(template, display, pod, class) in CONTAINERS {
        let path = expand(template);
        let found = Container::from_cgroup_path(&path).unwrap_or_else(|| panic!("missed: {path}"));
        assert_eq!(found.to_string(), display, "{path}");
        assert_eq!(display_name(&path), display, "{path}");
        let pod_found = found.pod.as_ref().map_or("", PodUid::as_str);
        assert_eq!(pod_found, expand(pod), "{path}");
        assert_eq!(found.qos, qos_of(class), "{path}");
        assert!(path.contains(&found.id), "{path}");
    }
}

/// Path, compact display of the container looked after, what the monitor itself runs in.
#[rustfmt::skip]
const MONITORS: &[(&str, &str, Option<&str>)] = &[
    // CRI-O, conmon_cgroup = "system.slice" and "pod"; cgroupfs driver.
    ("/system.slice/crio-conmon-{id}.scope", "cri-o:4fa3b2c1d0e9", None),
    ("/kubepods.slice/kubepods-pod{u_id}.slice/crio-conmon-{id}.scope", "cri-o:4fa3b2c1d0e9", None),
    ("/kubepods/burstable/pod{uid}/crio-conmon-{id}", "cri-o:4fa3b2c1d0e9", None),
    // Podman, on the host and in a container.
    ("/machine.slice/libpod-conmon-{id}.scope", "podman:4fa3b2c1d0e9", None),
    ("/docker/{outer}/machine.slice/libpod-conmon-{id}.scope", "podman:4fa3b2c1d0e9", Some("docker:d5d9ee5cf5ec")),
    // LXC since 4.0; LXC 3.1 and Proxmox.
    ("/lxc.monitor.web", "lxc:web", None),
    ("/lxc.monitor/101", "lxc:101", None),
    // nspawn's half of its unit.
    ("/machine.slice/systemd-nspawn@deb.service/supervisor", "systemd-nspawn:deb", None),
    // Kata's shim and VMM with sandbox_cgroup_only=false.
    ("/kata_overhead/{id}", "4fa3b2c1d0e9", None),
    ("/kata_overhead/kubepods/burstable/pod{uid}/{id}", "k8s:4fa3b2c1d0e9", None),
];

#[test]
fn monitors_are_not_in_the_container_they_look_after() {
    for &(template, display, runs_in) in MONITORS {
        let path = expand(template);
        let location = Location::of(&path).unwrap_or_else(|| panic!("missed: {path}"));
        assert_eq!(location.role, Role::Monitor, "{path}");
        assert_eq!(location.container.to_string(), display, "{path}");
        assert_eq!(location.cgroup, path);
        assert_eq!(display_name(&path), format!("{display} (monitor)"));
        let payload = Container::from_cgroup_path(&path).map(|c| c.to_string());
        assert_eq!(payload.as_deref(), runs_in, "{path}");
    }
}

/// Path, what the table shows instead of a container.
#[rustfmt::skip]
const OTHERS: &[(&str, &str)] = &[
    // Kernel threads, and anything before systemd moved it.
    ("/", "/"),
    ("", "unknown"),
    ("/init.scope", "init.scope"),
    // The runtimes' own daemons, containerd's shims among them.
    ("/system.slice/containerd.service", "containerd.service"),
    ("/system.slice/docker.service", "docker.service"),
    ("/system.slice/crio.service", "crio.service"),
    ("/system.slice/lxc-monitord.service", "lxc-monitord.service"),
    ("/system.slice/docker-cleanup.service", "docker-cleanup.service"),
    ("/podruntime.slice/kubelet.service", "kubelet.service"),
    // Podman: rootless helper scopes; Quadlet's conmon; cgroupfs driver's one directory for all conmons.
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/podman-6696.scope", "podman-6696.scope"),
    ("/system.slice/nginx.service/runtime", "nginx.service/runtime"),
    ("/libpod_parent/conmon", "/libpod_parent/conmon"),
    // Sessions and user managers.
    ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
    ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service/init.scope"),
    ("/system.slice/udev.service (deleted)", "udev.service (deleted)"),
    // kubelet's inner nodes, and a pod's own cgroup with either driver; a Podman pod.
    ("/kubepods.slice/kubepods-burstable.slice", "kubepods-burstable.slice"),
    ("/kubepods/burstable", "/kubepods/burstable"),
    ("/kubepods.slice/kubepods-pod{u_id}.slice", "pod:{uid}"),
    ("/kubepods/burstable/pod{uid}", "pod:{uid}"),
    ("/libpod_parent/{id}", "pod:4fa3b2c1d0e9"),
    // libvirt's virtual machines.
    ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator"),
    // Ids of the wrong length or alphabet.
    ("/system.slice/docker-4fa3b2c1d0e9.scope", "docker-4fa3b2c1d0e9.scope"),
    ("/docker/4FA3B2C1D0E9A5F6071829384756AFBECD0E1F2A3B4C5D6E7F8091A2B3C4D5E6", "/docker/4FA3B2C1D0E9A5F6071829384756AFBECD0E1F2A3B4C5D6E7F8091A2B3C4D5E6"),
    // Names that only resemble.
    ("/docker", "/docker"),
    ("/lxc", "/lxc"),
    ("/lxc.pivot", "/lxc.pivot"),
    ("/app/default/web", "/app/default/web"),
    ("/podcast/web", "/podcast/web"),
    // Anything goes in a cgroup's name but a newline.
    ("/käse/日本語", "/käse/日本語"),
    ("/lxc/\u{1b}[2J", "/lxc/\u{fffd}[2J"),
    ("////", "////"),
    ("no slash", "no slash"),
];

#[test]
fn other_cgroups_are_not_containers() {
    for &(template, display) in OTHERS {
        let path = expand(template);
        assert_eq!(Location::of(&path), None, "{path}");
        assert_eq!(display_name(&path), expand(display), "{path}");
    }
}

#[test]
fn location_names_the_containers_own_cgroup() {
    let own = expand("/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/{id}");
    let below = format!("{own}/system.slice/foo.service (deleted)");
    let location = Location::of(&below).unwrap();
    assert_eq!(location.cgroup, own);
    assert_eq!(location.container.id, ID);
}

#[test]
fn a_container_knows_the_machine_s_container_that_it_runs_in() {
    for (template, outer) in [
        ("/docker/{outer}/kubelet/kubepods/burstable/pod{uid}/{id}", Some("docker:d5d9ee5cf5ec")),
        ("/lxc.payload.ci/docker/{outer}/docker/{id}", Some("lxc:ci")),
        ("/kubepods/burstable/pod{uid}/{outer}/docker/{id}", Some("k8s:d5d9ee5cf5ec")),
        ("/docker/{id}/system.slice/kubelet.service", None),
        ("/machine.slice/machine-deb.scope/payload/init.scope", None),
    ] {
        let path = expand(template);
        let container = Container::from_cgroup_path(&path).unwrap();
        let found = container.outer.as_ref().map(ToString::to_string);
        assert_eq!(found.as_deref(), outer, "{path}");
        let inner = Container { outer: None, ..container.clone() };
        assert_eq!(container == inner, outer.is_none(), "the outer one tells them apart");
    }
    // What looks after a container on this machine is in none itself.
    let monitor = Location::of("/machine.slice/systemd-nspawn@deb.service/supervisor").unwrap();
    assert_eq!(monitor.container.outer, None);
}

#[test]
fn names_are_unescaped_only_to_something_printable() {
    for (name, shown) in [
        ("a\\x2db", "a-b"),
        ("a\\x1bb", "a\\x1bb"),
        ("a\\x2", "a\\x2"),
        ("a\\xzz", "a\\xzz"),
        ("\\x5cx2d", "\\x2d"),
    ] {
        assert_eq!(unescape_unit(name), shown);
    }
}

#[test]
fn display_respects_column_width() {
    let container = Container::from_cgroup_path("/lxc/web").unwrap();
    assert_eq!(format!("{container:<10}|"), "lxc:web   |");
}

#[test]
fn serialises_as_it_displays() {
    for runtime in [
        Runtime::Containerd,
        Runtime::CriO,
        Runtime::Docker,
        Runtime::Podman,
        Runtime::Lxc,
        Runtime::SystemdNspawn,
        Runtime::Buildkit,
        Runtime::Garden,
    ] {
        assert_eq!(serde_json::to_value(runtime).unwrap(), runtime.as_str());
    }
    for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
        assert_eq!(serde_json::to_value(qos).unwrap(), qos.as_str());
    }
}

#[test]
fn very_long_paths_are_read_to_the_end() {
    let deep = "/sub".repeat(100_000);
    let path = format!("/docker/{OUTER}{deep}/docker/{ID}{deep}");
    assert_eq!(Container::from_cgroup_path(&path).unwrap().id, ID);
    assert_eq!(Location::of(&"x".repeat(1_000_000)), None);
}

/// Paths put together from what the tables use, so that chance meets the interesting branches.
fn plausible_path() -> impl Strategy<Value = String> {
    let known = CONTAINERS.iter().map(|case| case.0);
    let known =
        known.chain(MONITORS.iter().map(|case| case.0)).chain(OTHERS.iter().map(|case| case.0));
    let names: Vec<String> =
        known.flat_map(|path| path.split('/')).map(expand).chain(["..".to_owned()]).collect();
    let name = prop_oneof![9 => prop::sample::select(names), 1 => "[^/\n]{0,12}"];
    prop::collection::vec(name, 0..8).prop_map(|names| format!("/{}", names.join("/")))
}

proptest! {
    #[test]
    fn any_text_is_survived(path in ".{0,200}") {
        let _ = Location::of(&path);
        prop_assert!(!display_name(&path).contains(char::is_control));
    }

    #[test]
    fn what_is_recognised_is_in_the_path(path in plausible_path()) {
        prop_assert!(!display_name(&path).contains(char::is_control));
        for location in [Location::of(&path), Location::of_payload(&path)].into_iter().flatten() {
            prop_assert!(path.contains(&location.container.id));
            prop_assert!(path.starts_with(location.cgroup));
            prop_assert!(location.cgroup.contains(&location.container.id));
        }
    }

    #[test]
    fn the_containers_own_cgroup_names_the_same_container(path in plausible_path()) {
        if let Some(location) = Location::of(&path) {
            let own = Location::of(location.cgroup);
            prop_assert_eq!(own.as_ref(), Some(&location));
            let below = format!("{}/init.scope (deleted)", location.cgroup);
            prop_assert_eq!(Location::of(&below), Some(location));
        }
    }
}
