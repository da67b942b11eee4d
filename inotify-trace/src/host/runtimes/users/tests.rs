use std::{fs, os::unix::fs::symlink};

use super::{super::files::Below, *};

/// A state of crun 1.8, cut down.
const CRUN: &str = r#"{"pid": 7, "cgroup-path": "/user.slice/user-1000.slice/foo",
    "scope": "", "bundle": "/b", "detached": true}"#;
const CGROUP: &str = "/user.slice/user-1000.slice/foo";

struct Machine(tempfile::TempDir);

/// Reads without a helper.
struct Direct;

impl Reader for Direct {
    fn read(&mut self, below: &Path, path: &str) -> Option<String> {
        Below::open(below)?.read(path, LONGEST)
    }

    fn names(&mut self, below: &Path, path: &str) -> Vec<String> {
        Below::open(below).map(|below| below.names(path, MOST)).unwrap_or_default()
    }
}

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:\n");
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The container of a cgroup by a user's state.
    fn state(&self, cgroup: &str) -> Option<String> {
        let uid = uid_of(cgroup)?;
        Some(User::new(self.0.path(), uid, &mut Direct).state(cgroup)?.0.to_string())
    }

    /// The name of a user's container.
    fn name(&self, path: &str) -> Option<String> {
        let container = Container::from_cgroup_path(path)?;
        User::new(self.0.path(), uid_of(path)?, &mut Direct).names(&container)?.display()
    }
}

#[test]
fn crun_s_states_are_believed_of_the_user_s_own_cgroups() {
    for (path, is_believed) in
        [("run/user/1000/crun/app/status", true), ("run/user/1001/crun/app/status", false)]
    {
        let machine = Machine::new();
        machine.write(path, CRUN);
        assert_eq!(machine.state(CGROUP).as_deref(), is_believed.then_some("crun:app"));
        assert_eq!(machine.state("/user.slice/user-1001.slice/foo"), None);
    }
    let machine = Machine::new();
    machine.write("run/user/1000/crun/app/status", CRUN);
    // Two containers in one cgroup: a process in it may belong to either.
    machine.write("run/user/1000/crun/second/status", CRUN);
    assert_eq!(machine.state(CGROUP), None);
}

#[test]
fn links_and_pipes_of_users_are_not_opened() {
    let machine = Machine::new();
    let place = machine.0.path().join("run/user/1000");
    machine.write("elsewhere/app/status", CRUN);
    fs::create_dir_all(&place).unwrap();
    symlink(machine.0.path().join("elsewhere"), place.join("crun")).unwrap();
    assert_eq!(machine.state(CGROUP), None);
    fs::remove_file(place.join("crun")).unwrap();
    fs::create_dir_all(place.join("crun/app")).unwrap();
    let status = place.join("crun/app/status");
    rustix::fs::mkfifoat(rustix::fs::CWD, &status, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(machine.state(CGROUP), None);
}

/// As Podman 5.4 of Debian 13 writes it, cut down.
const PODMAN_LIST: &str = r#"[{"id":"ID","names":["rl-tail"],"image":"5d0d",
    "layer":"2f00","metadata":"{\"image-name\":\"docker.io/library/busybox:1\",\"image-id\":\"5d0d\",\"name\":\"rl-tail\",\"created-at\":1764000000}","created":"2026-11-01T00:00:00Z","flags":{"MountLabel":""}}]"#;

#[test]
fn rootless_containers_are_named_by_their_owners_stores() {
    let id = "4f".repeat(32);
    let service = "/user.slice/user-1000.slice/user@1000.service";
    let podman = format!("{service}/user.slice/libpod-{id}.scope/container");
    let quadlet = format!("{service}/app.slice/web.service/libpod-payload-{id}");
    let store = "home/ann/.local/share/containers/storage";
    for list in [
        &format!("{store}/vfs-containers/containers.json"),
        &format!("{store}/overlay-containers/volatile-containers.json"),
        "run/user/1000/containers/overlay-containers/volatile-containers.json",
    ] {
        let machine = Machine::new();
        assert_eq!(machine.name(&podman), None);
        machine.write(list, &PODMAN_LIST.replace("ID", &id));
        for path in [&podman, &quadlet] {
            assert_eq!(machine.name(path).as_deref(), Some("rl-tail"), "{list}");
        }
        let of_another = podman.replace("1000", "1001");
        assert_eq!(machine.name(&of_another), None);
    }
    let machine = Machine::new();
    let note = r#"{"Name": "/web", "Config": {"Image": "nginx", "Labels":
        {"io.kubernetes.pod.name": "victim", "io.kubernetes.pod.namespace": "prod"}}}"#;
    machine.write(&format!("home/ann/.local/share/docker/{}", docker::note(&id)), note);
    let docker = format!("{service}/user.slice/docker-{id}.scope");
    assert_eq!(machine.name(&docker).as_deref(), Some("web"), "and no pod");
}

#[test]
fn a_name_that_podman_forbids_is_none() {
    let id = "4f".repeat(32);
    let machine = Machine::new();
    let list = PODMAN_LIST.replace("ID", &id).replace(r#"["rl-tail"]"#, r#"["prod/shop/web"]"#);
    let path = "home/ann/.local/share/containers/storage/vfs-containers/containers.json";
    machine.write(path, &list);
    let scope = format!("/user.slice/user-1000.slice/user@1000.service/libpod-{id}.scope");
    assert_eq!(machine.name(&scope), None);
}

#[test]
fn what_is_left_to_users_is_told_from_their_sessions() {
    for (path, is_left) in [
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x", true),
        ("/user.slice/user-1000.slice/session-3.scope", false),
        ("/system.slice/user-1000.slice/user@1000.service", false),
    ] {
        assert_eq!(Users::rule(path), is_left, "{path}");
    }
    assert_eq!(uid_of("/user.slice/user-1000.slice"), Some(1000));
    assert_eq!(uid_of("/user.slice/user-.slice"), None);
    assert_eq!(uid_of("/user.slice"), None);
}

#[test]
fn files_are_read_as_long_as_there_is_time() {
    let machine = Machine::new();
    machine.write("run/user/1000/crun/app/status", CRUN);
    let id = "4f".repeat(32);
    let list = "home/ann/.local/share/containers/storage/vfs-containers/containers.json";
    machine.write(list, &PODMAN_LIST.replace("ID", &id));
    let scope = format!("/user.slice/user-1000.slice/user@1000.service/libpod-{id}.scope");
    let container = Container::from_cgroup_path(&scope).unwrap();
    let now = Instant::now();
    for (end, is_read) in [(now + Duration::from_secs(600), true), (now, false)] {
        let mut direct = Direct;
        let mut reader = InTime::new(&mut direct, end);
        let mut user = User::new(machine.0.path(), 1000, &mut reader);
        let found = [user.state(CGROUP).is_some(), user.names(&container).is_some()];
        assert_eq!((found, reader.has_left_out), ([is_read; 2], !is_read));
    }
}
