//! The few system calls that the standard library does not make.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A new inotify instance. Dropping it closes it.
pub fn inotify() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made, and nobody else knows.
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
    // SAFETY: -1 is no descriptor, so nobody loses one.
    unsafe { libc::close(-1) };
}

/// `getppid()`: a system call that does nearly nothing, and that no tracer of inotify asks about.
pub fn getppid() {
    // SAFETY: takes nothing, changes nothing.
    unsafe { libc::getppid() };
}

/// Asks a child of ours to end as Ctrl-C would.
pub fn interrupt(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: takes no pointer; the process is a child nobody has waited for, so the id is its own.
    if unsafe { libc::kill(pid, libc::SIGINT) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
