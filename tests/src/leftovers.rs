//! What outlives a killed test: cgroups with the processes in them, containers, daemons. A test notes
//! what it makes in a file that it keeps locked; the next test that has the machine for itself
//! removes what is in files that nobody has locked.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// The directory of the files, which only root may write.
const DIRECTORY: &str = "/run/inotify-trace-tests";

/// How long killed processes may take to leave their cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that is there until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover<'a> {
    /// The directory of a cgroup, with its processes and those of the cgroups below.
    Cgroup(&'a Path),
    /// The directory of a cgroup that others may use, too: removed only if it is empty.
    Parent(&'a Path),
    /// A container of runc or crun, by the runtime's name and its own.
    Container(&'a str, &'a str),
    /// A mount point.
    Mount(&'a Path),
    /// The processes whose arguments have this path, of a directory of the test's own.
    Processes(&'a Path),
}

/// Notes what this process is about to make. Only while it has the machine for itself.
pub fn note(leftover: Leftover<'_>) {
    static FILE: OnceLock<Mutex<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| Mutex::new(create().expect("root may write to /run")));
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(&leftover.line()).expect("the file is writable");
}

/// The file of this process, locked until it ends.
fn create() -> io::Result<File> {
    fs::create_dir_all(DIRECTORY)?;
    let path = Path::new(DIRECTORY).join(std::process::id().to_string());
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    lock(&file)?;
    Ok(file)
}

fn lock(file: &File) -> io::Result<()> {
    // SAFETY: an open descriptor.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Removes what tests left behind that have ended. The caller has the machine for itself.
pub(crate) fn remove() {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let Ok(mut file) = File::open(&path) else { continue };
        // Its owner lives.
        if lock(&file).is_err() {
            continue;
        }
        let mut lines = Vec::new();
        if file.read_to_end(&mut lines).is_ok() {
            // What was made last goes first.
            lines.split(|byte| *byte == b'\n').rev().filter_map(Leftover::parse).for_each(undo);
        }
        // Another run may have removed it.
        let _ = fs::remove_file(path);
    }
}

impl<'a> Leftover<'a> {
    fn line(self) -> Vec<u8> {
        let (kind, what) = match self {
            Self::Cgroup(path) => ("cgroup", path.as_os_str().as_bytes().to_vec()),
            Self::Parent(path) => ("parent", path.as_os_str().as_bytes().to_vec()),
            Self::Container(runtime, id) => ("container", format!("{runtime} {id}").into_bytes()),
            Self::Mount(path) => ("mount", path.as_os_str().as_bytes().to_vec()),
            Self::Processes(path) => ("processes", path.as_os_str().as_bytes().to_vec()),
        };
        [kind.as_bytes(), b" ", &what, b"\n"].concat()
    }

    fn parse(line: &'a [u8]) -> Option<Self> {
        let at = line.iter().position(|byte| *byte == b' ')?;
        let (kind, what) = (&line[..at], &line[at + 1..]);
        let path = Path::new(OsStr::from_bytes(what));
        match kind {
            b"cgroup" => Some(Self::Cgroup(path)),
            b"parent" => Some(Self::Parent(path)),
            b"container" => {
                let (runtime, id) = std::str::from_utf8(what).ok()?.split_once(' ')?;
                Some(Self::Container(runtime, id))
            }
            b"mount" => Some(Self::Mount(path)),
            b"processes" => Some(Self::Processes(path)),
            _ => None,
        }
    }
}

fn undo(leftover: Leftover<'_>) {
    match leftover {
        Leftover::Cgroup(path) if path.is_dir() => {
            eprintln!("removing what a killed test left behind: {}", path.display());
            let begun = Instant::now();
            while !empty(path) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // It stays if others are in it.
        Leftover::Parent(path) => _ = fs::remove_dir(path),
        Leftover::Container(runtime, id) => delete(runtime, id),
        Leftover::Mount(path) => unmount(path),
        Leftover::Processes(path) => {
            processes_with(path).into_iter().for_each(kill);
        }
        Leftover::Cgroup(_) => {}
    }
}

/// Kills the processes of a cgroup and those below, and removes them. Whether none is left.
fn empty(cgroup: &Path) -> bool {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for below in entries.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        empty(&below);
    }
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    processes.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}

/// Unmounts what is mounted at a path, if anything is, and removes the directory.
pub fn unmount(path: &Path) {
    let Ok(target) = CString::new(path.as_os_str().as_bytes()) else { return };
    // SAFETY: a path that ends with a zero and lives until the call returns.
    while unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) } == 0 {
    }
    let _ = fs::remove_dir(path);
}

/// Has a runtime forget a container whose processes are gone.
fn delete(runtime: &str, id: &str) {
    let state = Path::new("/run").join(runtime).join(id);
    if !state.exists() {
        return;
    }
    let mut command = Command::new(runtime);
    command.args(["delete", "--force", id]).stdin(Stdio::null());
    // crun does not find the cgroup where it looks for it, and keeps its state.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = fs::remove_dir_all(state);
}

fn processes_with(path: &Path) -> Vec<libc::pid_t> {
    let path = path.as_os_str().as_bytes();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids =
        pids.filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.parse().ok()?)));
    let has = |process: &PathBuf| {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        arguments.windows(path.len()).any(|part| part == path)
    };
    pids.filter(|(process, _)| has(process)).map(|(_, pid)| pid).collect()
}

fn kill(pid: libc::pid_t) {
    if pid > 1 {
        // SAFETY: sends a signal, which takes no pointers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Leftover;

    #[test]
    fn what_is_noted_is_found() {
        for leftover in [
            Leftover::Cgroup(Path::new("/sys/fs/cgroup/a b")),
            Leftover::Parent(Path::new("/sys/fs/cgroup")),
            Leftover::Mount(Path::new("/tmp/mount")),
            Leftover::Container("runc", "inotify-trace-test-1-0"),
            Leftover::Processes(Path::new("/tmp/itctX")),
        ] {
            let line = leftover.line();
            assert_eq!(Leftover::parse(line.strip_suffix(b"\n").unwrap()), Some(leftover));
        }
        assert_eq!(Leftover::parse(b""), None);
    }
}
