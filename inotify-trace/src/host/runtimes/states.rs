//! Containers of plain OCI runtimes, from the state that runc and crun keep of each while it exists,
//! with the path of its cgroup. This is the only way to identify a container whose cgroup has a name
//! of the user's choice.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Container, Names, Registry, Runtime, oci::Annotations};

/// The directories of states, with a directory for each container (`*` matches any directory); the
/// manager of these containers; and the form of the state.
const PLACES: &[(&str, Runtime, Form)] = &[
    ("run/runc", Runtime::Runc, Form::Runc),
    ("run/crun", Runtime::Crun, Form::Crun),
    // One for each of containerd's namespaces.
    ("run/containerd/runc/*", Runtime::Containerd, Form::Runc),
    ("run/docker/runtime-runc/*", Runtime::Docker, Form::Runc),
    ("run/user/*/runc", Runtime::Runc, Form::Runc),
    ("run/user/*/crun", Runtime::Crun, Form::Crun),
];

/// The directory of users' runtime files, by user id.
const OF_USERS: &str = "run/user";

/// The most states that are read: users may create any number of directories.
const MOST: usize = 8192;

#[derive(Clone, Copy, Debug)]
enum Form {
    Runc,
    Crun,
}

impl Form {
    fn file(self) -> &'static str {
        match self {
            Self::Runc => "state.json",
            Self::Crun => "status",
        }
    }
}

/// A container, by its runtime's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The container's own cgroup, by its path from the root of the hierarchy.
    pub cgroup: String,
    /// The container.
    pub container: Container,
    /// Its names.
    pub names: Names,
}

/// The states of all containers.
#[derive(Debug)]
pub struct States {
    registry: Registry,
    /// By the container's directory.
    read: HashMap<PathBuf, Kept>,
    /// The directory, by cgroup; None if several states have the same cgroup.
    by_cgroup: HashMap<String, Option<PathBuf>>,
}

/// A state, and the file it was read from.
#[derive(Debug)]
struct Kept {
    file: (u64, i64, i64),
    state: Option<State>,
}

impl States {
    /// The states of a machine, not read yet.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry, read: HashMap::new(), by_cgroup: HashMap::new() }
    }

    /// Reads new states. Each is read once: its cgroup does not change.
    pub fn read_new(&mut self) {
        let mut there = HashSet::new();
        let mut is_changed = false;
        for &(place, runtime, form) in PLACES {
            for root in self.registry.matching(place) {
                for directory in directories(&root) {
                    if there.len() < MOST {
                        is_changed |= self.read_one(&directory, runtime, form);
                        there.insert(directory);
                    }
                }
            }
        }
        let before = self.read.len();
        self.read.retain(|directory, _| there.contains(directory));
        if is_changed || self.read.len() != before {
            self.by_cgroup.clear();
            for (directory, kept) in &self.read {
                let Some(state) = &kept.state else { continue };
                self.by_cgroup
                    .entry(state.cgroup.clone())
                    .and_modify(|several| *several = None)
                    .or_insert_with(|| Some(directory.clone()));
            }
        }
    }

    /// Reads the state in a directory; returns whether it is new.
    fn read_one(&mut self, directory: &Path, runtime: Runtime, form: Form) -> bool {
        let path = directory.join(form.file());
        let Ok(metadata) = fs::symlink_metadata(&path) else { return false };
        let file = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        if self.read.get(directory).is_some_and(|kept| kept.file == file) {
            return false;
        }
        // An incomplete file is being written: it is read again the next time.
        let Some(parsed) = self.registry.read(&path).and_then(|text| form.parse(&text)) else {
            return false;
        };
        let state = self.state(directory, runtime, parsed);
        self.read.insert(directory.to_owned(), Kept { file, state });
        true
    }

    fn state(&self, directory: &Path, runtime: Runtime, parsed: Parsed) -> Option<State> {
        let Parsed { cgroup, names } = parsed;
        let id = directory.file_name().and_then(OsStr::to_str)?.to_owned();
        let cgroup = cgroup.filter(|path| path.len() > 1 && path.starts_with('/'))?;
        // Users' states count for their own cgroups only.
        if let Ok(below) = directory.strip_prefix(self.registry.root.join(OF_USERS)) {
            let uid = below.components().next()?.as_os_str().to_str()?;
            if !cgroup.starts_with(&format!("/user.slice/user-{uid}.slice/")) {
                return None;
            }
        }
        let container = Container { runtime: Some(runtime), id, pod: None, qos: None };
        let found = self.registry.find(&container).map(|(_, names)| names);
        let names = found.or(names).unwrap_or_default();
        let name = match runtime {
            // The user chose the id as the name.
            Runtime::Runc | Runtime::Crun => names.name.or_else(|| Some(container.id.clone())),
            _ => names.name,
        };
        Some(State { cgroup, container, names: Names { name, ..names } })
    }

    /// The container of a cgroup, as of the last `read_new`. None if several states claim it.
    #[must_use]
    pub fn of(&self, cgroup: &str) -> Option<&State> {
        let directory = self.by_cgroup.get(cgroup)?.as_ref()?;
        self.read.get(directory)?.state.as_ref()
    }
}

/// The content of a state of either form.
struct Parsed {
    /// None if the container is in no cgroup of the v2 hierarchy.
    cgroup: Option<String>,
    names: Option<Names>,
}

/// `state.json` of runc (`libcontainer.State`).
#[derive(Deserialize)]
struct RuncState {
    /// By controller; the v2 hierarchy's has an empty name.
    #[serde(default)]
    cgroup_paths: HashMap<String, String>,
    config: RuncConfig,
}

#[derive(Deserialize)]
struct RuncConfig {
    /// The annotations, as `KEY=VALUE`.
    labels: Option<Vec<String>>,
}

/// `status` of crun (`libcrun_container_status_t`).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CrunStatus {
    cgroup_path: Option<String>,
}

impl Form {
    /// None if the text is no complete state.
    fn parse(self, text: &str) -> Option<Parsed> {
        match self {
            Self::Runc => {
                let state: RuncState = serde_json::from_str(text).ok()?;
                // runc assumes fixed mount points (`unifiedMountpoint`, `hybridMountpoint`): beside
                // v1, the hierarchy without controllers is here.
                let is_hybrid = state.cgroup_paths.len() > 1;
                let mount = if is_hybrid { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
                let cgroup = state.cgroup_paths.get("").and_then(|path| path.strip_prefix(mount));
                let labels = state.config.labels.unwrap_or_default();
                let labels = labels.iter().filter_map(|label| label.split_once('='));
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
                Some(Parsed {
                    cgroup: cgroup.map(str::to_owned),
                    names: labels.collect::<Annotations>().names().or_none(),
                })
            }
            Self::Crun => {
                let status: CrunStatus = serde_json::from_str(text).ok()?;
                Some(Parsed { cgroup: status.cgroup_path, names: None })
            }
        }
    }
}

impl Registry {
    /// The directories whose paths match, `*` being any name.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let mut paths = vec![self.root.clone()];
        for part in pattern.split('/') {
            paths = match part {
                "*" => paths.iter().flat_map(|path| directories(path)).collect(),
                part => paths.into_iter().map(|path| path.join(part)).collect(),
            };
        }
        paths
    }
}

/// The directories in a directory, links to others left out.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of runc 1.1, cut down.
    const RUNC: &str = r#"{"id": "web", "init_process_pid": 7, "config": {"rootfs": "/b/rootfs",
        "labels": ["bundle=/b", "nerdctl/name=shop"]},
        "cgroup_paths": {"": "/sys/fs/cgroup/my/web"}}"#;

    /// A state of crun 1.8, cut down.
    const CRUN: &str = r#"{"pid": 7, "cgroup-path": "/user.slice/user-1000.slice/foo",
        "scope": "", "bundle": "/b", "detached": true}"#;

    struct Machine {
        root: tempfile::TempDir,
        states: States,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let states = States::new(Registry::below(root.path().to_owned()));
            Self { root, states }
        }

        fn write(&mut self, path: &str, text: &str) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self.states.read_new();
        }

        /// `runtime:id` of a cgroup.
        fn of(&self, cgroup: &str) -> Option<String> {
            self.states.of(cgroup).map(|state| state.container.to_string())
        }
    }

    #[test]
    fn runc_says_whose_a_cgroup_is() {
        let mut machine = Machine::new();
        machine.write("run/runc/web/state.json", RUNC);
        assert_eq!(machine.of("/my/web").as_deref(), Some("runc:web"));
        assert_eq!(machine.of("/my"), None);
        let names = &machine.states.of("/my/web").unwrap().names;
        assert_eq!(names.name.as_deref(), Some("shop"));
        // Beside v1.
        let hybrid = RUNC.replace(
            r#""": "/sys/fs/cgroup/my/web""#,
            r#""": "/sys/fs/cgroup/unified/hy", "cpu": "/sys/fs/cgroup/cpu/v1""#,
        );
        machine.write("run/runc/hybrid/state.json", &hybrid);
        assert_eq!(machine.of("/hy").as_deref(), Some("runc:hybrid"));
        // In v1 alone.
        let old = RUNC.replace(r#""": "/sys"#, r#""cpu": "/sys"#);
        machine.write("run/runc/old/state.json", &old);
        assert_eq!(machine.of("/my/web").as_deref(), Some("runc:web"));
        // In the directories of containerd and Docker, the containers are theirs.
        for (path, whose) in [
            ("run/containerd/runc/mine/app/state.json", "containerd:app"),
            ("run/docker/runtime-runc/moby/app/state.json", "docker:app"),
        ] {
            let mut machine = Machine::new();
            machine.write(path, RUNC);
            assert_eq!(machine.of("/my/web").as_deref(), Some(whose));
        }
    }

    #[test]
    fn crun_does_too_and_users_speak_for_their_own() {
        let cgroup = "/user.slice/user-1000.slice/foo";
        for (path, is_believed) in [
            ("run/crun/app/status", true),
            ("run/user/1000/crun/app/status", true),
            ("run/user/1001/crun/app/status", false),
        ] {
            let mut machine = Machine::new();
            machine.write(path, CRUN);
            assert_eq!(machine.of(cgroup).is_some(), is_believed, "{path}");
        }
        let mut machine = Machine::new();
        machine.write("run/crun/app/status", CRUN);
        let names = &machine.states.of(cgroup).unwrap().names;
        assert_eq!(names.name.as_deref(), Some("app"));
    }

    #[test]
    fn what_is_half_written_is_read_again_and_what_is_gone_forgotten() {
        let mut machine = Machine::new();
        for half in ["", "{", r#"{"id": "web"}"#] {
            machine.write("run/runc/web/state.json", half);
            assert_eq!(machine.of("/my/web"), None);
        }
        machine.write("run/runc/web/state.json", RUNC);
        assert!(machine.of("/my/web").is_some());
        // Two containers in one cgroup: a process in it may belong to either.
        machine.write("run/runc/second/state.json", RUNC);
        assert_eq!(machine.of("/my/web"), None);
        fs::remove_dir_all(machine.root.path().join("run/runc/web")).unwrap();
        machine.states.read_new();
        assert_eq!(machine.of("/my/web").as_deref(), Some("runc:second"));
    }

    #[test]
    fn nothing_that_users_put_there_is_waited_for() {
        let mut machine = Machine::new();
        let place = machine.root.path().join("run/user/1000/crun/app");
        fs::create_dir_all(&place).unwrap();
        let status = place.join("status");
        rustix::fs::mkfifoat(rustix::fs::CWD, &status, rustix::fs::Mode::RUSR).unwrap();
        machine.states.read_new();
        fs::remove_file(&status).unwrap();
        let elsewhere = machine.root.path().join("elsewhere");
        fs::write(&elsewhere, CRUN).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &status).unwrap();
        machine.states.read_new();
        assert_eq!(machine.of("/user.slice/user-1000.slice/foo"), None);
    }

    #[test]
    fn a_cgroup_that_is_everybody_s_is_no_container() {
        let mut machine = Machine::new();
        for path in ["/", "", "relative"] {
            let text = CRUN.replace("/user.slice/user-1000.slice/foo", path);
            machine.write("run/crun/app/status", &text);
            assert_eq!(machine.of(path), None, "{path}");
        }
    }
}
