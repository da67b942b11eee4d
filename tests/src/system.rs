//! Properties of the machine, and locks that keep tests from disturbing each other.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::leftovers;

/// The variable that names the file for the reasons of skipped tests: the test harness hides the
/// output of a passing test.
const SKIPPED: &str = "INOTIFY_TRACE_SKIPPED";

/// Reports that a test cannot run here.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(path) = std::env::var_os(SKIPPED) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{test}: {why}"));
        written.expect("the list of skipped tests must be writable");
    }
}

/// Skips the test, with a reason, unless it runs as root.
#[macro_export]
macro_rules! require_root {
    () => {
        if !$crate::system::is_root() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            $crate::system::skip(&test, "needs root");
            return;
        }
    };
}

/// The path of a program; skips the test, with a reason, if it is not installed.
#[macro_export]
macro_rules! require_program {
    ($name:expr) => {
        match $crate::system::which($name) {
            Some(path) => path,
            None => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                $crate::system::skip(&test, &format!("{} is not installed", $name));
                return;
            }
        }
    };
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The path of a program, found as a shell finds it.
#[must_use]
pub fn which(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// A lock that a test holds while it uses shared state of the machine.
#[derive(Debug)]
pub struct Machine {
    /// The lock is released when this is closed, also when the test panics.
    _file: File,
}

/// Waits until no other test uses the machine, in this process or another, and removes what killed
/// tests left behind. Tests share more than root's quota: a starting agent briefly holds a copy of
/// every inotify descriptor, which changes whose close is the last.
#[must_use]
pub fn the_machine() -> Machine {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o666)
        .open(std::env::temp_dir().join("inotify-trace-tests.lock"))
        .expect("the lock file must be writable");
    // SAFETY: an open descriptor.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(result, 0, "flock: {}", std::io::Error::last_os_error());
    leftovers::remove();
    Machine { _file: file }
}

/// For how many seconds the load of a soak goes on. None leaves out what takes minutes: only the
/// full tier says it.
#[must_use]
pub fn soak() -> Option<u64> {
    std::env::var(SOAK).ok()?.parse().ok()
}

/// Why a test that needs [`soak`] is skipped.
#[must_use]
pub fn without_soak() -> String {
    format!("takes minutes: {SOAK}=SECONDS, as in the full tier")
}

const SOAK: &str = "INOTIFY_TRACE_SOAK";

/// An unused user id, whose charges no other process changes.
#[must_use]
pub fn fresh_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    1_000_000_000 + std::process::id() % 1_000_000 * 1000 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The current time by the clock of events: nanoseconds since boot, with suspended time.
#[must_use]
pub fn boot_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Reads a number from a file of `/proc`.
#[must_use]
pub fn number_in(path: &str) -> u32 {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Some limits are the largest 64-bit number.
    text.trim().parse::<u64>().map_or(u32::MAX, |number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// The most descriptors that a process may have.
#[must_use]
pub fn max_descriptors(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/limits");
    let limits = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or_else(|| panic!("{path}: {limits}"))
}

/// A setting of the machine that is restored after the test.
#[derive(Debug)]
pub struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    /// Changes a setting.
    #[must_use]
    pub fn exactly(path: &'static str, value: u32) -> Self {
        let before = std::fs::read_to_string(path).expect("the setting exists");
        std::fs::write(path, value.to_string()).expect("root may change settings");
        Self { path, before }
    }

    /// Raises a setting to at least `value`.
    #[must_use]
    pub fn at_least(path: &'static str, value: u32) -> Self {
        let before = std::fs::read_to_string(path).expect("the setting exists");
        if number_in(path) < value {
            std::fs::write(path, value.to_string()).expect("root may change settings");
        }
        Self { path, before }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The test may be failing already, for a better reason.
        let _ = std::fs::write(self.path, &self.before);
    }
}

/// The number of files a process may have open without the privilege to raise it.
#[must_use]
pub fn most_open_files() -> usize {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to a local variable.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    usize::try_from(limits.rlim_max).unwrap_or(usize::MAX)
}

/// The initial user namespace's inode number: `PROC_USER_INIT_INO` of `include/linux/proc_ns.h`.
pub const INITIAL_USERNS: u64 = 0xEFFF_FFFD;

/// The inode number of a process's user namespace.
#[must_use]
pub fn user_namespace(pid: u32) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let path = format!("/proc/{pid}/ns/user");
    std::fs::metadata(&path).unwrap_or_else(|error| panic!("{path}: {error}")).ino()
}

/// A directory that any user may use, removed after the test.
#[must_use]
pub fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody).expect("its owner may open it to all");
    directory
}

/// The path of a binary of this project: from an environment variable, or else the first candidate
/// that exists.
pub(crate) fn binary(variable: &str, candidates: &[PathBuf]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let found = candidates.iter().find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("none of {candidates:?} exists: build it or set {variable}"))
        .clone()
}

/// The directories of cargo's build output for a test, the test's own first.
pub(crate) fn beside_test() -> Vec<PathBuf> {
    let test = std::env::current_exe().expect("a test knows its own binary");
    test.ancestors().skip(1).take(2).map(Path::to_path_buf).collect()
}

/// The resident memory of a process, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    kib_in_status(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in KiB.
#[must_use]
pub fn peak_resident_kib(pid: u32) -> u64 {
    kib_in_status(pid, "VmHWM:")
}

fn kib_in_status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Whether the processor is emulated, which makes everything ten times slower: the test runner sets
/// a variable for it.
#[must_use]
pub fn is_emulated() -> bool {
    std::env::var_os("INOTIFY_TRACE_EMULATED").is_some()
}
