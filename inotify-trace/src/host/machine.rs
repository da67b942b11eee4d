//! This machine: its clocks, and the header of its recordings.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::unix::fs::FileExt as _,
    path::Path,
};

use hmac::{Hmac, Mac as _};
use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Files},
};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use sha2::Sha256;

use super::{confined, users};
use crate::{limits::files::Root, recording::Header, zone::zone};

/// The application that machines' ids are hashed for: recordings.
const RECORDINGS: u128 = 0x1091_d41f_55aa_4256_bf88_e51a_858c_500f;

/// The current time, in the clock of events.
#[must_use]
pub fn now() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    BootTime(seconds * 1_000_000_000 + nanoseconds)
}

/// The open files of the machine. What says how many there are stays open, since at their limit no
/// other file can be opened.
#[derive(Debug)]
pub struct OpenFiles(Option<File>);

impl OpenFiles {
    /// Opens it.
    #[must_use]
    pub fn open() -> Self {
        Self(File::open("/proc/sys/fs/file-nr").ok())
    }

    /// How many there are, and their limit; None if that cannot be read.
    #[must_use]
    pub fn count(&self) -> Option<Files> {
        let mut bytes = [0; 128];
        let length = self.0.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let text = str::from_utf8(bytes.get(..length)?).ok()?;
        // Allocated, unused (always 0 since Linux 2.6), and the limit: proc(5).
        let mut numbers = text.split_whitespace().map(str::parse);
        let (used, _, limit) = (numbers.next()?.ok()?, numbers.next(), numbers.next()?.ok()?);
        Some(Files { used: Some(used), limit })
    }
}

/// A clock for this machine, in its time zone.
#[must_use]
pub fn clock() -> Clock {
    let since_boot = clock_gettime(ClockId::Boottime);
    let nanoseconds = i32::try_from(since_boot.tv_nsec).unwrap_or_default();
    let booted = Timestamp::now() - SignedDuration::new(since_boot.tv_sec, nanoseconds);
    Clock::new(booted, zone())
}

/// The machine's name.
#[must_use]
pub fn host_name() -> String {
    // In a pod, the host name is the pod's; manifests pass the node's in this variable.
    std::env::var("NODE_NAME")
        .ok()
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// What recordings call the machine whose files are below `root`, whatever its host name: a hash of its
/// machine-id(5), which itself is to stay on the machine. Empty if it has none.
fn hash_of_machine_id(root: &Path) -> String {
    let file = confined::read(root, Path::new("etc/machine-id"), 64).unwrap_or_default();
    // A machine that is booting for the first time has a word there.
    let digits = str::from_utf8(&file).map_or("", str::trim);
    let is_one = digits.len() == 32 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let id = u128::from_str_radix(digits, 16).ok().filter(|&id| is_one && id != 0);
    id.and_then(hash_of).map_or_else(String::new, |hash| format!("{hash:032x}"))
}

/// As sd_id128_get_machine_app_specific(3) hashes it: a UUID of version 4.
fn hash_of(machine_id: u128) -> Option<u128> {
    let mut hash = Hmac::<Sha256>::new_from_slice(&machine_id.to_be_bytes()).ok()?;
    hash.update(&RECORDINGS.to_be_bytes());
    let hash = u128::from_be_bytes(*hash.finalize().into_bytes().first_chunk()?);
    let (version, variant) = (0xf << 76, 0b11 << 62);
    Some(hash & !version & !variant | 4 << 76 | 0b10 << 62)
}

/// The header of a recording that begins at this moment on this machine, whose files are below
/// `root`.
#[must_use]
pub fn header(root: &Path, clock: &Clock, started: BootTime) -> Header {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let name = rustix::system::uname();
    Header {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        run: RandomState::new().build_hasher().finish(),
        sequence: 0,
        host: host_name(),
        machine: hash_of_machine_id(root),
        kernel: name.release().to_string_lossy().into_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        booted: clock.booted(),
        started,
        backend: String::new(),
        command: std::env::args_os().map(|it| it.to_string_lossy().into_owned()).collect(),
        unseen: Vec::new(),
        users: users(),
        // Unreadable values are left out here; `inotify-trace limits` reports them.
        sysctls: Root::new(root).sysctls().0.about_inotify(),
        continues: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_s_id_is_hashed_as_systemd_does_it() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/machine-id");
        fs::create_dir(root.path().join("etc")).unwrap();
        assert_eq!(hash_of_machine_id(root.path()), "");
        for (id, hash) in [
            // What systemd-id128 says of these with --app-specific=1091d41f55aa4256bf88e51a858c500f.
            ("0123456789abcdef0123456789abcdef\n", "e6fe4fa855d14d6eb523bebc385471cd"),
            ("", ""),
            ("uninitialized\n", ""),
            ("00000000000000000000000000000000\n", ""),
            ("1234\n", ""),
            ("+1234567890123456789012345678901\n", ""),
        ] {
            fs::write(&file, id).unwrap();
            assert_eq!(hash_of_machine_id(root.path()), hash, "{id}");
        }
        fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(hash_of_machine_id(root.path()), "");
    }
}
