//! Paths that mean something to one process only, such as relative ones, at the time of a call.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

use super::{
    handle::path_of,
    targets::{identity, root_of},
};
use crate::host::confined;

/// The thread that gave a path, and the file that the kernel found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The file's device in the kernel's own encoding.
    pub dev: u32,
    /// Its inode number.
    pub inode: u64,
}

/// Whether a path depends on the process that gives it: it is relative, or leads through its
/// descriptors or its working directory.
#[must_use]
pub fn is_private(path: &str) -> bool {
    !path.is_empty() && (!path.starts_with('/') || split(path, 0).is_some())
}

/// The path from the root of the file that a private path has just led to; None if it does not lead
/// to that file any more, or not to a device, so that a program or another machine would be asked.
#[must_use]
pub fn resolve_on_device(path: &str, asked: Asked) -> Option<PathBuf> {
    resolve_with(path, asked, open).ok().flatten()
}

/// The same by what the kernel has in memory, since the process has just been there: no file system is
/// asked.
///
/// # Errors
/// If it has to be.
pub fn resolve_cached(path: &str, asked: Asked) -> io::Result<Option<PathBuf>> {
    resolve_with(path, asked, open_cached)
}

/// The working directory of a thread as it sees it itself, without asking a file system.
#[must_use]
pub fn working_directory(pid: u32, tid: u32) -> Option<PathBuf> {
    let process = format!("/proc/{pid}/task/{tid}");
    let here = fs::read_link(format!("{process}/cwd")).ok()?;
    let top = path_of(&root_of(&process).ok()?).ok()?;
    let below = here.strip_prefix(&top).map(|below| Path::new("/").join(below));
    // What is outside of its root has no path from there.
    below.ok().filter(|path| path.is_absolute())
}

fn resolve_with(
    path: &str,
    asked: Asked,
    open: impl FnOnce(&str, &Path, &str) -> io::Result<File>,
) -> io::Result<Option<PathBuf>> {
    let Asked { pid, tid, dev, inode } = asked;
    let place = match path.strip_prefix('/') {
        Some(_) => split(path, pid),
        None => Some(("cwd".to_owned(), path)),
    };
    let Some((base, rest)) = place.filter(|_| inode != 0) else { return Ok(None) };
    let process = format!("/proc/{pid}/task/{tid}");
    let base = PathBuf::from(format!("{process}/{base}"));
    let is_it = |path: &Path| {
        // Overlayfs and others without a device of their own show several.
        let is_same = |found: u32| found == dev || (found >> 20 == 0 && dev >> 20 == 0);
        let found = identity(path);
        found.is_some_and(|((dev, ino), links)| is_same(dev) && ino == inode && links > 0)
    };
    let found = if rest.split('/').all(|part| matches!(part, "" | ".")) {
        is_it(&base).then(|| fs::read_link(&base).ok()).flatten()
    } else {
        let file = match open(&process, &base, rest) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => return Ok(None),
        };
        is_it(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
            .then(|| path_of(&file).ok())
            .flatten()
    };
    // What is outside of the process's root has no path from there.
    Ok(found.filter(|path| path.as_os_str().as_bytes().starts_with(b"/")))
}

/// A path through a process's own links: the link below `/proc/PID`, and the rest. `pid` is the
/// process's own number; 0 if any will do.
fn split(path: &str, pid: u32) -> Option<(String, &str)> {
    let through = |path| -> Option<(String, &str)> {
        let (number, rest) = str::split_once(path, '/').unwrap_or((path, ""));
        number.parse::<u32>().is_ok().then(|| (format!("fd/{number}"), rest))
    };
    match path {
        "/dev/stdin" => return Some(("fd/0".to_owned(), "")),
        "/dev/stdout" => return Some(("fd/1".to_owned(), "")),
        "/dev/stderr" => return Some(("fd/2".to_owned(), "")),
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/dev/fd/") {
        return through(rest);
    }
    let (process, rest) = path.strip_prefix("/proc/")?.split_once('/')?;
    let is_own = match process {
        "self" | "thread-self" => true,
        // In a container, the number is another process's here: the file tells.
        number => number.parse::<u32>().is_ok_and(|it| pid == 0 || it == pid),
    };
    if !is_own {
        return None;
    }
    match rest.split_once('/').unwrap_or((rest, "")) {
        ("fd", rest) => through(rest),
        ("cwd", rest) => Some(("cwd".to_owned(), rest)),
        _ => None,
    }
}

/// Opens the file at a path from a directory of a process (`/proc/PID/task/TID/BASE`) by what the
/// kernel has in memory; otherwise it would block. Links lead where they lead the process, and never
/// out of its root.
fn open_cached(process: &str, base: &Path, rest: &str) -> io::Result<File> {
    let root = root_of(process)?;
    // The paths of both as this process sees them.
    let (top, here) = (path_of(&root)?, fs::read_link(base)?);
    let here = here.strip_prefix(&top).map_err(|_| io::ErrorKind::NotFound)?;
    let path = Path::new("/").join(here).join(rest);
    let found = confined::open_in(&root, &path, OFlags::PATH, ResolveFlags::CACHED);
    match found.as_ref().map_err(io::Error::raw_os_error) {
        // Not in memory any more; or before Linux 5.12.
        Err(Some(libc::EAGAIN | libc::EINVAL)) => Err(io::ErrorKind::WouldBlock.into()),
        _ => found,
    }
}

/// Opens it without links, and only on a device, which is not a program or another machine.
fn open(_process: &str, base: &Path, rest: &str) -> io::Result<File> {
    let is_on_device = identity(base).is_some_and(|((dev, _), _)| dev >> 20 != 0);
    if !is_on_device {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(base)?;
    confined::open_below(&directory, Path::new(rest), OFlags::PATH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn resolve(path: &str, asked: Asked) -> Option<PathBuf> {
        resolve_cached(path, asked).unwrap_or_else(|_| resolve_on_device(path, asked))
    }

    fn asked(path: &Path) -> Asked {
        let metadata = fs::metadata(path).unwrap();
        let dev = libc::major(metadata.dev()) << 20 | libc::minor(metadata.dev());
        let pid = std::process::id();
        Asked { pid, tid: pid, dev, inode: metadata.ino() }
    }

    #[test]
    fn private_paths_are_told_from_others() {
        for path in
            ["a", "./a", "..", ".", "/proc/self/fd/3", "/dev/fd/3/x", "/proc/7/cwd", "/dev/stdin"]
        {
            assert!(is_private(path), "{path}");
        }
        for path in [
            "",
            "/",
            "/etc",
            "/proc/self",
            "/proc/self/fd",
            "/proc/self/status",
            "/dev/fdx",
            "/proc/x/cwd",
        ] {
            assert!(!is_private(path), "{path}");
        }
    }

    #[test]
    fn a_private_path_leads_to_the_file_that_was_found() {
        let here = std::env::current_dir().unwrap();
        let manifest = here.join("Cargo.toml");
        assert_eq!(resolve(".", asked(&here)), Some(here.clone()));
        assert_eq!(resolve("./", asked(&here)), Some(here.clone()));
        assert_eq!(resolve("Cargo.toml", asked(&manifest)), Some(manifest.clone()));
        let up = here.parent().unwrap();
        assert_eq!(resolve("..", asked(up)), Some(up.to_path_buf()));
        let file = File::open(&manifest).unwrap();
        for road in ["/proc/self/fd/", "/dev/fd/"] {
            let path = format!("{road}{}", file.as_raw_fd());
            assert_eq!(resolve(&path, asked(&manifest)), Some(manifest.clone()));
        }
    }

    #[test]
    fn another_file_is_not_taken_for_it() {
        let here = std::env::current_dir().unwrap();
        let wrong = asked(&here.join("Cargo.toml"));
        for path in [".", "..", "src", "nothing", "/proc/self/cwd", "/proc/self/fd/99999", "/etc"] {
            assert_eq!(resolve(path, wrong), None, "{path}");
        }
        assert_eq!(resolve(".", Asked { inode: 0, ..asked(&here) }), None);
        assert_eq!(resolve(".", Asked { pid: u32::MAX, tid: u32::MAX, ..asked(&here) }), None);
    }
}
