//! Paths of watch targets, from the device and file handle in fdinfo.

use std::{
    collections::HashMap,
    ffi::{CString, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use super::{FileHandle, WatchInfo, field, handle::path_of, lines};

/// The place of a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Its path.
    Path(PathBuf),
    /// It was removed.
    Gone,
    /// The file system cannot tell; overlayfs is one of these.
    Unknown,
}

/// Finds paths. Keeps an open descriptor for each file system it has used.
#[derive(Debug, Default)]
pub struct Targets {
    mounts: HashMap<u32, Option<Mount>>,
}

/// A file system that is mounted somewhere.
#[derive(Debug)]
struct Mount {
    root: File,
    /// Whether it finds files by their handles; if not, a failed look-up means nothing.
    finds: bool,
    /// Its mount point, the prefix of its files' paths.
    path: PathBuf,
}

/// A line of a mountinfo file (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Place {
    mount_id: u64,
    /// The mount point.
    point: PathBuf,
    /// Whether the whole file system is mounted, and not a part.
    is_whole: bool,
}

impl Targets {
    /// The current place of a watch's target, as seen from this process or, for file systems mounted
    /// only there, from the mount namespace of `holder`.
    pub fn find(&mut self, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let Some(handle) = &watch.handle else { return Whereabouts::Unknown };
        let mount = self.mounts.entry(watch.dev).or_insert_with(|| {
            // Searched for each holder: another one may have a mount that this one lacks.
            let processes = ["/proc/self".to_owned(), format!("/proc/{holder}")];
            let [whole, part] = [true, false]
                .map(|is_whole| move |process: &String| Mount::of(watch.dev, process, is_whole));
            processes.iter().find_map(whole).or_else(|| processes.iter().find_map(part))
        });
        let Some(mount) = mount else {
            self.mounts.remove(&watch.dev);
            return Whereabouts::Unknown;
        };
        match handle.open(&mount.root) {
            Ok(file) => mount.place_of(&file).unwrap_or(Whereabouts::Unknown),
            Err(error) if mount.finds && error.raw_os_error() == Some(libc::ESTALE) => {
                Whereabouts::Gone
            }
            Err(_) => Whereabouts::Unknown,
        }
    }
}

impl Mount {
    /// A mount of the file system on device `dev` (major << 20 | minor), or of a part of it, that
    /// the process at `process` sees.
    fn of(dev: u32, process: &str, is_whole: bool) -> Option<Self> {
        let mounts = fs::read(format!("{process}/mountinfo")).ok()?;
        let root = PathBuf::from(format!("{process}/root"));
        let places = places(&mounts, dev).filter(|place| place.is_whole == is_whole);
        places.filter_map(|place| Self::open(&root, place).ok()).next()
    }

    fn open(root: &Path, place: Place) -> io::Result<Self> {
        // O_DIRECTORY, since opening a device's file can have side effects.
        let root = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(root.join(place.point.strip_prefix("/").unwrap_or(&place.point)))?;
        if mount_id(&root)? != place.mount_id {
            // Something else is mounted over it.
            return Err(io::ErrorKind::NotFound.into());
        }
        let finds = FileHandle::of(&root).and_then(|handle| handle.path(&root)).is_ok();
        let path = path_of(&root)?;
        Ok(Self { root, finds, path })
    }

    /// The place of a file that was opened by its handle.
    fn place_of(&self, file: &File) -> io::Result<Whereabouts> {
        let path = path_of(file)?;
        // The kernel's suffix, or a part of the file's real name.
        let seems_gone = path.as_os_str().as_bytes().ends_with(b" (deleted)");
        let hidden = if seems_gone { Whereabouts::Gone } else { Whereabouts::Unknown };
        // A file outside the mounted part has a path that begins elsewhere, and is unusable.
        let Ok(within) = path.strip_prefix(&self.path) else { return Ok(hidden) };
        let (there, here) = (self.look_up(within), file.metadata()?);
        let is_there = match there.and_then(|there| there.metadata()) {
            Ok(there) if there.ino() == here.ino() && there.dev() == here.dev() => true,
            // The kernel has dropped its name, and shows `/`.
            Ok(_) if within == Path::new("") => return Ok(Whereabouts::Unknown),
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => false,
                // Another file system is mounted over it.
                Some(libc::EXDEV) => return Ok(hidden),
                // The path may not be looked up, and is trusted.
                _ => !seems_gone,
            },
        };
        Ok(match path_of(file)? {
            same if is_there && same == path => Whereabouts::Path(path),
            // kernfs keeps the names of removed files, at least until Linux 5.10.
            same if same == path => Whereabouts::Gone,
            _ => Whereabouts::Unknown,
        })
    }

    /// Opens the file at a path below this mount, without crossing into other mounts.
    fn look_up(&self, within: &Path) -> io::Result<File> {
        let within = if within == Path::new("") { Path::new(".") } else { within };
        let within = CString::new(within.as_os_str().as_bytes())?;
        // SAFETY: a structure of numbers, for which zero is a value.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW).cast_unsigned().into();
        how.resolve = libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS;
        // SAFETY: a path that ends with a zero and a structure of the size passed, both of which live
        // until the call returns.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                self.root.as_raw_fd(),
                within.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        let fd =
            i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// The id of the mount that an open file is on.
fn mount_id(file: &File) -> io::Result<u64> {
    let info = fs::read(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = field(&info, "mnt_id:").and_then(number);
    id.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The mounts of a device in the text of a mountinfo file.
fn places(mounts: &[u8], dev: u32) -> impl Iterator<Item = Place> {
    let device = format!("{}:{}", dev >> 20, dev & 0xf_ffff);
    lines(mounts).filter_map(move |line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let mount_id = number(fields.next()?)?;
        if fields.nth(1)? != device.as_bytes() {
            return None;
        }
        let is_whole = fields.next()? == b"/";
        Some(Place { mount_id, point: unescape(fields.next()?), is_whole })
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes `\040` and the like, with which the kernel escapes separators in a path (proc(5)).
pub(in crate::host) fn unescape(text: &[u8]) -> PathBuf {
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
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_looked_up_in_mountinfo() {
        let mounts = b"22 27 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
                      28 22 8:1 /sub /a\\040b rw - ext4 /dev/sda1 rw\n\
                      31 22 8:1 / / rw - ext4 /dev/sda1 rw\nbroken\n";
        let found: Vec<_> = places(mounts, 8 << 20 | 1).collect();
        let place =
            |mount_id, point: &str, is_whole| Place { mount_id, point: point.into(), is_whole };
        assert_eq!(found, [place(28, "/a b", false), place(31, "/", true)]);
        assert_eq!(places(mounts, 0x15).count(), 1);
        assert_eq!(places(mounts, 9).count(), 0);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for text in ["a\\", "a\\9", "\\99999", "ä\\134"] {
            assert_ne!(unescape(text.as_bytes()), PathBuf::new(), "{text}");
        }
        assert_eq!(unescape(b"\\134040"), PathBuf::from("\\040"));
        assert_eq!(unescape(b"/\xff").as_os_str().as_bytes(), b"/\xff");
    }
}
