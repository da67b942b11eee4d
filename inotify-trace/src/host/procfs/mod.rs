//! Processes and their inotify descriptors, from `/proc`.

mod build_info;
mod descriptors;
mod exit;
mod fdinfo;
mod handle;
mod own;
mod process;
mod resolve;
mod root;
mod table;
mod targets;

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
};

pub(super) use build_info::go_build_info;
pub use descriptors::short_of_descriptors;
pub use exit::{has_closed, has_exited, is_running, start_time};
pub use fdinfo::{FdInfo, WatchInfo};
pub use handle::FileHandle;
pub use own::OwnUse;
pub(super) use process::arguments;
pub use process::{Process, charged_user, is_there, program_file, thread_name};
pub(super) use resolve::resolve_on_device;
pub use resolve::{Asked, is_private, resolve_cached, working_directory};
pub(super) use root::is_of_the_machine_s_root;
pub use root::is_run_by_the_machine_s_root;
pub use table::TableId;
pub(super) use targets::unescape;
pub(super) use targets::{SEARCH, Targets};

/// The target of an inotify descriptor's link in `/proc/PID/fd`.
const INOTIFY_LINK: &str = "anon_inode:inotify";

/// As much as most files of `/proc` have.
const PAGE: usize = 4096;

/// The inotify descriptors of all processes that may be read: their table and number.
pub fn inotify_descriptors() -> impl Iterator<Item = (TableId, i32)> {
    numbered_entries(Path::new("/proc"))
        .flat_map(TableId::of_process)
        .flat_map(|table| inotify_descriptors_of(table).map(move |fd| (table, fd)))
}

/// The inotify descriptors in one table; none if it is gone or may not be read.
pub fn inotify_descriptors_of(table: TableId) -> impl Iterator<Item = i32> {
    numbered_entries(&table.directory().join("fd")).filter(move |&fd: &i32| is_inotify(table, fd))
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

/// Whether a descriptor currently refers to an inotify instance.
#[must_use]
pub fn is_inotify(table: TableId, fd: i32) -> bool {
    let link = table.directory().join(format!("fd/{fd}"));
    fs::read_link(link).is_ok_and(|link| link == Path::new(INOTIFY_LINK))
}

/// Reads a file of `/proc`. The kernel does not tell its length, and `fs::read` begins with 32 bytes:
/// that was eight calls for a `status` instead of two.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PAGE);
    // The length is not asked for, as `File` would.
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
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

/// The value of `name` in a file of `Name:\tvalue` lines.
fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines(text).find_map(|line| line.strip_prefix(name.as_bytes())).map(<[u8]>::trim_ascii)
}

/// The lines of a file. Programs choose the names in it, which may be no UTF-8.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The fdinfo of an inotify descriptor.
///
/// # Errors
/// If the table or descriptor is gone, or may not be read.
pub fn inotify_info(table: TableId, fd: i32) -> io::Result<FdInfo> {
    let info = format!("fdinfo/{fd}");
    let read =
        |directory: PathBuf| FdInfo::read(BufReader::new(File::open(directory.join(&info))?));
    read(table.directory()).or_else(|error| {
        // If the first thread has ended, shared descriptors are listed with the other threads only.
        table.of_other_threads().find_map(|other| read(other).ok()).ok_or(error)
    })
}
