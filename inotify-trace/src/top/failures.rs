//! Calls that failed, in groups.

use std::collections::BTreeMap;

use inotify_trace_model::{
    event::{BootTime, CgroupId, Comm, Event, EventKind},
    resource::Resource,
    tracker::{Tracker, User},
    usage::Culprits,
};

use crate::output::{Limit, failed_limit, is_own_failure, words};

/// How many groups are told apart.
const MOST: usize = 1000;

/// What failures of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    comm: Comm,
    cgroup: CgroupId,
    call: &'static str,
    reason: String,
    quota: Option<(User, Resource)>,
}

/// Equal failures of equal processes in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) id: u64,
    pub(super) comm: Comm,
    pub(super) cgroup: CgroupId,
    pub(super) call: &'static str,
    pub(super) reason: String,
    pub(super) quota: Option<(User, Resource)>,
    pub(super) limit: Option<Limit>,
    pub(super) first: BootTime,
    pub(super) last: BootTime,
    pub(super) count: u64,
    /// The last of them.
    pub(super) pid: Option<u32>,
    /// What else is known of the last of them.
    pub(super) explained: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    groups: BTreeMap<Alike, Failure>,
    /// How many there were, those in no group included.
    pub(super) total: u64,
}

impl Failures {
    pub(super) fn add(&mut self, event: &Event, tracker: &Tracker) {
        let Some(reason) = words::failed(&event.kind) else { return };
        if is_own_failure(event, tracker) {
            return;
        }
        self.total += 1;
        let task = event.task.unwrap_or_default();
        let call = match event.kind {
            EventKind::CreateFailed { .. } => "create",
            _ => "watch",
        };
        let quota = Culprits::quota_of(event);
        let (comm, cgroup) = (task.comm, task.cgroup);
        let alike = Alike { comm, cgroup, call, reason: reason.clone(), quota };
        let id = self.groups.len() as u64;
        if id >= MOST as u64 && !self.groups.contains_key(&alike) {
            return;
        }
        let limit = failed_limit(&event.kind);
        let group = self.groups.entry(alike).or_insert_with(|| Failure {
            id,
            comm,
            cgroup,
            call,
            reason,
            quota,
            limit,
            first: event.time,
            last: event.time,
            count: 0,
            pid: None,
            explained: None,
        });
        group.count += 1;
        group.last = event.time;
        group.pid = event.task.map(|task| task.pid).or(group.pid);
        group.explained = words::explained(event).or(group.explained.take());
    }

    /// The latest first.
    pub(super) fn latest(&self) -> Vec<&Failure> {
        let mut all: Vec<_> = self.groups.values().collect();
        all.sort_by_key(|it| std::cmp::Reverse((it.last, it.id)));
        all
    }
}
