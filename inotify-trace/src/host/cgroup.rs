//! The mounted cgroup v2 hierarchy: paths and ids of its cgroups.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use super::procfs::{self, FileHandle};

/// Where the v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside v1.
#[must_use]
pub fn mount_point() -> Option<PathBuf> {
    mount_point_in(&fs::read("/proc/self/mounts").ok()?)
}

/// The mount point of the first file system of type `cgroup2` in the text of a mounts file. Other mount
/// points may have any bytes.
fn mount_point_in(mounts: &[u8]) -> Option<PathBuf> {
    procfs::lines(mounts).find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (place, kind) = (fields.nth(1)?, fields.next()?);
        (kind == b"cgroup2").then(|| OsString::from_vec(procfs::unescape(place)).into())
    })
}

/// Finds the cgroup of a watch's target on the mounted hierarchy.
#[derive(Debug)]
pub struct Mount {
    /// The root directory.
    root: fs::File,
    /// Its device in the kernel's encoding (major << 20 | minor).
    dev: u32,
}

impl Mount {
    /// None if the directory cannot be opened.
    #[must_use]
    pub fn open(mount_point: &Path) -> Option<Self> {
        let root = fs::File::open(mount_point).ok()?;
        let dev = root.metadata().ok()?.dev();
        // Both numbers are small: cgroupfs has no device of its own.
        let dev = libc::major(dev) << 20 | libc::minor(dev);
        Some(Self { root, dev })
    }

    /// The id of the cgroup that a file or directory of this hierarchy belongs to, by its device
    /// and handle; None if it is on another file system, or removed.
    #[must_use]
    pub fn cgroup_of(&self, dev: u32, handle: &FileHandle) -> Option<u64> {
        if dev != self.dev {
            return None;
        }
        let path = handle.path(&self.root).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        if metadata.is_dir() {
            return Some(metadata.ino());
        }
        Some(fs::metadata(path.parent()?).ok()?.ino())
    }
}

/// Every cgroup below a mount point: its id and its path from the root of the hierarchy, parents
/// before children. Cgroups removed during the walk are left out, and those deeper than the longest
/// path that the kernel takes (`PATH_MAX`): it tells no process's path there either.
///
/// Users choose how deep cgroups are, so one directory is open at a time, and nothing recurses.
pub fn walk(mount_point: &Path, each: &mut impl FnMut(u64, &[u8])) {
    if let Ok(root) = fs::metadata(mount_point) {
        each(root.ino(), b"/");
    }
    let mut waiting = vec![Vec::new()];
    let mut too_deep = 0_usize;
    while let Some(path) = waiting.pop() {
        // Joined as bytes: the path begins with a slash.
        let directory = [mount_point.as_os_str().as_bytes(), &path].concat();
        let entries = match fs::read_dir(OsStr::from_bytes(&directory)) {
            Ok(entries) => entries,
            Err(error) => {
                too_deep += usize::from(error.raw_os_error() == Some(libc::ENAMETOOLONG));
                continue;
            }
        };
        for entry in entries.flatten() {
            let is_cgroup = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let Some(metadata) = entry.metadata().ok().filter(|_| is_cgroup) {
                let path = [&path, &b"/"[..], entry.file_name().as_bytes()].concat();
                each(metadata.ino(), &path);
                waiting.push(path);
            }
        }
    }
    if too_deep > 0 {
        log::warn!("{too_deep} cgroups have so long paths that those below them are left out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_v2_mount_of_pure_and_hybrid_systems() {
        let pure = b"sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(mount_point_in(pure), Some("/sys/fs/cgroup".into()));
        let spaced = b"t /tmp/\xff tmpfs rw 0 0\ncgroup2 /a\\040b cgroup2 rw 0 0\n";
        assert_eq!(mount_point_in(spaced), Some("/a b".into()));
        let hybrid = b"tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        assert_eq!(mount_point_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point_in(b"cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        assert_eq!(mount_point_in(b"broken\n\n"), None);
    }

    #[test]
    fn walks_parents_before_children_with_ids_that_are_inodes() {
        let root = std::env::temp_dir().join(format!("cgroup-walk-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/cgroup.procs"), "").unwrap();
        let mut seen = Vec::new();
        walk(&root, &mut |id, path| seen.push((id, String::from_utf8(path.to_vec()).unwrap())));
        let inode = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
        let expected = vec![
            (inode("."), "/".to_owned()),
            (inode("a"), "/a".to_owned()),
            (inode("a/b"), "/a/b".to_owned()),
        ];
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(seen, expected);
    }
}
