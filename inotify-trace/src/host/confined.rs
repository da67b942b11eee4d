//! Opening what is at a path that others chose. The agent is root, and must not be led to files of the
//! machine by a link or by `..`: every such path is looked up here.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::regular;

/// Opens what is at `path` for a process whose root is the directory `root`: neither `..` nor a link
/// leads out of it, and the links of `/proc` into other processes lead nowhere. `more` refuses more.
///
/// # Errors
/// If there is nothing, or only a way that is refused.
pub(super) fn open_in(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    more: ResolveFlags,
) -> io::Result<File> {
    open(root, path, flags, ResolveFlags::IN_ROOT | more)
}

/// Opens what is at a relative path below a directory. No link is followed, and nothing leads out of
/// the directory or to another mount.
///
/// # Errors
/// The same.
pub(super) fn open_below(directory: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    open(directory, path, flags, stay)
}

/// Reads a file of at most `most` bytes below a directory that is the root of a machine's files. Links lead
/// where they lead on that machine, and only a regular file is read: a pipe would wait for whoever
/// writes to it.
///
/// # Errors
/// If there is none, or a larger one.
pub(super) fn read(root: &Path, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = open_in(File::open(root)?, path, flags, ResolveFlags::empty())?;
    regular::read_open(file, most)
}

/// Whether this process may look up paths this way. Seccomp may refuse it, as systemd does with
/// `RestrictSUIDSGID=`, and so does a kernel before Linux 5.6.
///
/// # Errors
/// If it is refused.
pub fn is_allowed() -> io::Result<()> {
    open_in(File::open("/")?, Path::new("."), OFlags::PATH, ResolveFlags::empty()).map(drop)
}

fn open(
    directory: impl AsFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<File> {
    let path = if path == Path::new("") { Path::new(".") } else { path };
    let (flags, resolve) = (flags | OFlags::CLOEXEC, resolve | ResolveFlags::NO_MAGICLINKS);
    Ok(openat2(directory, path, flags, Mode::empty(), resolve)?.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, symlink},
    };

    use super::*;

    #[test]
    fn it_is_allowed_here() {
        is_allowed().unwrap();
    }

    #[test]
    fn no_path_leads_out_of_a_directory() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("root/a")).unwrap();
        fs::create_dir(at("secret")).unwrap();
        symlink(at("secret"), at("root/link")).unwrap();
        symlink("../../secret", at("root/a/up")).unwrap();
        symlink("/a", at("root/within")).unwrap();
        symlink("/proc/self/cwd", at("root/process")).unwrap();
        let root = File::open(at("root")).unwrap();
        let inode = |file: io::Result<File>| Some(file.ok()?.metadata().unwrap().ino());
        let open_in = |path, more| inode(open_in(&root, Path::new(path), OFlags::PATH, more));
        let below = |path| inode(open_below(&root, Path::new(path), OFlags::PATH));
        let [own, a] = ["root", "root/a"].map(|name| inode(File::open(at(name))));
        let (any, no_links) = (ResolveFlags::empty(), ResolveFlags::NO_SYMLINKS);
        for (path, expected) in [("", own), ("/", own), ("../..", own), ("a", a), ("/../a/.", a)] {
            assert_eq!(open_in(path, no_links), expected, "{path}");
        }
        assert_eq!([below(""), below("a"), below("a/.")], [own, a, a]);
        for path in ["link", "a/up", "process", "within", "../secret", "/secret"] {
            assert_eq!([open_in(path, no_links), below(path)], [None; 2], "{path}");
        }
        assert_eq!([below("/a"), below("../root/a")], [None; 2]);
        // A link leads where it leads the process.
        assert_eq!(open_in("within", any), a);
        for path in ["link", "a/up", "process"] {
            assert_eq!(open_in(path, any), None, "{path}");
        }
    }
}
