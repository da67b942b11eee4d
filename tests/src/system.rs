//! Properties of the machine, and locks that keep tests from disturbing each other.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// The file to which tests that are skipped write why: the harness hides what a passing test
/// prints.
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

/// Leaves the test, saying why, unless it runs as root.
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

/// Leaves the test, saying why, unless a program is installed; its path otherwise.
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

/// Whether this process may do everything.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Where a program is, as a shell would find it.
#[must_use]
pub fn which(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// A lock that a test holds while it uses shared state of the machine.
#[derive(Debug)]
pub struct Machine {
    /// The lock goes when this is closed, also when the test panics.
    _file: File,
}

/// Waits until no other test uses the machine, in this process or another. They share more than
/// root's quota: an agent that starts holds, for a moment, a copy of every inotify descriptor
/// there is, which changes whose close is the last.
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
    Machine { _file: file }
}

/// An unused user id, whose quota no other process changes.
#[must_use]
pub fn fresh_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    1_000_000_000 + std::process::id() % 1_000_000 * 1000 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Now, as the events tell it: nanoseconds since boot, suspended time included.
#[must_use]
pub fn boot_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// A number from a file of `/proc`.
#[must_use]
pub fn number_in(path: &str) -> u32 {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Some limits are the largest 64-bit number.
    text.trim().parse::<u64>().map_or(u32::MAX, |number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// A setting of the whole machine that is put back with the test.
#[derive(Debug)]
pub struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    /// Raises a number to at least `value`.
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

/// How many files a process may have open at most, without a privilege to raise that.
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

/// A directory that any user may use, removed with the test.
#[must_use]
pub fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody).expect("its owner may open it to all");
    directory
}

/// A binary of this project: named by an environment variable, or else the first candidate that
/// exists.
pub(crate) fn binary(variable: &str, candidates: &[PathBuf]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let found = candidates.iter().find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("none of {candidates:?} exists: build it or set {variable}"))
        .clone()
}

/// The directories in which cargo puts what it builds for a test, the test's own first.
pub(crate) fn beside_test() -> Vec<PathBuf> {
    let test = std::env::current_exe().expect("a test knows its own binary");
    test.ancestors().skip(1).take(2).map(Path::to_path_buf).collect()
}

/// How much memory a process has resident, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Whether this is a machine without a processor of its own, where everything takes ten times as
/// long: whoever starts the tests says so.
#[must_use]
pub fn is_emulated() -> bool {
    std::env::var_os("INOTIFY_TRACE_EMULATED").is_some()
}
