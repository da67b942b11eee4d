//! This machine: its clocks, and the header of its recordings.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::unix::fs::FileExt as _,
    path::Path,
};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Files},
};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use super::users;
use crate::{limits::files::Root, recording::Header, zone::zone};

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
