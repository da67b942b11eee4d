//! The mounted cgroup v2 hierarchy: paths and ids of its cgroups.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::procfs::{self, FileHandle};

/// Where the v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside v1. Of
/// several mounts, the one that shows most: a container has its own part at the usual place, and
/// perhaps the machine's files, with all of the hierarchy, elsewhere.
#[must_use]
pub fn mount_point() -> Option<PathBuf> {
    let mounts = mounts(&fs::read("/proc/self/mountinfo").ok()?);
    // Of equal ones, the first.
    mounts.into_iter().rev().max_by_key(|it| it.shows).map(|it| it.point)
}

/// A mount of the v2 hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    point: PathBuf,
    /// How far its root is above the root of this process's cgroup namespace; negative below it.
    shows: isize,
}

/// The mounts of type `cgroup2` in the text of a mountinfo file. Other mount points may have any bytes.
fn mounts(mountinfo: &[u8]) -> Vec<Shown> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        // Optional fields end with a dash; then comes the type.
        let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
        let levels = components(root).map(|name| if name == b".." { 1 } else { -1 });
        let point = OsString::from_vec(procfs::unescape(point)).into();
        (kind == b"cgroup2").then(|| Shown { point, shows: levels.sum() })
    };
    procfs::lines(mountinfo).filter_map(mount).collect()
}

/// The names in a path.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

/// The path of a cgroup from the root of the mounted hierarchy, by the one in `/proc/PID/cgroup`, which
/// starts from the cgroup namespace of this process. None if it is outside of what is mounted.
#[must_use]
pub fn from_root(path: Vec<u8>) -> Option<Vec<u8>> {
    /// The path of the namespace, which stays the same.
    static NAMESPACE: OnceLock<Vec<u8>> = OnceLock::new();
    joined(NAMESPACE.get_or_init(|| namespace().unwrap_or_default()), path)
}

/// The path of this process's cgroup namespace, if a mount shows what is above it.
fn namespace() -> Option<Vec<u8>> {
    let mounts = mounts(&fs::read("/proc/self/mountinfo").ok()?);
    let above = mounts.iter().filter(|it| it.shows > 0).max_by_key(|it| it.shows)?;
    let own = mounts.iter().find(|it| it.shows == 0)?;
    let id = fs::metadata(&own.point).ok()?.ino();
    let mut found = None;
    walk(&above.point, &mut |each, path| {
        if each == id {
            found = Some(path.to_vec());
        }
    });
    found
}

/// A path that starts from a namespace, as one from the root.
fn joined(namespace: &[u8], path: Vec<u8>) -> Option<Vec<u8>> {
    if namespace.is_empty() {
        return Some(path);
    }
    let mut names: Vec<_> = components(namespace).collect();
    for name in components(&path) {
        match name {
            b".." => _ = names.pop()?,
            name => names.push(name),
        }
    }
    Some([b"/", &names.join(&b'/')[..]].concat())
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

    /// The mount point that is taken.
    fn taken(mountinfo: &[u8]) -> Option<PathBuf> {
        mounts(mountinfo).into_iter().rev().max_by_key(|it| it.shows).map(|it| it.point)
    }

    #[test]
    fn finds_the_v2_mount_of_pure_and_hybrid_systems() {
        let pure = b"22 1 0:21 / /sys rw shared:7 - sysfs sysfs rw\n\
                     29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(taken(pure), Some("/sys/fs/cgroup".into()));
        let spaced =
            b"5 1 0:9 / /tmp/\xff rw - tmpfs t rw\n6 1 0:26 / /a\\040b rw - cgroup2 c rw\n";
        assert_eq!(taken(spaced), Some("/a b".into()));
        let hybrid = b"30 22 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      32 30 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(taken(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(taken(b"32 30 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
        assert_eq!(taken(b"broken\n\n"), None);
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_most_is_taken() {
        let own = "40 1 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let machine = "50 1 0:26 /../../.. /host/sys/fs/cgroup ro master:9 - cgroup2 cgroup2 rw\n";
        let part = "60 1 0:26 /a/b /mnt ro - cgroup2 cgroup2 rw\n";
        for (lines, expected) in [
            ([own, machine, part], "/host/sys/fs/cgroup"),
            ([part, own, own], "/sys/fs/cgroup"),
            ([machine, part, own], "/host/sys/fs/cgroup"),
        ] {
            assert_eq!(taken(lines.concat().as_bytes()), Some(expected.into()));
        }
    }

    #[test]
    fn a_path_from_a_namespace_becomes_one_from_the_root() {
        let own = b"/kubepods.slice/pod1.slice/agent.scope";
        for (path, expected) in [
            ("/", Some("/kubepods.slice/pod1.slice/agent.scope")),
            ("/../web.scope", Some("/kubepods.slice/pod1.slice/web.scope")),
            ("/../../../init.scope", Some("/init.scope")),
            ("/../../..", Some("/")),
            ("/../../../../outside", None),
        ] {
            let found = joined(own, path.as_bytes().to_vec());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path}");
        }
        // Without a namespace, as the kernel has it.
        assert_eq!(joined(b"", b"/a/b".to_vec()).as_deref(), Some(&b"/a/b"[..]));
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
