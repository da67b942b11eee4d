//! Containers of systemd-nspawn that run in a unit of another name (`--keep-unit`), from the state
//! that systemd-machined keeps of each machine.

use std::{collections::HashMap, fs, path::Path};

use inotify_trace_model::identity::{Container, Names, Runtime};

use super::{
    files::{self, Changed},
    states::State,
};

/// machined's directory: a file for each machine, which has its name; and links, by units.
const DIRECTORY: &str = "run/systemd/machines";

/// The most machines.
const MOST: usize = 4096;

/// The most bytes of a file.
const LONGEST: u64 = 64 << 10;

/// The most bytes of a machine's name, which is a host name.
const LONGEST_NAME: usize = 64;

/// The cgroup of a machine's processes in its unit; nspawn itself is in another one.
const PAYLOAD: &str = "/payload";

/// The machines of systemd-nspawn, by unit.
#[derive(Debug, Default)]
pub(super) struct Machines {
    changed: Changed,
    by_unit: HashMap<String, State>,
}

impl Machines {
    /// Reads the machines again if there are others now.
    pub(super) fn read_new(&mut self, root: &Path) {
        let directory = root.join(DIRECTORY);
        let changed = Changed::of(&directory);
        if changed.is_as(&self.changed) {
            return;
        }
        self.changed = changed;
        let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let names = files::names(&directory, MOST, is_file);
        let texts = names.iter().filter_map(|name| files::read(&directory.join(name), LONGEST));
        self.by_unit = texts.filter_map(|text| parse(&text)).collect();
    }

    /// The machine of a cgroup.
    pub(super) fn of(&self, cgroup: &str) -> Option<&State> {
        // Users have units of any name, too.
        let unit = cgroup.strip_suffix(PAYLOAD).filter(|it| !it.starts_with("/user.slice/"))?;
        self.by_unit.get(unit.rsplit('/').next()?)
    }
}

/// The unit of a machine, and its container; None if it is none of systemd-nspawn.
fn parse(text: &str) -> Option<(String, State)> {
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        // systemd quotes what a shell would misread, and escapes backslashes.
        Some(value.trim_matches('"').replace("\\\\", "\\"))
    };
    let is_nspawn_s = value("SERVICE").is_some_and(|it| it == "systemd-nspawn");
    let id = value("NAME").filter(|it| is_nspawn_s && is_name(it))?;
    // It calls the unit so whatever it is.
    let unit = value("SCOPE").or_else(|| value("UNIT")).filter(|it| !it.is_empty())?;
    let names = Names { name: Some(id.clone()), ..Names::default() };
    let runtime = Some(Runtime::SystemdNspawn);
    let container = Container { runtime, id, pod: None, qos: None, outer: None };
    Some((unit, State { container, names }))
}

fn is_name(text: &str) -> bool {
    let is_part = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 257 writes it for `systemd-nspawn --keep-unit -M nsp`, cut down.
    const STATE: &str = "# This is private data. Do not parse.\nNAME=nsp\n\
        SCOPE=nsp\\\\x2drun.service\nSERVICE=systemd-nspawn\nROOT=/var/lib/machines/nsp\n\
        LEADER=712\nCLASS=container\n";

    #[test]
    fn machined_says_whose_a_service_is() {
        let root = tempfile::tempdir().unwrap();
        let mut machines = Machines::default();
        machines.read_new(root.path());
        let directory = root.path().join(DIRECTORY);
        fs::create_dir_all(&directory).unwrap();
        // A path is bytes.
        let (before, after) = STATE.split_once("/var/lib/machines/nsp").unwrap();
        let state = [before.as_bytes(), b"/srv/j\xf6rg", after.as_bytes()].concat();
        fs::write(directory.join("nsp"), state).unwrap();
        std::os::unix::fs::symlink("nsp", directory.join("unit:nsp\\x2drun.service")).unwrap();
        machines.read_new(root.path());
        let own = "/system.slice/nsp\\x2drun.service";
        let found = machines.of(&format!("{own}/payload")).unwrap();
        assert_eq!(found.container.to_string(), "systemd-nspawn:nsp");
        for other in [own, &format!("{own}/supervisor"), "/system.slice/other.service/payload"] {
            assert_eq!(machines.of(other), None, "{other}");
        }
        // A user's unit of that name is another one.
        let of_user = "/user.slice/user-1000.slice/user@1000.service/nsp\\x2drun.service/payload";
        assert_eq!(machines.of(of_user), None);
        fs::remove_file(directory.join("nsp")).unwrap();
        machines.read_new(root.path());
        assert_eq!(machines.of(&format!("{own}/payload")), None);
    }

    #[test]
    fn other_machines_are_none_of_nspawn() {
        for (from, to) in [
            ("SERVICE=systemd-nspawn", "SERVICE=libvirt-qemu"),
            ("NAME=nsp", "NAME=../nsp"),
            ("NAME=nsp\n", ""),
            ("SCOPE=", "SLICE="),
        ] {
            assert_eq!(parse(&STATE.replace(from, to)), None, "{to}");
        }
    }
}
