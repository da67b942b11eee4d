//! Processes and their inotify descriptors, from `/proc`.

mod build_info;
mod exit;
mod fdinfo;
mod handle;
mod resolve;
mod root;
mod targets;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub use build_info::go_build_info;
pub use exit::{has_closed, has_exited, start_time};
pub use fdinfo::{FdInfo, WatchInfo};
pub use handle::FileHandle;
pub use resolve::{Asked, is_private, resolve};
pub use root::is_of_the_machine_s_root;
pub use targets::{Targets, Whereabouts};

use inotify_trace_model::event::Comm;

/// The target of an inotify descriptor's link in `/proc/PID/fd`.
const INOTIFY_LINK: &str = "anon_inode:inotify";

/// The inotify descriptors of all processes that may be read: process id and descriptor.
pub fn inotify_descriptors() -> impl Iterator<Item = (u32, i32)> {
    numbered_entries(Path::new("/proc"))
        .flat_map(|pid: u32| inotify_descriptors_of(pid).map(move |fd| (pid, fd)))
}

/// The inotify descriptors of one process; none if it is gone or may not be read.
pub fn inotify_descriptors_of(pid: u32) -> impl Iterator<Item = i32> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    numbered_entries(&directory).filter(move |&fd: &i32| is_inotify(pid, fd))
}

/// The number of processes that may not be read.
#[must_use]
pub fn hidden_processes() -> usize {
    numbered_entries(Path::new("/proc"))
        .filter(|pid: &u32| {
            let listed = fs::read_dir(format!("/proc/{pid}/fd"));
            listed.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        })
        .count()
}

/// The user namespace of this process, by inode number; None if unknown.
#[must_use]
pub fn own_user_namespace() -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/self/ns/user").ok()?))
}

/// The inotify descriptors of a process; None if it has ended, when it has none in any case.
#[must_use]
pub fn inotify_descriptors_of_living(pid: u32) -> Option<Vec<i32>> {
    let descriptors = inotify_descriptors_of(pid).collect();
    // Read last: if the process runs now, it ran while its descriptors were listed. A process that
    // has ended has no executable, even before its parent waits for it.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok().then_some(descriptors)
}

/// Whether a descriptor currently refers to an inotify instance.
#[must_use]
pub fn is_inotify(pid: u32, fd: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|link| link == Path::new(INOTIFY_LINK))
}

/// The entries of a directory whose names are numbers.
fn numbered_entries<N: std::str::FromStr + 'static>(
    directory: &Path,
) -> impl Iterator<Item = N> + use<N> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process, with the fields that could be read.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its command name.
    pub comm: Comm,
    /// Its effective user id.
    pub euid: u32,
    /// Its path in the v2 cgroup hierarchy.
    pub cgroup: Option<String>,
}

impl Process {
    /// Reads a process. Fields that cannot be read stay empty: the process may be gone already.
    #[must_use]
    pub fn read(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self {
            comm: field(&status, "Name:").unwrap_or_default().into(),
            // Real, effective, saved, file system.
            euid: field(&status, "Uid:")
                .and_then(|uids| uids.split_ascii_whitespace().nth(1)?.parse().ok())
                .unwrap_or_default(),
            cgroup: cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned),
        }
    }
}

/// The name of the file that a process runs, without the folder; None if the process is gone, or may
/// not be read. A file that was replaced has the name it had.
#[must_use]
pub fn program_file(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    // The kernel's suffix for a removed file; a name that has it itself is no known program's.
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// The most bytes read of a command line: the kernel allows some megabytes.
const LONGEST_COMMAND_LINE: u64 = 16 << 10;

/// The command line of a process, its program's name first; None if it is gone, or may not be read.
#[must_use]
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(LONGEST_COMMAND_LINE).read_to_end(&mut bytes).ok()?;
    // Each argument ends with a zero; a zombie has none.
    let (_, bytes) = bytes.split_last()?;
    Some(bytes.split(|&byte| byte == 0).map(|it| String::from_utf8_lossy(it).into()).collect())
}

/// The value of `name` in a file of `Name:\tvalue` lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The fdinfo of an inotify descriptor.
///
/// # Errors
/// If the process or descriptor is gone, or may not be read.
pub fn inotify_info(pid: u32, fd: i32) -> io::Result<FdInfo> {
    let read = |directory: String| fs::read_to_string(format!("{directory}/fdinfo/{fd}"));
    let text = read(format!("/proc/{pid}")).or_else(|error| {
        // If the first thread has ended, shared descriptors are listed with the other threads only.
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let text = numbered_entries(&tasks)
            .find_map(|tid: u32| read(format!("/proc/{pid}/task/{tid}")).ok());
        text.ok_or(error)
    })?;
    Ok(FdInfo::parse(&text))
}
