//! Where what is watched is now: from the device and handle that fdinfo tells to a path.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{FileHandle, WatchInfo};

/// What became of a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is here.
    Path(PathBuf),
    /// It is gone.
    Gone,
    /// Its file system can't say: overlayfs, for one.
    Unknown,
}

/// Finds paths. Keeps one descriptor for each file system it has looked at.
#[derive(Debug, Default)]
pub struct Targets {
    mounts: HashMap<u32, Option<Mount>>,
}

/// A file system that is mounted somewhere.
#[derive(Debug)]
struct Mount {
    root: File,
    /// Whether it finds files by their handles; if not, that it finds none means nothing.
    finds: bool,
}

impl Targets {
    /// Where the target of a watch is now, as seen from here or, for what is mounted only there,
    /// from the mount namespace of `holder`.
    pub fn find(&mut self, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let Some(handle) = &watch.handle else { return Whereabouts::Unknown };
        let mount = self.mounts.entry(watch.dev).or_insert_with(|| {
            Mount::of(watch.dev, "/proc/self").or_else(|| {
                // Found anew for each holder: another may see what this one does not.
                Mount::of(watch.dev, &format!("/proc/{holder}"))
            })
        });
        let Some(mount) = mount else {
            self.mounts.remove(&watch.dev);
            return Whereabouts::Unknown;
        };
        match handle.path(&mount.root) {
            Ok(path) => match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
                Some(_) => Whereabouts::Gone,
                None => Whereabouts::Path(path),
            },
            Err(error) if mount.finds && error.raw_os_error() == Some(libc::ESTALE) => {
                Whereabouts::Gone
            }
            Err(_) => Whereabouts::Unknown,
        }
    }
}

impl Mount {
    /// A mount of the file system on device `dev` (major << 20 | minor) that the process at
    /// `process` sees.
    fn of(dev: u32, process: &str) -> Option<Self> {
        let mounts = fs::read_to_string(format!("{process}/mountinfo")).ok()?;
        let root = PathBuf::from(format!("{process}/root"));
        let open = |point: String| Self::open(&root.join(point.trim_start_matches('/'))).ok();
        places(&mounts, dev).filter_map(open).next()
    }

    fn open(point: &Path) -> io::Result<Self> {
        let root = File::open(point)?;
        let finds = FileHandle::of(&root).and_then(|handle| handle.path(&root)).is_ok();
        Ok(Self { root, finds })
    }
}

/// Where the text of a mountinfo file says a device is mounted (proc_pid_mountinfo(5)).
fn places(mounts: &str, dev: u32) -> impl Iterator<Item = String> {
    let device = format!("{}:{}", dev >> 20, dev & 0xf_ffff);
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        (fields.nth(2)? == device).then(|| unescape(fields.nth(1).unwrap_or_default()))
    })
}

/// Undoes `\040` and the like, by which the kernel writes what would end a field.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_looked_up_in_mountinfo() {
        let mounts = "22 27 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
                      28 22 8:1 /sub /a\\040b rw - ext4 /dev/sda1 rw\n\
                      31 22 8:1 / / rw - ext4 /dev/sda1 rw\nbroken\n";
        let found: Vec<_> = places(mounts, 8 << 20 | 1).collect();
        assert_eq!(found, ["/a b", "/"]);
        assert_eq!(places(mounts, 0x15).count(), 1);
        assert_eq!(places(mounts, 9).count(), 0);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for text in ["a\\", "a\\9", "\\99999", "ä\\134"] {
            assert!(!unescape(text).is_empty(), "{text}");
        }
        assert_eq!(unescape("\\134040"), "\\040");
    }
}
