//! What a recording says of the machine it was made on.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
};

use super::wire;
use crate::{
    event::BootTime,
    limits::{Source, Sysctls, files::Root},
    output::{Clock, UserNames},
};

/// What a recording says of the machine it was made on, and of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The version of inotify-trace that wrote it.
    pub tool_version: String,
    /// The same in all files of a run, and in no others.
    pub run: u64,
    /// Which of the run's files this is, from 0.
    pub sequence: u32,
    /// The machine's name; in Kubernetes, the node's.
    pub host: String,
    /// Its kernel, as `uname -r` has it.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When it booted, in nanoseconds since 1970, as seen when the run began.
    pub booted: i64,
    /// When the file begins.
    pub started: BootTime,
    /// How inotify was hooked.
    pub backend: String,
    /// The command that recorded.
    pub command: Vec<String>,
    /// What the backend could not see.
    pub unseen: Vec<String>,
    /// Names of users, by uid.
    pub users: BTreeMap<u32, String>,
    /// Limits, live and as configured.
    pub sysctls: Sysctls,
    /// Nothing is missing between the run's file before and this one.
    pub continues: bool,
}

impl Header {
    /// Of this machine at this moment, whose files are below `root`.
    #[must_use]
    pub fn of_this_machine(root: &Path, clock: &Clock, started: BootTime) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy().into_owned();
        Self {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            run: RandomState::new().build_hasher().finish(),
            sequence: 0,
            // A pod's host name is its own; manifests hand over the node's in this variable.
            host: std::env::var("NODE_NAME").ok().filter(|it| !it.is_empty()).unwrap_or(host),
            kernel: name.release().to_string_lossy().into_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            booted: clock.booted(),
            started,
            backend: String::new(),
            command: std::env::args_os().map(|it| it.to_string_lossy().into_owned()).collect(),
            unseen: Vec::new(),
            users: UserNames::of_this_machine().into_map(),
            // What cannot be read is not known; `limits` is there to say so.
            sysctls: Root::new(root).sysctls().0.about_inotify(),
            continues: false,
        }
    }

    /// A clock that shows what the machine's own did.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::of_machine_booted(self.booted)
    }

    /// What users were called there.
    #[must_use]
    pub fn user_names(&self) -> UserNames {
        UserNames::from_map(self.users.clone())
    }

    pub(super) fn to_wire(&self) -> wire::Header {
        let it = self.clone();
        wire::Header {
            tool_version: it.tool_version,
            run: it.run,
            sequence: it.sequence,
            host: it.host,
            kernel: it.kernel,
            boot_id: it.boot_id,
            booted: it.booted,
            started: it.started.0,
            backend: it.backend,
            command: it.command,
            unseen: it.unseen,
            users: it.users.into_iter().map(|(uid, name)| wire::UserName { uid, name }).collect(),
            sysctls: Some(to_wire(it.sysctls)),
            continues: it.continues,
        }
    }

    pub(super) fn from_wire(it: wire::Header) -> Self {
        Self {
            tool_version: it.tool_version,
            run: it.run,
            sequence: it.sequence,
            host: it.host,
            kernel: it.kernel,
            boot_id: it.boot_id,
            booted: it.booted,
            started: BootTime(it.started),
            backend: it.backend,
            command: it.command,
            unseen: it.unseen,
            users: it.users.into_iter().map(|user| (user.uid, user.name)).collect(),
            sysctls: it.sysctls.map(from_wire).unwrap_or_default(),
            continues: it.continues,
        }
    }
}

fn to_wire(sysctls: Sysctls) -> wire::Sysctls {
    let [max_user_instances, max_user_watches, max_queued_events] = sysctls.live;
    let file = |it: Source| wire::SysctlFile {
        path: it.path.to_string_lossy().into_owned(),
        text: it.text,
    };
    wire::Sysctls {
        max_user_instances,
        max_user_watches,
        max_queued_events,
        files: sysctls.files.into_iter().map(file).collect(),
        ends_with_sysctl_conf: sysctls.ends_with_sysctl_conf,
    }
}

fn from_wire(sysctls: wire::Sysctls) -> Sysctls {
    let file = |it: wire::SysctlFile| Source { path: it.path.into(), text: it.text };
    Sysctls {
        live: [sysctls.max_user_instances, sysctls.max_user_watches, sysctls.max_queued_events],
        files: sysctls.files.into_iter().map(file).collect(),
        ends_with_sysctl_conf: sysctls.ends_with_sysctl_conf,
    }
}
