//! A search for files by their inode numbers, for those whose names the kernel has dropped: their
//! handles lead to the file, but only a directory knows its name.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::fs::{Dir, FileType};

use super::mount::Mount;

/// The most entries that are read of one directory: whoever fills one must not hide the others.
const ENTRIES: usize = 20_000;

/// How long after the deadline the likely directories are read: a process chooses how many there are.
const LONGER: Duration = Duration::from_secs(2);

/// Directories that wait to be read, at most.
const WAITING: usize = 100_000;

/// Looks for these inodes on the file system of a mount until `deadline`: in the directories `likely`
/// first, which have some time in any case, and then everywhere, the upper directories first. `likely` is
/// below the mount.
pub(super) fn search(
    mount: &Mount,
    mut wanted: HashSet<u64>,
    likely: impl IntoIterator<Item = PathBuf>,
    deadline: Instant,
) -> HashMap<u64, PathBuf> {
    let mut found = HashMap::new();
    for directory in likely {
        if Instant::now() >= deadline + LONGER {
            break;
        }
        look_through(mount, directory, &mut wanted, &mut found, |_| ());
    }
    let mut waiting = VecDeque::from([PathBuf::new()]);
    while let Some(directory) = waiting.pop_front() {
        if wanted.is_empty() || Instant::now() >= deadline {
            break;
        }
        look_through(mount, directory, &mut wanted, &mut found, |below| {
            if waiting.len() < WAITING {
                waiting.push_back(below);
            }
        });
    }
    found
}

/// Looks for the inodes in one directory, and passes on the directories in it.
fn look_through(
    mount: &Mount,
    directory: PathBuf,
    wanted: &mut HashSet<u64>,
    found: &mut HashMap<u64, PathBuf>,
    mut below: impl FnMut(PathBuf),
) {
    let entries = mount.directory(&directory).ok().and_then(|it| Dir::new(it).ok());
    for entry in entries.into_iter().flatten().flatten().take(ENTRIES) {
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let within = directory.join(OsStr::from_bytes(name));
        // The number in the directory is that of the file itself, but not of what is mounted there.
        if wanted.contains(&entry.ino()) {
            let there = mount.look_up(&within).and_then(|file| file.metadata());
            if there.is_ok_and(|it| it.ino() == entry.ino()) {
                wanted.remove(&entry.ino());
                found.insert(entry.ino(), mount.path_of(&within));
            }
        }
        if entry.file_type() == FileType::Directory {
            below(within);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[test]
    fn files_are_found_by_their_numbers_likely_places_first() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("a/b/c")).unwrap();
        for name in ["a/one", "a/b/c/two"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let mount = Mount::at(directory.path()).unwrap();
        let inode = |name: &str| fs::metadata(at(name)).unwrap().ino();
        let both = || HashSet::from([inode("a/one"), inode("a/b/c/two")]);
        let later = Instant::now() + Duration::from_secs(600);
        let all =
            HashMap::from([(inode("a/one"), at("a/one")), (inode("a/b/c/two"), at("a/b/c/two"))]);
        assert_eq!(search(&mount, both(), [], later), all);
        // Without time, in the likely places alone; links are not followed.
        let now = Instant::now();
        let likely = ["a/b/c", "link", "none", "../a"].map(PathBuf::from);
        let two = HashMap::from([(inode("a/b/c/two"), at("a/b/c/two"))]);
        assert_eq!(search(&mount, both(), likely, now), two);
    }
}
