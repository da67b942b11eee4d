//! The few system calls that the standard library does not make.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::NonNull;

/// A new inotify instance. Dropping it closes it.
pub fn inotify() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Watches `path` for changes.
pub fn watch(instance: &OwnedFd, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is terminated and outlives the call.
    let wd = unsafe {
        libc::inotify_add_watch(instance.as_raw_fd(), path.as_ptr(), libc::IN_DELETE_SELF)
    };
    if wd < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `close(-1)`: enters the kernel, fails at once, and changes nothing.
pub fn close_nothing() {
    // SAFETY: -1 is not a descriptor, so no other code loses one.
    unsafe { libc::close(-1) };
}

/// `getppid()`: a system call that does nearly nothing, and that no tracer of inotify hooks.
pub fn getppid() {
    // SAFETY: takes nothing, changes nothing.
    unsafe { libc::getppid() };
}

/// Asks a child of ours to end as Ctrl-C would.
pub fn interrupt(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: takes no pointer; the child was not waited for, so the process id is still its own.
    if unsafe { libc::kill(pid, libc::SIGINT) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Waits for a child of ours; how it ended, and milliseconds of CPU time and kB of resident memory that it
/// took, with those of its own children that it has waited for.
pub fn wait(pid: u32) -> io::Result<(ExitStatus, [f64; 2])> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: numbers, of which zero is one.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to whole values of their types.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut used) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let ms = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    let used = [ms(used.ru_utime) + ms(used.ru_stime), used.ru_maxrss as f64];
    Ok((ExitStatus::from_raw(status), used))
}

/// Raises the limit of open files as far as it goes.
pub fn allow_descriptors() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole structure of that type.
    zero(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    zero(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

/// Gives up root for good. The process has one thread so far; other threads would stay root.
pub fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: take no pointers.
    zero(unsafe { libc::setresgid(uid, uid, uid) })?;
    // SAFETY: as above.
    zero(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Puts /dev/null in place of standard output.
pub fn close_output() -> io::Result<()> {
    let nothing = File::options().write(true).open("/dev/null")?;
    // SAFETY: takes no pointer; standard output belongs to the whole process and not to an object.
    if unsafe { libc::dup2(nothing.as_raw_fd(), libc::STDOUT_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn zero(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A directory whose entries are read without allocating anything for each.
pub struct Directory(NonNull<libc::DIR>);

impl Directory {
    /// Opens `path`, relative to `base` if there is one.
    pub fn open(base: Option<&Self>, path: &CStr) -> io::Result<Self> {
        let fd = open_at(base, path, libc::O_RDONLY | libc::O_DIRECTORY)?.into_raw_fd();
        // SAFETY: the descriptor has no other user, and the stream owns it from now on.
        let stream = unsafe { libc::fdopendir(fd) };
        NonNull::new(stream).map(Self).ok_or_else(io::Error::last_os_error)
    }

    /// The next name that begins like a number.
    pub fn next_number(&mut self) -> Option<Name> {
        loop {
            // SAFETY: an open stream, which has no other reader.
            let entry = unsafe { libc::readdir64(self.0.as_ptr()) };
            if entry.is_null() {
                return None;
            }
            // SAFETY: not null, so an entry with a terminated name, valid until the next call.
            let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) }.to_bytes();
            if name.first().is_some_and(u8::is_ascii_digit) {
                let mut copy = Name { bytes: [0; 24], length: name.len().min(24) };
                copy.bytes[..copy.length].copy_from_slice(&name[..copy.length]);
                return Some(copy);
            }
        }
    }

    fn fd(&self) -> libc::c_int {
        // SAFETY: an open stream.
        unsafe { libc::dirfd(self.0.as_ptr()) }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: an open stream, which is not used after this.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// The name of an entry, which is a number.
pub struct Name {
    bytes: [u8; 24],
    length: usize,
}

impl std::ops::Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn open_at(base: Option<&Directory>, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let base = base.map_or(libc::AT_FDCWD, Directory::fd);
    // SAFETY: the path is terminated and outlives the call.
    let fd = unsafe { libc::openat(base, path.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Where a link in `base` leads to.
pub fn read_link_at<'a>(
    base: &Directory,
    path: &CStr,
    buffer: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the path is terminated, and `size` is the length of the buffer.
    let length = unsafe { libc::readlinkat(base.fd(), path.as_ptr(), start, size) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(&buffer[..length])
}

/// A file's content, as far as there is room for it in `buffer`.
pub fn read_at<'a>(base: &Directory, path: &CStr, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut file = File::from(open_at(Some(base), path, libc::O_RDONLY)?);
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..])? {
            0 => return Ok(&buffer[..length]),
            more => length += more,
        }
    }
}
