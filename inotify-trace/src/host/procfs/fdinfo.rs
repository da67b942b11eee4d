//! `/proc/PID/fdinfo/FD` of an inotify descriptor (`fs/notify/fdinfo.c`).

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::FileHandle;

/// The fdinfo of an inotify descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdInfo {
    /// Flags of the descriptor (`O_*`, which `IN_NONBLOCK` and `IN_CLOEXEC` equal).
    pub flags: u32,
    /// Its instance's watches, in the kernel's order: newest first.
    pub watches: Vec<WatchInfo>,
}

/// One watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchInfo {
    /// Watch descriptor.
    pub wd: i32,
    /// Inode number of the target.
    pub inode: u64,
    /// Device of the target in the kernel's own encoding (major << 20 | minor).
    pub dev: u32,
    /// The events it waits for (`IN_*`).
    pub mask: u32,
    /// The target's file handle; None if its file system has none, or the target is gone.
    pub handle: Option<FileHandle>,
}

impl FdInfo {
    /// Reads the file, line by line: a million watches are 130 MB of text. Unknown lines and fields are
    /// skipped: kernels add some.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(mut file: impl BufRead) -> io::Result<Self> {
        let (mut info, mut line) = (Self::default(), Vec::new());
        while file.read_until(b'\n', &mut line)? > 0 {
            info.add(str::from_utf8(&line).unwrap_or_default());
            line.clear();
        }
        Ok(info)
    }

    fn add(&mut self, line: &str) {
        if let Some(flags) = line.strip_prefix("flags:") {
            self.flags = u32::from_str_radix(flags.trim(), 8).unwrap_or_default();
        } else if let Some(watch) = line.strip_prefix("inotify ") {
            self.watches.extend(WatchInfo::parse(watch));
        }
    }
}

impl WatchInfo {
    /// Parses `wd:1 ino:528 sdev:19 mask:2 ...`, all hexadecimal; proc(5) is wrong about `wd`. None
    /// without a watch descriptor.
    fn parse(line: &str) -> Option<Self> {
        let mut watch = Self { wd: -1, ..Self::default() };
        let mut kind = None;
        for (name, value) in line.split_ascii_whitespace().filter_map(|word| word.split_once(':')) {
            match name {
                "wd" => watch.wd = i32::from_str_radix(value, 16).ok()?,
                "ino" => watch.inode = u64::from_str_radix(value, 16).ok()?,
                "sdev" => watch.dev = u32::from_str_radix(value, 16).ok()?,
                "mask" => watch.mask = u32::from_str_radix(value, 16).ok()?,
                "fhandle-type" => kind = i32::from_str_radix(value, 16).ok(),
                "f_handle" => {
                    let bytes = unhex(value);
                    let handle = |(kind, bytes)| FileHandle { kind, bytes };
                    watch.handle = kind.zip(bytes).map(handle);
                }
                _ => {}
            }
        }
        (watch.wd >= 0).then_some(watch)
    }
}

/// Parses bytes of two hexadecimal digits each.
fn unhex(text: &str) -> Option<Box<[u8]>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        // From a containerd shim on Linux 5.10; 6.x adds the `ino:` line and drops `ignored_mask`.
        let text = "pos:\t0\nflags:\t02004000\nmnt_id:\t14\nino:\t1057\n\
                    inotify wd:2 ino:528 sdev:19 mask:2 ignored_mask:0 fhandle-bytes:8 \
                    fhandle-type:fe f_handle:2805000001000000\n\
                    inotify wd:1a ino:9e7e sdev:800013 mask:800afce ignored_mask:0\n";
        let info = FdInfo::read(text.as_bytes()).unwrap();
        assert_eq!(info.flags, 0o2_004_000);
        let bytes = [0x28, 0x05, 0, 0, 1, 0, 0, 0];
        let handle = Some(FileHandle { kind: 0xfe, bytes: bytes.into() });
        assert_eq!(
            info.watches,
            [
                WatchInfo { wd: 2, inode: 0x528, dev: 0x19, mask: 2, handle },
                WatchInfo {
                    wd: 26,
                    inode: 0x9e7e,
                    dev: 0x80_0013,
                    mask: 0x0800_afce,
                    handle: None
                },
            ]
        );
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        for text in ["", "flags:\tx\n", "inotify \n", "inotify wd:-1 ino:5\n", "inotify ino:zz\n"] {
            assert_eq!(FdInfo::read(text.as_bytes()).unwrap(), FdInfo::default(), "{text:?}");
        }
    }
}
