//! What `/proc/PID` says of a process.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use inotify_trace_model::{event::Comm, text::text_of, tracker::User};

use super::{field, lines, read};
use crate::host::cgroup;

/// A process, with the fields that could be read.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its command name.
    pub comm: Comm,
    /// Its effective user id.
    pub euid: u32,
    /// Its path from the root of the mounted v2 hierarchy.
    pub cgroup: Option<Vec<u8>>,
}

impl Process {
    /// Reads a process. Fields that cannot be read stay empty: the process may be gone already.
    #[must_use]
    pub fn read(pid: u32) -> Self {
        // A name may have any bytes, and `status` would escape some of them.
        let comm = read(&format!("/proc/{pid}/comm")).unwrap_or_default();
        let status = read(&format!("/proc/{pid}/status")).unwrap_or_default();
        let cgroup = read(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let cgroup = path(&cgroup).and_then(cgroup::from_root);
        Self { comm: name(&comm), euid: euid(&status).unwrap_or_default(), cgroup }
    }
}

/// Whether a process exists, or has only just ended.
#[must_use]
pub fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The user whom the kernel would charge for what a process makes now; None if it is gone, or may not
/// be read.
#[must_use]
pub fn charged_user(pid: u32) -> Option<User> {
    let uid = euid(&read(&format!("/proc/{pid}/status")).ok()?)?;
    let userns = fs::metadata(format!("/proc/{pid}/ns/user")).ok()?.ino();
    Some(User { userns: userns.try_into().ok()?, uid })
}

/// The command name of a thread; None if it is gone.
#[must_use]
pub fn thread_name(pid: u32, tid: u32) -> Option<Comm> {
    Some(name(&read(&format!("/proc/{pid}/task/{tid}/comm")).ok()?))
}

/// A `comm` file: the name, and a newline that is not part of it.
fn name(comm: &[u8]) -> Comm {
    comm.strip_suffix(b"\n").unwrap_or(comm).into()
}

/// The effective user id in a `status` file.
fn euid(status: &[u8]) -> Option<u32> {
    // Real, effective, saved, file system.
    let uids = std::str::from_utf8(field(status, "Uid:")?).ok()?;
    uids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The path of the v2 hierarchy in a `cgroup` file. No name of a cgroup has a newline.
fn path(cgroup: &[u8]) -> Option<Vec<u8>> {
    lines(cgroup).find_map(|line| line.strip_prefix(b"0::")).map(<[u8]>::to_vec)
}

/// The name of the file that a process runs, without the folder; None if the process is gone, or may
/// not be read. A file that was replaced has the name it had.
#[must_use]
pub fn program_file(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.as_bytes();
    // The kernel's suffix for a removed file; a name that has it itself is no known program's.
    Some(text_of(name.strip_suffix(b" (deleted)").unwrap_or(name)).into_owned())
}

/// The most bytes read of a command line: the kernel allows some megabytes.
const LONGEST_COMMAND_LINE: u64 = 16 << 10;

/// The command line of a process, its program's name first; None if it is gone, or may not be read.
#[must_use]
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(LONGEST_COMMAND_LINE).read_to_end(&mut bytes).ok()?;
    // Each argument ends with a zero; a zombie has none.
    let (_, bytes) = bytes.split_last()?;
    Some(bytes.split(|&byte| byte == 0).map(|it| text_of(it).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_bytes() {
        assert_eq!(name(b"a\nb\xd1\n").as_bytes(), b"a\nb\xd1");
        // The name of the program, cut inside a character, stands before the user.
        let status = b"Name:\t\xd0\xbd\xd1\nUmask:\t0022\nUid:\t1\t20251\t3\t4\n";
        assert_eq!(euid(status), Some(20251));
        assert_eq!(euid(b"Name:\tx\n"), None);
        let cgroup = b"1:name=systemd:/\xfe\n0::/a\xff b\n";
        assert_eq!(path(cgroup), Some(b"/a\xff b".to_vec()));
    }
}
