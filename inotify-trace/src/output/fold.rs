//! Folds failures that repeat: a program that was refused tends to try again at once.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{BootTime, CgroupId, Comm, Event, EventKind, EventName},
    tracker::User,
    usage::Culprits,
};

use super::failure;

/// A failure is folded into an equal one if that came within this time, in nanoseconds; folded ones are
/// told once in this time.
const PAUSE: u64 = 1_000_000_000;

/// After this time, in nanoseconds, a failure that still repeats is shown in full again.
const AGAIN: u64 = 10 * PAUSE;

/// The most sorts of failures that are folded at once.
const SORTS: usize = 256;

/// What failures have in common that are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    name: EventName,
    comm: Comm,
    cgroup: CgroupId,
    errno: i32,
    user: Option<User>,
    /// Where no limit explains the failure, its path does.
    path: Option<Box<str>>,
}

impl Sort {
    fn of(event: &Event) -> Option<Self> {
        let (errno, path) = match &event.kind {
            EventKind::CreateFailed { errno, .. } => (*errno, None),
            EventKind::WatchFailed { errno, path, .. } => (*errno, path.clone()),
            _ => return None,
        };
        let task = event.task?;
        Some(Self {
            name: event.kind.name(),
            comm: task.comm,
            cgroup: task.cgroup,
            errno,
            user: Culprits::quota_of(event).map(|(user, _)| user),
            path: path.filter(|_| failure::limit(&event.kind).is_none()),
        })
    }
}

/// Failures that were folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// The number.
    pub(super) count: u64,
    /// The latest one.
    pub(super) last: Event,
    /// The time that they took, in nanoseconds.
    pub(super) span: u64,
}

#[derive(Debug)]
struct Burst {
    /// The time of the failure that was shown in full.
    shown: BootTime,
    /// The time of the latest line about it.
    told: BootTime,
    /// The time of the latest one.
    latest: BootTime,
    folded: Option<Folded>,
}

/// Failures that repeat.
#[derive(Debug, Default)]
pub(super) struct Folds {
    bursts: HashMap<Sort, Burst>,
}

impl Folds {
    /// Whether an event is folded, and not shown.
    pub(super) fn takes(&mut self, event: &Event) -> bool {
        let Some(sort) = Sort::of(event) else { return false };
        let now = event.time;
        if let Some(burst) = self.bursts.get_mut(&sort) {
            let goes_on = now.0 < burst.latest.0.saturating_add(PAUSE);
            if goes_on && now.0 < burst.shown.0.saturating_add(AGAIN) {
                burst.latest = now;
                let since = burst.told;
                let count = burst.folded.as_ref().map_or(0, |folded| folded.count) + 1;
                let span = now.0.saturating_sub(since.0);
                burst.folded = Some(Folded { count, last: event.clone(), span });
                return true;
            }
        } else if self.bursts.len() >= SORTS {
            return false;
        }
        self.bursts.insert(sort, Burst { shown: now, told: now, latest: now, folded: None });
        false
    }

    /// The folded failures that are to be told at `now`, oldest first.
    pub(super) fn due_at(&mut self, now: BootTime) -> Vec<Folded> {
        let mut all = Vec::new();
        self.bursts.retain(|_, burst| {
            if burst.folded.is_some() && now.0 >= burst.told.0.saturating_add(PAUSE) {
                burst.told = burst.latest;
                all.extend(burst.folded.take());
            }
            burst.folded.is_some() || now.0 < burst.latest.0.saturating_add(PAUSE)
        });
        all.sort_by_key(|folded| folded.last.time);
        all
    }

    /// All that are folded, at the end.
    pub(super) fn rest(&mut self) -> Vec<Folded> {
        self.due_at(BootTime(u64::MAX))
    }

    /// When folded failures are to be told next.
    pub(super) fn due(&self) -> Option<BootTime> {
        let waiting = self.bursts.values().filter(|burst| burst.folded.is_some());
        waiting.map(|burst| BootTime(burst.told.0.saturating_add(PAUSE))).min()
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::event::{EMFILE, ENOSPC, Quota, Task};

    use super::*;

    /// A failure after this many milliseconds.
    fn failure(milliseconds: u64, comm: &str, kind: EventKind) -> Event {
        let task = Task { pid: 7, comm: comm.into(), ..Task::default() };
        Event { time: BootTime((1_000_000 + milliseconds) * 1_000_000), task: Some(task), kind }
    }

    fn create(milliseconds: u64, comm: &str, errno: i32) -> Event {
        let quota = Some(Quota::own(128, 128, 0, 1));
        failure(milliseconds, comm, EventKind::CreateFailed { flags: 0, errno, quota, files: None })
    }

    fn watch(milliseconds: u64, path: &str, errno: i32) -> Event {
        let (path, quota) = (Some(path.into()), None);
        let kind = EventKind::WatchFailed { instance: None, fd: 3, path, mask: 2, errno, quota };
        failure(milliseconds, "node", kind)
    }

    fn counts(folded: &[Folded]) -> Vec<(u64, u64)> {
        folded.iter().map(|it| (it.count, it.span / 1_000_000)).collect()
    }

    #[test]
    fn a_storm_is_one_line_and_one_a_second() {
        let mut folds = Folds::default();
        let mut told = Vec::new();
        for at in 0..250 {
            let event = create(10 * at, "tail", EMFILE);
            told.extend(folds.due_at(event.time));
            assert_eq!(folds.takes(&event), at > 0);
        }
        assert_eq!(folds.due().unwrap().0 / 1_000_000, 1_000_000 + 1980 + 1000);
        told.extend(folds.rest());
        assert_eq!(counts(&told), [(99, 990), (99, 990), (51, 510)]);
        assert_eq!(folds.due(), None);
        // Long after, it is new.
        assert!(!folds.takes(&create(9000, "tail", EMFILE)));
    }

    #[test]
    fn what_differs_is_shown() {
        let mut folds = Folds::default();
        for event in [
            create(0, "tail", EMFILE),
            create(1, "less", EMFILE),
            create(2, "tail", libc::ENOMEM),
            watch(3, "/a", libc::ENOENT),
            watch(4, "/b", libc::ENOENT),
            watch(5, "/a", ENOSPC),
        ] {
            assert!(!folds.takes(&event), "{event:?}");
        }
        assert!(folds.takes(&watch(6, "/b", ENOSPC)), "the limit is the same");
        assert!(folds.takes(&watch(7, "/a", libc::ENOENT)));
        assert!(!folds.takes(&watch(1008, "/a", libc::ENOENT)), "a second later");
    }

    #[test]
    fn what_goes_on_is_shown_again_from_time_to_time() {
        let mut folds = Folds::default();
        let shown = (0..300).filter(|at| !folds.takes(&create(100 * at, "tail", EMFILE)));
        assert_eq!(shown.collect::<Vec<_>>(), [0, 100, 200]);
    }
}
