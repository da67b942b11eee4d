//! Failures, with equal ones together, and the holders of the instances or watches that were used
//! up.

use std::collections::{BTreeSet, HashMap};

use inotify_trace_model::{
    event::{BootTime, Comm, Event, EventKind, Files},
    findings::Exhausted,
    resource::Resource,
    story::Audience as _,
    tracker::{Tracker, User},
    usage::Culprits,
};

use super::places::{self, Key};
use crate::output::{Limit, Refusals, Refused, failed_files, failed_limit, is_own_failure};

/// The most sorts of failures that are kept apart.
const SORTS: usize = 500;

/// The most process ids and paths that are kept of each sort.
const EXAMPLES: usize = 3;

/// The properties that failures of one sort share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    comm: Comm,
    place: Key,
    resource: Resource,
    errno: i32,
    limit: Option<Limit>,
    user: Option<User>,
}

/// Failures of one program in one place for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The program, as the kernel keeps its name.
    pub comm: String,
    /// The container, or cgroup where there is none.
    pub place: String,
    /// The resource that was refused.
    pub resource: Resource,
    /// The reason, as a positive errno.
    pub errno: i32,
    /// The limit that was hit, if there is one.
    pub limit: Option<Limit>,
    /// The open files at the last of them, if that was for lack of these.
    pub files: Option<Files>,
    /// The user whose quota was used up, if it was a quota.
    pub refused: Option<User>,
    /// The number of failures.
    pub count: u64,
    /// The first time.
    pub first: BootTime,
    /// The last time.
    pub last: BootTime,
    /// Some of the processes that failed.
    pub pids: BTreeSet<u32>,
    /// Some of the paths that could not be watched.
    pub paths: BTreeSet<Box<str>>,
}

/// A limit that was reached, and its culprits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of failures.
    pub count: u64,
    /// The first time.
    pub first: BootTime,
    /// The last time.
    pub last: BootTime,
    /// The time of the last search for culprits.
    pub blamed: BootTime,
    /// The culprits at that time.
    pub by: Exhausted,
}

#[derive(Debug, Default)]
pub(super) struct Failures {
    sorts: HashMap<Sort, Failure>,
    refusals: Refusals,
    /// Failures of sorts that are not kept.
    pub(super) others: u64,
}

impl Failures {
    /// Counts an event that `tracker` has just taken in.
    pub(super) fn add(&mut self, event: &Event, tracker: &Tracker) {
        if is_own_failure(event, tracker) {
            return;
        }
        let resource = event.kind.counts();
        let (errno, path) = match &event.kind {
            EventKind::CreateFailed { errno, .. } => (*errno, None),
            EventKind::WatchFailed { errno, path, .. } => (*errno, path.as_ref()),
            _ => return,
        };
        let limit = failed_limit(&event.kind);
        let task = event.task.unwrap_or_default();
        let place = Key::of(task.cgroup, tracker.cgroups());
        let user = Culprits::quota_of(event).map(|(user, _)| user);
        let sort = Sort { comm: task.comm, place, resource, errno, limit, user };
        if self.sorts.len() >= SORTS && !self.sorts.contains_key(&sort) {
            self.others += 1;
        } else {
            let failure = self.sorts.entry(sort).or_insert_with(|| Failure {
                comm: task.comm.to_str().into_owned(),
                place: String::new(),
                resource,
                errno,
                limit,
                files: None,
                refused: user,
                count: 0,
                first: event.time,
                last: event.time,
                pids: BTreeSet::new(),
                paths: BTreeSet::new(),
            });
            if failure.count == 0 {
                failure.place = places::name(task.cgroup, tracker.cgroups());
            }
            failure.count += 1;
            failure.last = event.time;
            failure.files = failed_files(&event.kind);
            if failure.pids.len() < EXAMPLES {
                failure.pids.insert(task.pid);
            }
            if let Some(path) = path.filter(|_| failure.paths.len() < EXAMPLES) {
                failure.paths.insert(path.clone());
            }
        }
        let Ok(()) = self.refusals.event(event, tracker);
    }

    /// Failures at a limit first, and of these the most frequent.
    pub(super) fn sorted(&self) -> Vec<Failure> {
        let mut all: Vec<_> = self.sorts.values().cloned().collect();
        all.sort_by_key(|it| {
            (it.limit.is_none(), std::cmp::Reverse(it.count), it.first, it.comm.clone())
        });
        all
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |it: &Refused| {
            let Refused { count, first, last, looked, .. } = *it;
            Some(Refusal { count, first, last, blamed: looked, by: it.exhausted.clone()? })
        };
        let mut all: Vec<_> = self.refusals.latest().into_iter().filter_map(refusal).collect();
        all.sort_by_key(|it| (std::cmp::Reverse(it.count), it.by.user, it.by.resource));
        all
    }
}
