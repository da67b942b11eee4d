//! File handles, by which fdinfo identifies the targets of watches (open_by_handle_at(2)).

use std::{
    ffi::{CStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::PathBuf,
    sync::OnceLock,
};

use rustix::fs::readlinkat;
use serde::{Deserialize, Serialize};

/// Room for a path, which grows if need be.
const LIKELY: usize = 256;

/// Bytes of the longest handle a kernel makes: `MAX_HANDLE_SZ` of `linux/exportfs.h`.
const LONGEST: usize = 128;

/// `AT_HANDLE_FID` of `linux/fcntl.h`.
const AT_HANDLE_FID: libc::c_int = 0x200;

/// A file system's identifier of one of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHandle {
    /// The type of the handle, which only the file system understands.
    pub kind: i32,
    /// The handle.
    pub bytes: Box<[u8]>,
}

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct Raw {
    length: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; LONGEST],
}

impl Raw {
    /// The handle of the file at a path from an open one, and the id of the mount that it is on.
    fn of(from: impl AsFd, path: &CStr, flags: libc::c_int) -> io::Result<(Self, libc::c_int)> {
        let mut raw = Self { length: LONGEST as libc::c_uint, kind: 0, bytes: [0; LONGEST] };
        let mut mount_id: libc::c_int = 0;
        let from = from.as_fd().as_raw_fd();
        // SAFETY: a path that ends with a zero, and room for a handle of `length` bytes and for a number,
        // all of which live until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                from,
                path.as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                flags,
            )
        };
        if result == 0 { Ok((raw, mount_id)) } else { Err(io::Error::last_os_error()) }
    }

    fn bytes(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(LONGEST).min(LONGEST);
        &self.bytes[..length]
    }
}

/// The id of the mount that an open file is on.
pub(super) fn mount_id_of(file: impl AsFd) -> io::Result<libc::c_int> {
    Ok(Raw::of(file, c"", libc::AT_EMPTY_PATH)?.1)
}

impl FileHandle {
    /// The current path of the file, on the file system of the descriptor `mount`. A removed file
    /// that is still open may keep its last path, followed by ` (deleted)`.
    ///
    /// # Errors
    /// `ESTALE` if there is no such file any more; `EPERM` without `CAP_DAC_READ_SEARCH`.
    pub fn path(&self, mount: impl AsFd) -> io::Result<PathBuf> {
        path_of(&self.open(mount)?)
    }

    /// The handle of an open file.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if its file system has none.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Self::with(file, 0)
    }

    /// The identifier of an open file, as fdinfo has it: a handle that the file system may not open.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.5; `EOPNOTSUPP` if its file system has none.
    pub fn identifier_of(file: impl AsFd) -> io::Result<Self> {
        Self::with(file, AT_HANDLE_FID)
    }

    /// The id of the mount that an entry of a directory is on, if it is the file of this handle. No link is
    /// followed, and nothing is opened.
    ///
    /// # Errors
    /// If there is no such entry.
    pub fn mount_of(&self, directory: impl AsFd, entry: &CStr) -> io::Result<Option<libc::c_int>> {
        let (raw, mount_id) = Raw::of(directory, entry, 0)?;
        Ok((raw.kind == self.kind && raw.bytes() == &*self.bytes).then_some(mount_id))
    }

    fn with(file: impl AsFd, flags: libc::c_int) -> io::Result<Self> {
        let (raw, _) = Raw::of(file, c"", libc::AT_EMPTY_PATH | flags)?;
        Ok(Self { kind: raw.kind, bytes: raw.bytes().into() })
    }

    /// Opens the file with `O_PATH`.
    ///
    /// # Errors
    /// As for `path`.
    pub fn open(&self, mount: impl AsFd) -> io::Result<File> {
        let mut raw = Raw { length: 0, kind: self.kind, bytes: [0; LONGEST] };
        let room = raw.bytes.get_mut(..self.bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(&self.bytes);
        raw.length = self.bytes.len() as libc::c_uint;
        let mount = mount.as_fd().as_raw_fd();
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        // SAFETY: the kernel reads `length` bytes, at most `LONGEST`, of a structure with the
        // layout of `struct file_handle`, which lives until the call returns.
        let fd =
            unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount, &raw const raw, flags) };
        let fd =
            i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// The path of an open file, as this process sees it.
pub(super) fn path_of(file: impl AsFd) -> io::Result<PathBuf> {
    // Kept open, since the way there would take longer than the question.
    static DESCRIPTORS: OnceLock<Option<File>> = OnceLock::new();
    let number = file.as_fd().as_raw_fd();
    match DESCRIPTORS.get_or_init(|| File::open("/proc/self/fd").ok()) {
        Some(all) => {
            let path = readlinkat(all, number.to_string(), Vec::with_capacity(LIKELY))?;
            Ok(OsString::from_vec(path.into_bytes()).into())
        }
        None => fs::read_link(format!("/proc/self/fd/{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_that_is_too_long_is_refused_before_the_kernel_sees_it() {
        let handle = FileHandle { kind: 1, bytes: vec![0; LONGEST + 1].into() };
        let root = File::open("/").unwrap();
        assert_eq!(handle.path(&root).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_handle_leads_back_if_the_user_may_follow_it() {
        let directory = std::env::temp_dir();
        let file = File::open(&directory).unwrap();
        let found = FileHandle::of(&file).and_then(|handle| handle.path(&file));
        match found {
            Ok(path) => assert_eq!(path, directory.canonicalize().unwrap()),
            // Not root, or a file system without handles.
            Err(error) => assert!(
                [libc::EPERM, libc::EOPNOTSUPP].contains(&error.raw_os_error().unwrap()),
                "{error}"
            ),
        }
    }

    #[test]
    fn a_handle_of_nothing_leads_nowhere() {
        let handle = FileHandle { kind: 0xfe, bytes: vec![0xff; 8].into() };
        let root = File::open("/").unwrap();
        assert!(handle.path(&root).is_err());
    }
}
