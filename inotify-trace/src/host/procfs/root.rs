//! Whether a process is one of the machine's root, as opposed to one that calls itself so in a
//! container or a user namespace.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use inotify_trace_model::{identity::Location, text::text_of, tracker::User};

use crate::host::cgroup;

/// The most bytes read of a file in /proc/PID.
const LONGEST: u64 = 64 << 10;

/// Bits of a file's mode by which others may write it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Whether a process is run by the machine's root, and its program is root's: owned by uid 0, and
/// writable by no other. False if any of this cannot be read.
#[must_use]
pub fn is_of_the_machine_s_root(pid: u32) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    is_run_by_the_machine_s_root(&process)
        && fs::metadata(process.join("exe")).is_ok_and(|program| {
            program.is_file() && program.uid() == 0 && program.mode() & WRITABLE_BY_OTHERS == 0
        })
}

/// Whether a process, by its directory in `/proc`, runs with all user ids 0 in the initial user
/// namespace, and in no container. False if any of this cannot be read.
#[must_use]
pub fn is_run_by_the_machine_s_root(process: &Path) -> bool {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        File::open(process.join(name)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let in_initial_namespace = || {
        let namespace = fs::read_link(process.join("ns/user"));
        namespace.is_ok_and(|it| it == Path::new(&format!("user:[{}]", User::INITIAL)))
    };
    read("status").is_some_and(|status| is_root_s(&status))
        && in_initial_namespace()
        && read("cgroup").is_some_and(|cgroups| is_outside(&cgroups))
}

/// Whether a status says that all user ids are 0, and that no PID namespace hides the machine.
fn is_root_s(status: &str) -> bool {
    let numbers = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
    };
    numbers("Uid:").is_some_and(|ids| ids.len() == 4 && ids.iter().all(|&id| id == "0"))
        // One for each PID namespace, from that of this /proc on.
        && numbers("NSpid:").is_none_or(|pids| pids.len() == 1)
}

/// Whether no cgroup, of any hierarchy, is a container's.
fn is_outside(cgroups: &str) -> bool {
    let mut paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).peekable();
    let from_root = |path: &str| cgroup::from_root(path.as_bytes().to_vec());
    let is_no_container_s = |path: Vec<u8>| Location::of_payload(&text_of(&path)).is_none();
    paths.peek().is_some() && paths.all(|path| from_root(path).is_some_and(is_no_container_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tcontainerd-shim\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t812\n";

    #[test]
    fn only_root_outside_of_pid_namespaces_is_the_machine_s() {
        assert!(is_root_s(STATUS));
        assert!(is_root_s(&STATUS.replace("NSpid:\t812\n", "")));
        for (from, to) in [
            // A program with the set-user-ID bit.
            ("Uid:\t0\t0\t0\t0", "Uid:\t1000\t0\t0\t0"),
            ("Uid:\t0\t0\t0\t0", "Uid:\t1000\t1000\t1000\t1000"),
            ("Uid:\t0\t0\t0\t0\n", ""),
            // In a container.
            ("NSpid:\t812", "NSpid:\t812\t7"),
        ] {
            assert!(!is_root_s(&STATUS.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn a_container_s_cgroup_in_any_hierarchy_is_a_container_s() {
        let id = "4f".repeat(32);
        assert!(is_outside("0::/system.slice/containerd.service\n"));
        assert!(is_outside("1:name=systemd:/\n0::/\n"));
        assert!(!is_outside(&format!("4:memory:/docker/{id}\n0::/\n")));
        assert!(!is_outside(&format!("0::/kubepods/burstable/pod1e597579/{id}/sub\n")));
        assert!(!is_outside(""), "nothing is known");
    }

    #[test]
    fn a_process_that_is_gone_is_not() {
        assert!(!is_of_the_machine_s_root(u32::MAX));
    }
}
