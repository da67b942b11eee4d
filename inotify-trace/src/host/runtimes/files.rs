//! Reading files and directories of others within bounds: of time, since nothing that blocks is
//! opened; and of memory, since a file may grow while it is read, and a directory be full.

use std::{
    ffi::OsString,
    fs,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{Mode, OFlags, open};

use crate::{host::confined, regular};

/// A file's text, of at most `most` bytes; None if it is longer, or no regular file. Links are not
/// followed at the last component.
pub(super) fn read(path: &Path, most: u64) -> Option<String> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    text(fs::File::options().read(true).custom_flags(flags).open(path).ok()?, most)
}

/// Bytes that are no UTF-8, as in a path that somebody chose, leave the rest of the file readable.
fn text(file: fs::File, most: u64) -> Option<String> {
    let bytes = regular::read_open(file, most).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names of at most `most` entries of a directory, of those that `is_wanted`.
pub(super) fn names(
    path: &Path,
    most: usize,
    is_wanted: impl Fn(&fs::DirEntry) -> bool,
) -> Vec<OsString> {
    let entries = fs::read_dir(path).into_iter().flatten().take(most).flatten();
    entries.filter(is_wanted).map(|entry| entry.file_name()).collect()
}

/// Whether an entry is a directory, and no link to one.
pub(super) fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// When a directory was last changed, and whether a later change must have another time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changed {
    time: Option<(i64, i64)>,
    is_settled: bool,
}

/// The coarsest clock that file systems take times from, with some room.
const TICK: Duration = Duration::from_millis(100);

impl Changed {
    /// As of now.
    pub(super) fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self::default() };
        let age = metadata.modified().ok().and_then(|it| SystemTime::now().duration_since(it).ok());
        Self {
            time: Some((metadata.mtime(), metadata.mtime_nsec())),
            is_settled: age.is_some_and(|age| age > TICK),
        }
    }

    /// Whether nothing has changed since `before`. A directory that does not exist is unchanged.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        self.time == before.time && (before.is_settled || self.time.is_none())
    }
}

/// A user's directory. Its owner decides what is in it, so nothing below leads out of it: neither
/// links nor mounts are followed.
#[derive(Debug)]
pub(in crate::host) struct Below {
    root: OwnedFd,
}

impl Below {
    pub(in crate::host) fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Some(Self { root: open(path, flags, Mode::empty()).ok()? })
    }

    fn file(&self, path: &str, flags: OFlags) -> Option<fs::File> {
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK;
        confined::open_below(&self.root, Path::new(path), flags).ok()
    }

    /// A file's text, of at most `most` bytes; None if it is longer, or no regular file.
    pub(in crate::host) fn read(&self, path: &str, most: u64) -> Option<String> {
        text(self.file(path, OFlags::empty())?, most)
    }

    /// The names of at most `most` entries of a directory.
    pub(in crate::host) fn names(&self, path: &str, most: usize) -> Vec<String> {
        let listed = self.file(path, OFlags::DIRECTORY);
        let listed = listed.and_then(|directory| rustix::fs::Dir::read_from(directory).ok());
        let entries = listed.into_iter().flatten().take(most).flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name != "." && name != "..").collect()
    }
}

/// The paths below `root` that match, `*` being the name of a directory, of which at most `most`
/// count in each place.
pub(super) fn matching(root: &Path, pattern: &str, most: usize) -> Vec<PathBuf> {
    let mut paths = vec![root.to_owned()];
    for part in pattern.split('/') {
        paths = match part {
            "*" => paths
                .iter()
                .flat_map(|path| {
                    names(path, most, is_directory).into_iter().map(|it| path.join(it))
                })
                .collect(),
            part => paths.into_iter().map(|path| path.join(part)).collect(),
        };
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn a_file_that_grows_while_it_is_read_is_read_to_the_cap() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("status");
        fs::write(&path, "x".repeat(100)).unwrap();
        assert_eq!(read(&path, 100).map(|it| it.len()), Some(100));
        assert_eq!(read(&path, 99), None);
        // The size that is seen says nothing: files of /proc have none, and this one has another
        // each time.
        let file = fs::File::options().write(true).open(&path).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    file.set_len(100).unwrap();
                    file.set_len(1 << 40).unwrap();
                }
            });
            let lengths = (0..1000).filter_map(|_| Some(read(&path, 4096)?.len()));
            let longest = lengths.max();
            is_over.store(true, Ordering::Relaxed);
            assert!(longest.is_none_or(|longest| longest <= 4096), "{longest:?}");
        });
    }

    #[test]
    fn nothing_below_a_user_s_directory_leads_out_of_it_or_blocks() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(home.join("a/b/file"), "text").unwrap();
        symlink(root.path().join("secret"), home.join("link")).unwrap();
        symlink(root.path(), home.join("out")).unwrap();
        symlink("a", home.join("within")).unwrap();
        let fifo = home.join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        let below = Below::open(&home).unwrap();
        assert_eq!(below.read("a/b/file", 100).as_deref(), Some("text"));
        for path in ["link", "out/secret", "../secret", "within/b/file", "fifo", "a", "/secret"] {
            assert_eq!(below.read(path, 100), None, "{path}");
        }
        assert_eq!(read(&fifo, 100), None);
        assert_eq!(below.names("a", 10), ["b"]);
        assert_eq!(below.names("out", 10), [""; 0]);
    }
}
