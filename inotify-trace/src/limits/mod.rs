//! inotify's limits: live and configured values, the rate at which they are used up, and recommended
//! values.
//!
//! Everything but [`files`] and the writing in [`apply`] is pure.

pub mod apply;
pub mod files;
pub mod kubelet;
mod pace;
mod rate;
mod recommend;
mod sysctl;

use std::{io, path::PathBuf};

pub use pace::{Pace, Samples};
pub use rate::{Changes, Counted, Rate};
pub use recommend::{
    DEFAULT_PODS, Floor, INSTANCE_BYTES, Pods, PodsFrom, QUEUED_EVENT_BYTES, Recommendation, Seen,
    Sizing, WATCH_BYTES, recommend,
};
pub use sysctl::{Assignment, Configured, Source, State, configured, in_order};

use inotify_trace_model::{
    tracker::{Tracker, User},
    usage::{self, Level, Standing},
};

/// A sysctl of inotify's (`fs/notify/inotify/inotify_user.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// Instances that each user may have.
    Instances,
    /// Watches that each user may have.
    Watches,
    /// Events that may wait in each instance.
    QueuedEvents,
}

impl Sysctl {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Instances, Self::Watches, Self::QueuedEvents];

    /// As sysctl(8) names it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Instances => "fs.inotify.max_user_instances",
            Self::Watches => "fs.inotify.max_user_watches",
            Self::QueuedEvents => "fs.inotify.max_queued_events",
        }
    }

    /// Its path below `/proc/sys`.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.paths()[0]
    }

    /// The paths of the same variable, its own first: in the initial user namespace, the limits of user namespaces
    /// are those of inotify (`kernel/ucount.c`).
    #[must_use]
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Instances => &["fs/inotify/max_user_instances", "user/max_inotify_instances"],
            Self::Watches => &["fs/inotify/max_user_watches", "user/max_inotify_watches"],
            Self::QueuedEvents => &["fs/inotify/max_queued_events"],
        }
    }
}

/// The errors of reading or changing a limit.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), next_step(source, path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), next_step(source, path))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of `/proc/sys` holds no number.
    #[error("{} holds {text:?} where a number was expected: is it the kernel's file?", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
    },
    /// The value read back differs from the one written.
    #[error(
        "{} was set to {wanted} and reads {found}: something else sets it too; look for programs \
         that manage sysctls (tuned, a node agent), and try again",
        path.display()
    )]
    NotKept {
        /// The file.
        path: PathBuf,
        /// The value written.
        wanted: u64,
        /// The value read back.
        found: u64,
    },
    /// The drop-in file is no plain file, or not text.
    #[error(
        "{} is {what}, which would be lost: move it away, or write the settings to another file",
        path.display()
    )]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// Its kind.
        what: &'static str,
    },
}

/// The remedy for an error of the file system.
fn next_step(error: &io::Error, path: &std::path::Path) -> &'static str {
    let is_sysctl = path.components().any(|part| part.as_os_str() == "proc");
    match error.kind() {
        io::ErrorKind::PermissionDenied if is_sysctl => {
            ": run it with sudo, outside of containers (theirs is read-only)"
        }
        io::ErrorKind::PermissionDenied => ": run it with sudo",
        io::ErrorKind::ReadOnlyFilesystem if is_sysctl => {
            ": in a container /proc/sys is read-only; run it on the host"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ": this system's configuration is part of its image; set it there"
        }
        io::ErrorKind::NotFound if is_sysctl => {
            ": the kernel has no inotify (CONFIG_INOTIFY_USER), or /proc is not mounted"
        }
        _ => "",
    }
}

/// The sysctls of a machine: live values, and the files that set them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// The live values, in the order of [`Sysctl::ALL`]; None if unreadable.
    pub live: [Option<u64>; 3],
    /// The files, in the order in which `sysctl --system` reads them.
    pub files: Vec<Source>,
    /// Whether the last of them is `/etc/sysctl.conf`, which systemd-sysctl does not read.
    pub ends_with_sysctl_conf: bool,
}

impl Sysctls {
    /// The setting of each.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let setting =
            |(&sysctl, &live)| Setting::new(sysctl, live, &self.files, self.ends_with_sysctl_conf);
        Sysctl::ALL.iter().zip(&self.live).map(setting).collect()
    }

    /// The same without lines on other sysctls; lines keep their numbers.
    #[must_use]
    pub fn about_inotify(mut self) -> Self {
        let is_about = |line: &&str| Sysctl::ALL.iter().any(|&it| sysctl::is_about(line, it));
        for file in &mut self.files {
            let lines = file.text.lines().map(|line| Some(line).filter(is_about).unwrap_or(""));
            file.text = lines.collect::<Vec<_>>().join("\n").trim_end().to_owned();
        }
        self
    }
}

/// A sysctl, live and in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The sysctl.
    pub sysctl: Sysctl,
    /// Its live value; None if unreadable.
    pub live: Option<u64>,
    /// The value that `sysctl --system` would set.
    pub configured: Configured,
    /// The value that systemd-sysctl would set, if different: it does not read `/etc/sysctl.conf`.
    pub at_boot: Option<Configured>,
}

impl Setting {
    /// The setting of a sysctl in files, which are in the order in which they are read; the last of
    /// them is `/etc/sysctl.conf` if `ends_with_sysctl_conf`.
    #[must_use]
    pub fn new(
        sysctl: Sysctl,
        live: Option<u64>,
        sources: &[Source],
        ends_with_sysctl_conf: bool,
    ) -> Self {
        let all = configured(sources, sysctl);
        let without_last = sources.split_last().map(|(_, rest)| rest).unwrap_or_default();
        let at_boot = ends_with_sysctl_conf
            .then(|| configured(without_last, sysctl))
            .filter(|at_boot| at_boot.value() != all.value());
        Self { sysctl, live, configured: all, at_boot }
    }

    /// Compares the live with the configured value.
    #[must_use]
    pub fn state(&self) -> State {
        State::of(self.live, &self.configured)
    }

    /// The lowest value to recommend: no less than the live or configured one.
    #[must_use]
    pub fn floor(&self) -> Floor {
        Floor { live: self.live, configured: self.configured.value() }
    }
}

/// Settings as they were read, with the limits that users have by now: a value may have been set
/// since.
#[must_use]
pub fn as_of(tracker: &Tracker, mut settings: Vec<Setting>) -> Vec<Setting> {
    let standings = usage::standings(tracker);
    let here = || standings.iter().filter(|(user, _)| user.userns == User::INITIAL);
    for setting in &mut settings {
        let limit = match setting.sysctl {
            Sysctl::Instances => here().filter_map(|(_, it)| it.instances).map(|it| it.limit).max(),
            Sysctl::Watches => here().filter_map(|(_, it)| it.watches).map(|it| it.limit).max(),
            Sysctl::QueuedEvents => None,
        };
        setting.live = limit.map(u64::from).or(setting.live);
    }
    settings
}

/// Whether at least `percent` of a limit is used.
#[must_use]
pub fn reaches(level: Level, percent: u32) -> bool {
    u64::from(level.used) * 100 >= u64::from(level.limit) * u64::from(percent)
}

/// Whether a user has used at least `percent` of a limit of instances or watches.
#[must_use]
pub fn is_over(standing: &Standing, percent: u32) -> bool {
    [standing.instances, standing.watches].into_iter().flatten().any(|it| reaches(it, percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_reached_exactly() {
        let level = |used, limit| Level { used, limit };
        for (used, limit, percent, expected) in [
            (80, 100, 80, true),
            (79, 100, 80, false),
            (103, 128, 80, true),
            (102, 128, 80, false),
            (200, 128, 100, true),
            (0, 128, 1, false),
            // A limit of zero is used up.
            (0, 0, 80, true),
            (u32::MAX, u32::MAX, 100, true),
        ] {
            assert_eq!(
                reaches(level(used, limit), percent),
                expected,
                "{used}/{limit} at {percent}"
            );
        }
    }

    #[test]
    fn either_limit_counts() {
        let full = Some(Level { used: 9, limit: 10 });
        let free = Some(Level { used: 1, limit: 10 });
        let standing = |instances, watches| Standing { instances, watches, ..Standing::default() };
        assert!(is_over(&standing(full, free), 90));
        assert!(is_over(&standing(free, full), 90));
        assert!(!is_over(&standing(free, free), 90));
        assert!(!is_over(&standing(None, None), 90));
    }

    #[test]
    fn sysctl_conf_alone_is_not_read_at_boot() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [
            source("/etc/sysctl.d/10.conf", "fs.inotify.max_user_instances=256"),
            source("/etc/sysctl.conf", "fs.inotify.max_user_instances=512"),
        ];
        let setting = Setting::new(Sysctl::Instances, Some(256), &sources, true);
        assert_eq!(setting.configured.value(), Some(512));
        assert_eq!(setting.at_boot.map(|it| it.value()), Some(Some(256)));
        // With Debian's 99-sysctl.conf, a link to it, both agree.
        let sources = [sources[0].clone(), sources[1].clone(), sources[1].clone()];
        let setting = Setting::new(Sysctl::Instances, Some(256), &sources, true);
        assert_eq!((setting.at_boot.clone(), setting.floor().value()), (None, 512));
    }
}
