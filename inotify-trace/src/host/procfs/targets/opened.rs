//! Files that a process has open: their names are known even when nothing else leads to them.

use std::{
    collections::HashMap,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::{super::numbered_entries, Whereabouts, mount::without_suffix};

/// The most descriptors of a process that are read.
const MOST: usize = 4096;

/// Device and inode number, in the kernel's own encoding.
pub(in super::super) type Identity = (u32, u64);

/// The open files of the process that was asked about last.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pid: u32,
    files: HashMap<Identity, Whereabouts>,
}

impl Opened {
    /// The place of a file, if this process has it open.
    pub(super) fn find(&mut self, file: Identity, pid: u32) -> Option<Whereabouts> {
        if self.pid != pid {
            *self = Self { pid, files: read(pid) };
        }
        self.files.get(&file).cloned()
    }
}

fn read(pid: u32) -> HashMap<Identity, Whereabouts> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    let descriptors = numbered_entries(&directory).take(MOST);
    descriptors.filter_map(|fd: i32| place_of(&directory.join(fd.to_string()))).collect()
}

/// The file that a link of `/proc/PID/fd` leads to, and its place.
fn place_of(link: &Path) -> Option<(Identity, Whereabouts)> {
    let path = fs::read_link(link).ok()?;
    // Sockets, pipes and the like have no path.
    if !path.as_os_str().as_bytes().starts_with(b"/") {
        return None;
    }
    let (identity, links) = identity(link)?;
    // The same file: a descriptor that is closed and used again in between leads elsewhere.
    if fs::read_link(link).ok()? != path {
        return None;
    }
    let place = match (links, without_suffix(&path)) {
        (0, last) => Whereabouts::Gone(Some(last.unwrap_or(path))),
        // This link of several is gone.
        (_, Some(_)) => return None,
        (_, None) => Whereabouts::Path(path),
    };
    Some((identity, place))
}

/// The identity of the file at a path of `/proc` that leads to it, and its links. It takes what the
/// kernel knows: a file system that waits for a program is not asked.
pub(in super::super) fn identity(path: impl rustix::path::Arg) -> Option<(Identity, u32)> {
    let flags = AtFlags::from_bits_retain(libc::AT_STATX_DONT_SYNC.cast_unsigned());
    let found = statx(CWD, path, flags, StatxFlags::INO | StatxFlags::NLINK).ok()?;
    let dev = found.stx_dev_major << 20 | found.stx_dev_minor;
    Some(((dev, found.stx_ino), found.stx_nlink))
}
