//! Containers of plain OCI runtimes, from the state that runc and crun keep of each while it exists,
//! with the path of its cgroup. This is the only way to identify a container whose cgroup has a name
//! of the user's choice.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Container, Names, Registry, Runtime,
    files::{self, Changed},
    machines::Machines,
    oci::Annotations,
};

/// The directories of states, with a directory for each container (`*` matches any directory); the
/// manager of these containers; and the form of the state. `users` reads those of users.
const PLACES: &[(&str, Runtime, Form)] = &[
    ("run/runc", Runtime::Runc, Form::Runc),
    ("run/crun", Runtime::Crun, Form::Crun),
    // One for each of containerd's namespaces.
    ("run/containerd/runc/*", Runtime::Containerd, Form::Runc),
    ("run/docker/runtime-runc/*", Runtime::Docker, Form::Runc),
];

/// The most namespaces of a place, and the most states in each.
const MOST_NAMESPACES: usize = 64;
const MOST: usize = 4096;

/// The most bytes of a cgroup's path.
const LONGEST_PATH: usize = 4096;

/// The file of a state.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Runc,
    Crun,
}

impl Form {
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Runc => "state.json",
            Self::Crun => "status",
        }
    }
}

/// A container, by its runtime's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The container.
    pub container: Container,
    /// Its names.
    pub names: Names,
}

/// The states of all containers.
#[derive(Debug)]
pub struct States {
    registry: Registry,
    /// By the directory of states.
    places: HashMap<PathBuf, Place>,
    /// By the container's directory.
    read: HashMap<PathBuf, Kept>,
    /// The directory, by cgroup; None if several states have the same cgroup.
    by_cgroup: HashMap<String, Option<PathBuf>>,
    machines: Machines,
}

/// A directory of states, as it was read last.
#[derive(Debug, Default)]
struct Place {
    changed: Changed,
    directories: Vec<PathBuf>,
}

/// A state, and the file it was read from.
#[derive(Debug)]
struct Kept {
    file: (u64, i64, i64),
    /// The container's own cgroup, by its path from the root of the hierarchy, and the state.
    state: Option<(String, State)>,
}

impl States {
    /// The states of a machine, not read yet.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            places: HashMap::new(),
            read: HashMap::new(),
            by_cgroup: HashMap::new(),
            machines: Machines::default(),
        }
    }

    /// Reads new states. Each is read once: its cgroup does not change. If nothing is new, that costs
    /// a look at each directory of states.
    pub fn read_new(&mut self) {
        self.machines.read_new(&self.registry.root);
        let mut there = HashSet::new();
        let mut is_changed = false;
        for &(pattern, runtime, form) in PLACES {
            for root in files::matching(&self.registry.root, pattern, MOST_NAMESPACES) {
                is_changed |= self.read_place(&root, runtime, form);
                there.insert(root);
            }
        }
        let before = self.places.len();
        self.places.retain(|root, _| there.contains(root));
        if is_changed || self.places.len() != before {
            let places = &self.places;
            self.read.retain(|directory, _| {
                let place = directory.parent().and_then(|root| places.get(root));
                place.is_some_and(|place| place.directories.binary_search(directory).is_ok())
            });
            self.by_cgroup.clear();
            for (directory, kept) in &self.read {
                let Some((cgroup, _)) = &kept.state else { continue };
                self.by_cgroup
                    .entry(cgroup.clone())
                    .and_modify(|several| *several = None)
                    .or_insert_with(|| Some(directory.clone()));
            }
        }
    }

    /// Reads the new states of a directory; returns whether any has come or gone.
    fn read_place(&mut self, root: &Path, runtime: Runtime, form: Form) -> bool {
        let place = self.places.entry(root.to_owned()).or_default();
        let changed = Changed::of(root);
        let is_new = !changed.is_as(&place.changed);
        if is_new {
            place.changed = changed;
            let names = files::names(root, MOST, files::is_directory);
            place.directories = names.into_iter().map(|name| root.join(name)).collect();
            place.directories.sort_unstable();
        }
        let read = &self.read;
        // One that was read may be another one of the same name only if the directory has changed. One
        // without a cgroup may get it later.
        let is_known = |it: &PathBuf| read.get(it).is_some_and(|kept| kept.state.is_some());
        let wanted = place.directories.iter().filter(|it| is_new || !is_known(it));
        let wanted: Vec<_> = wanted.cloned().collect();
        wanted.iter().fold(is_new, |is_changed, directory| {
            self.read_one(directory, runtime, form) || is_changed
        })
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

    fn state(&self, directory: &Path, runtime: Runtime, parsed: Parsed) -> Option<(String, State)> {
        let Parsed { cgroup, names } = parsed;
        let id = directory.file_name()?.to_str()?.to_owned();
        let container = Container { runtime: Some(runtime), id, pod: None, qos: None, outer: None };
        let found = self.registry.of_runtime(&container).map(|found| found.names);
        let names = found.or(names).unwrap_or_default();
        let name = match runtime {
            // The user chose the id as the name.
            Runtime::Runc | Runtime::Crun => names.name.or_else(|| Some(container.id.clone())),
            _ => names.name,
        };
        Some((cgroup?, State { container, names: Names { name, ..names }.bounded() }))
    }

    /// The container of a cgroup, as of the last `read_new`. None if several states claim it.
    #[must_use]
    pub fn of(&self, cgroup: &str) -> Option<&State> {
        let of_runtime = self.by_cgroup.get(cgroup).and_then(|directory| {
            let (_, state) = self.read.get(directory.as_ref()?)?.state.as_ref()?;
            Some(state)
        });
        of_runtime.or_else(|| self.machines.of(cgroup))
    }
}

/// The content of a state of either form.
pub(super) struct Parsed {
    /// None if the container is in no cgroup of the v2 hierarchy of its own.
    pub(super) cgroup: Option<String>,
    pub(super) names: Option<Names>,
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
    pub(super) fn parse(self, text: &str) -> Option<Parsed> {
        let parsed = match self {
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
                Parsed {
                    cgroup: cgroup.map(str::to_owned),
                    names: labels.collect::<Annotations>().names().or_none(),
                }
            }
            Self::Crun => {
                let status: CrunStatus = serde_json::from_str(text).ok()?;
                Parsed { cgroup: status.cgroup_path, names: None }
            }
        };
        // The root is everybody's.
        let is_own =
            |path: &String| path.len() > 1 && path.len() <= LONGEST_PATH && path.starts_with('/');
        Some(Parsed { cgroup: parsed.cgroup.filter(is_own), names: parsed.names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of runc 1.1, cut down.
    const RUNC: &str = r#"{"id": "web", "init_process_pid": 7, "config": {"rootfs": "/b/rootfs",
        "labels": ["bundle=/b", "nerdctl/name=shop"]},
        "cgroup_paths": {"": "/sys/fs/cgroup/my/web"}}"#;

    /// A state of crun 1.8, cut down.
    const CRUN: &str = r#"{"pid": 7, "cgroup-path": "/foo", "scope": "", "bundle": "/b",
        "detached": true}"#;

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
    fn crun_does_too() {
        let mut machine = Machine::new();
        machine.write("run/crun/app/status", CRUN);
        let names = &machine.states.of("/foo").unwrap().names;
        assert_eq!(names.name.as_deref(), Some("app"));
        // Users' states are not among root's.
        let mut machine = Machine::new();
        machine.write("run/user/1000/crun/app/status", CRUN);
        assert_eq!(machine.of("/foo"), None);
    }

    #[test]
    fn nothing_is_read_again_that_is_as_before() {
        let mut machine = Machine::new();
        machine.write("run/runc/web/state.json", RUNC);
        let place = machine.root.path().join("run/runc");
        // Long ago: later changes have another time.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::open(&place).unwrap().set_modified(old).unwrap();
        machine.states.read_new();
        let listed = |machine: &Machine| machine.states.places[&place].directories.as_ptr();
        let before = listed(&machine);
        machine.states.read_new();
        assert_eq!(listed(&machine), before);
        machine.write("run/runc/other/state.json", &RUNC.replace("/my/web", "/my/other"));
        assert_eq!(machine.of("/my/other").as_deref(), Some("runc:other"));
        assert_eq!(machine.of("/my/web").as_deref(), Some("runc:web"));
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
    fn a_cgroup_that_is_everybody_s_is_no_container() {
        let mut machine = Machine::new();
        for path in ["/", "", "relative"] {
            let text = CRUN.replace("/foo", path);
            machine.write("run/crun/app/status", &text);
            assert_eq!(machine.of(path), None, "{path}");
        }
    }
}
