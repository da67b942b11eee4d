//! Mounted file systems, on which targets are found by their handles.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, ResolveFlags};

use super::{
    super::{FileHandle, handle::path_of},
    Whereabouts,
};
use crate::host::confined;

/// A file system that is mounted somewhere.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) root: File,
    /// Whether it finds files by their handles; if not, a failed look-up means nothing.
    pub(super) finds: bool,
    /// Its mount point, the prefix of its files' paths.
    pub(super) path: PathBuf,
}

/// A line of a mountinfo file (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    mount_id: u64,
    /// The id of the mount that it is on.
    parent: u64,
    /// Whether only the kernel answers for it, and for all mounts on the way to it.
    pub(super) is_local: bool,
    /// The mount point.
    pub(super) point: PathBuf,
    /// Whether the whole file system is mounted, and not a part.
    is_whole: bool,
    /// The type of the file system.
    pub(super) kind: Vec<u8>,
    /// The options of the file system, as it shows them.
    pub(super) options: Vec<u8>,
}

/// What the kernel appends to the paths of removed files.
const DELETED: &[u8] = b" (deleted)";

/// File systems of the kernel and of disks: the kernel answers by itself. Any other may wait for a
/// program or for another machine, and that one decides how long a call takes.
#[rustfmt::skip]
const LOCAL: [&str; 54] = [
    "adfs", "affs", "anon_inodefs", "bcachefs", "bfs", "binfmt_misc", "bpf", "btrfs", "cgroup", "cgroup2",
    "configfs", "cramfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "erofs", "exfat", "ext2", "ext3",
    "ext4", "f2fs", "fusectl", "hfs", "hfsplus", "hugetlbfs", "iso9660", "jffs2", "jfs", "minix", "mqueue",
    "msdos", "nilfs2", "nsfs", "ntfs3", "overlay", "proc", "pstore", "ramfs", "reiserfs", "resctrl", "romfs",
    "rootfs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs", "ubifs", "udf", "vfat",
    "xfs", "zfs",
];

/// The most mounts of a file system that are tried: others may be mounted over all of them.
const TRIES: usize = 64;

/// Whether only the kernel answers calls on file systems of this type; of an overlay, it asks those of
/// its layers.
fn is_local(kind: &[u8]) -> bool {
    LOCAL.iter().any(|local| kind == local.as_bytes())
}

/// How a process sees a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    None,
    /// Only with the help of a program or of another machine.
    NotLocal,
    Part,
    Whole,
}

/// How a process sees the file system that is mounted at these places.
pub(super) fn sight(places: &[Place]) -> Sight {
    let sight = |place: &Place| match (place.is_local, place.is_whole) {
        (false, _) => Sight::NotLocal,
        (true, false) => Sight::Part,
        (true, true) => Sight::Whole,
    };
    places.iter().map(sight).max().unwrap_or(Sight::None)
}

impl Mount {
    /// One of a file system's mounts that the process at `process` sees; of the whole of it, or of a
    /// part.
    pub(super) fn of(places: &[Place], process: &str, is_whole: bool) -> Option<Self> {
        let places = places.iter().filter(|it| it.is_whole == is_whole && it.is_local);
        let mut places = places.take(TRIES).peekable();
        places.peek()?;
        let root = root_of(process).ok()?;
        places.find_map(|place| Self::open(&root, place).ok())
    }

    /// Opens a mount below the root directory of a process. Who may mount there can put anything in
    /// the way meanwhile, also a link.
    fn open(root: &File, place: &Place) -> io::Result<Self> {
        let there = confined::open_in(root, &place.point, OFlags::PATH, ResolveFlags::NO_SYMLINKS)?;
        if mount_id(&there)? != place.mount_id {
            // Something else is mounted over it.
            return Err(io::ErrorKind::NotFound.into());
        }
        // O_DIRECTORY, since opening a device's file can have side effects.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Self::with(confined::open_below(&there, Path::new(""), flags)?)
    }

    /// A directory as if a file system were mounted there.
    #[cfg(test)]
    pub(super) fn at(directory: &Path) -> io::Result<Self> {
        Self::with(File::open(directory)?)
    }

    fn with(root: File) -> io::Result<Self> {
        let finds = FileHandle::of(&root).and_then(|handle| handle.path(&root)).is_ok();
        let path = path_of(&root)?;
        Ok(Self { root, finds, path })
    }

    /// The place of a file that was opened by its handle.
    pub(super) fn place_of(&self, file: &File) -> io::Result<Whereabouts> {
        let (path, here) = (path_of(file)?, file.metadata()?);
        let last = without_suffix(&path);
        // The kernel's suffix, or a part of the file's real name.
        let seems_gone = here.nlink() == 0 || last.is_some();
        let gone =
            |last: Option<PathBuf>| Whereabouts::Gone(last.filter(|it| it != Path::new("/")));
        let hidden = if seems_gone { gone(None) } else { Whereabouts::Unknown };
        // A file outside the mounted part has a path that begins elsewhere, and is unusable.
        let Ok(within) = path.strip_prefix(&self.path) else { return Ok(hidden) };
        let there = self.look_up(within).and_then(|there| there.metadata());
        let is_there = match there {
            Ok(there) if there.ino() == here.ino() && there.dev() == here.dev() => true,
            // The kernel has dropped its name, and shows `/`.
            Ok(_) if within == Path::new("") => return Ok(hidden),
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => false,
                // Another file system is mounted over it.
                Some(libc::EXDEV) => return Ok(hidden),
                // The path may not be looked up, and is trusted.
                _ => !seems_gone,
            },
        };
        if is_there {
            return Ok(Whereabouts::Path(path));
        }
        Ok(match path_of(file)? {
            // kernfs keeps the names of removed files, at least until Linux 5.10.
            same if same == path => gone(Some(last.unwrap_or(path))),
            _ => Whereabouts::Unknown,
        })
    }

    /// The path of what is at a path below this mount.
    pub(super) fn path_of(&self, within: &Path) -> PathBuf {
        // Joined with nothing, a path would end with a slash.
        if within == Path::new("") { self.path.clone() } else { self.path.join(within) }
    }

    /// Opens the file at a path below this mount, without crossing into other mounts.
    pub(super) fn look_up(&self, within: &Path) -> io::Result<File> {
        self.open_within(within, OFlags::PATH)
    }

    /// Opens the directory at a path below this mount, to read its entries.
    pub(super) fn directory(&self, within: &Path) -> io::Result<File> {
        self.open_within(within, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open_within(&self, within: &Path, flags: OFlags) -> io::Result<File> {
        confined::open_below(&self.root, within, flags | OFlags::NOFOLLOW)
    }
}

/// A path without the kernel's suffix of removed files; None if it has none.
pub(super) fn without_suffix(path: &Path) -> Option<PathBuf> {
    let bytes = path.as_os_str().as_bytes().strip_suffix(DELETED)?;
    Some(OsString::from_vec(bytes.to_vec()).into())
}

/// The root directory of a process (`/proc/PID`).
pub(in super::super) fn root_of(process: &str) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags).open(format!("{process}/root"))
}

/// The id of the mount that an open file is on.
fn mount_id(file: &File) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The mounts in the text of a mountinfo file, each with its device (major << 20 | minor).
pub(super) fn places(mounts: &[u8]) -> Vec<(u32, Place)> {
    let mut all: Vec<_> = lines(mounts).collect();
    let kinds = all.iter().map(|(_, it)| (it.mount_id, (it.parent, is_local(&it.kind))));
    let kinds: HashMap<_, _> = kinds.collect();
    for (_, place) in &mut all {
        place.is_local = is_way_local(&kinds, place.mount_id);
    }
    all
}

/// Whether a mount, and all on the way to it, are local. `kinds` has the mount that each is on, and
/// whether it is local itself.
fn is_way_local(kinds: &HashMap<u64, (u64, bool)>, mount_id: u64) -> bool {
    let mut at = mount_id;
    // No mount is below itself, but the text may have been read while mounts moved.
    for _ in 0..=kinds.len() {
        match kinds.get(&at) {
            // What the root is on is not listed.
            None => return true,
            Some((_, false)) => return false,
            Some(&(parent, true)) if parent == at => return true,
            Some(&(parent, true)) => at = parent,
        }
    }
    false
}

fn lines(mounts: &[u8]) -> impl Iterator<Item = (u32, Place)> {
    mounts.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let mount_id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let parent = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
        let dev = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
        let is_whole = fields.next()? == b"/";
        let point = OsString::from_vec(unescape(fields.next()?)).into();
        // Optional fields end with a dash; then come the type, the source and the options.
        let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
        let kind = fields.next().unwrap_or_default().to_vec();
        let options = fields.nth(1).map(unescape).unwrap_or_default();
        let is_local = is_local(&kind);
        Some((dev, Place { mount_id, parent, is_local, point, is_whole, kind, options }))
    })
}

/// Undoes `\040` and the like, with which the kernel escapes separators.
pub(in crate::host) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_looked_up_in_mountinfo() {
        let mounts = b"22 27 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
                      28 22 8:1 /sub /a\\040b\xff rw - ext4 /dev/sda1 rw\n\
                      31 22 8:1 / / rw - ext4 /dev/sda1 rw\nbroken\n\
                      40 22 0:50 / /m rw master:1 - overlay overlay rw,lowerdir=/a\\040b:/c,upperdir=/u\n";
        let of = |dev| places(mounts).into_iter().filter(move |it| it.0 == dev).map(|it| it.1);
        let found: Vec<_> = of(8 << 20 | 1).collect();
        let place = |mount_id, point: &[u8], is_whole| Place {
            mount_id,
            parent: 22,
            is_local: true,
            point: OsString::from_vec(point.to_vec()).into(),
            is_whole,
            kind: b"ext4".to_vec(),
            options: b"rw".to_vec(),
        };
        assert_eq!(found, [place(28, b"/a b\xff", false), place(31, b"/", true)]);
        assert_eq!([of(0x15).count(), of(9).count()], [1, 0]);
        let overlay = of(50).next().unwrap();
        assert_eq!(
            (&*overlay.kind, &*overlay.options),
            (&b"overlay"[..], &b"rw,lowerdir=/a b:/c,upperdir=/u"[..])
        );
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for text in ["a\\", "a\\9", "\\99999", "ä\\134"] {
            assert!(!unescape(text.as_bytes()).is_empty(), "{text}");
        }
        assert_eq!(unescape(b"\\134040"), b"\\040");
    }

    #[test]
    fn what_waits_for_others_is_left_alone() {
        for kind in ["fuse.sshfs", "fuse", "fuseblk", "nfs4", "9p", "virtiofs", "autofs", ""] {
            assert!(!is_local(kind.as_bytes()), "{kind}");
        }
        for kind in ["ext4", "overlay", "tmpfs", "xfs", "btrfs", "cgroup2"] {
            assert!(is_local(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn so_is_what_is_beyond_it() {
        let mounts = b"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      2 1 0:30 / /f rw - fuse f rw\n\
                      3 2 0:31 / /f/t rw - tmpfs t rw\n\
                      4 1 0:32 / /t rw - tmpfs t rw\n\
                      5 77 0:33 / /u rw - tmpfs t rw\n\
                      6 7 0:34 / /x rw - tmpfs t rw\n\
                      7 6 0:34 / /x rw - tmpfs t rw\n";
        let all = places(mounts).into_iter().map(|(_, place)| place);
        let local = all.filter(|place| place.is_local).map(|place| place.mount_id);
        assert_eq!(local.collect::<Vec<_>>(), [1, 4, 5]);
    }
}
