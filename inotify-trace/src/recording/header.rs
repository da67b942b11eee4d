//! The header of a recording.

use std::collections::BTreeMap;

use inotify_trace_model::{clock::Clock, event::BootTime};

use super::wire;
use crate::{
    limits::{Source, Sysctls},
    zone::zone,
};

/// The header of a recording's file: the machine, the run and the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The version of inotify-trace that wrote it.
    pub tool_version: String,
    /// The same in all files of a run, and in no others.
    pub run: u64,
    /// The number of the file in the run, from 0.
    pub sequence: u32,
    /// The machine's name; in Kubernetes, the node's.
    pub host: String,
    /// A hash of `/etc/machine-id`, which tells it from others of that name; empty if unknown.
    pub machine: String,
    /// Its kernel, as `uname -r` prints it.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When it booted, in nanoseconds since 1970, calculated when the run began.
    pub booted: i64,
    /// When the file begins.
    pub started: BootTime,
    /// The backend.
    pub backend: String,
    /// The command line of the recorder.
    pub command: Vec<String>,
    /// The features that the backend lacked.
    pub unseen: Vec<String>,
    /// Names of users, by uid.
    pub users: BTreeMap<u32, String>,
    /// Limits, live and as configured.
    pub sysctls: Sysctls,
    /// Whether no events are missing between the run's previous file and this one.
    pub continues: bool,
}

impl Header {
    /// A clock that shows the machine's times in the reader's time zone.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::of_machine_booted(self.booted, zone())
    }

    /// Sentences on what the backend did not see.
    pub(crate) fn not_seen(&self) -> impl Iterator<Item = String> + '_ {
        self.unseen.iter().map(|unseen| format!("Not seen on that kernel: {unseen}."))
    }

    /// The end of a sentence on what came before; None if this is the first file of its run.
    pub(crate) fn begins_later(&self) -> Option<String> {
        let sequence = self.sequence;
        (sequence > 0).then(|| {
            format!("the first file given is number {sequence} of its run, counted from 0.")
        })
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
            machine: it.machine,
        }
    }

    pub(super) fn from_wire(it: wire::Header) -> Self {
        Self {
            tool_version: it.tool_version,
            run: it.run,
            sequence: it.sequence,
            host: it.host,
            machine: it.machine,
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
