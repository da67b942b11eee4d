//! What limits have refused, for `why` and for reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use inotify_trace_model::{
    event::{BootTime, Event, Task},
    feed::Batch,
    findings::Exhausted,
    resource::Resource,
    story::Audience,
    tracker::{Tracker, User},
    usage::Culprits,
};

use super::{Limit, failed_limit, is_own_failure};

/// For how long the holders (the search for which takes time with many instances) that were found at a refusal stand for those of the next ones.
const FRESH: Duration = Duration::from_secs(10);

/// How many limits are told apart: a recording may come from anywhere.
const MOST: usize = 1000;

/// The limit that refused: of a user, or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Quota(User, Resource),
    Descriptors(u32),
    Machine,
}

/// Refusals by one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The first of them.
    pub first: BootTime,
    /// The last of them.
    pub last: BootTime,
    /// The time of its batch: from then on a replay tells of it.
    pub told: BootTime,
    /// How many there were.
    pub count: u64,
    /// The last who was refused.
    pub task: Option<Task>,
    /// The user's quota at one of the last of them; None if it was no user's.
    pub exhausted: Option<Exhausted>,
    /// The limit.
    pub limit: Limit,
    /// When that was.
    pub looked: BootTime,
}

impl Refused {
    /// The user's quota that refused, if it was one.
    #[must_use]
    pub fn quota(&self) -> Option<(User, Resource)> {
        self.exhausted.as_ref().map(|it| (it.user, it.resource))
    }
}

/// Collects them.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    all: BTreeMap<Key, Refused>,
    /// Those of the batch that is not over.
    untold: BTreeSet<Key>,
}

impl Refusals {
    /// All of them, the latest first.
    #[must_use]
    pub fn latest(&self) -> Vec<&Refused> {
        let mut all: Vec<_> = self.all.values().collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.last));
        all
    }

    /// Those by a user's limit.
    #[must_use]
    pub fn of(&self, user: User, resource: Resource) -> Option<&Refused> {
        self.all.get(&Key::Quota(user, resource))
    }

    fn add(&mut self, key: Key, limit: Limit, event: &Event, tracker: &Tracker) {
        if self.all.len() >= MOST && !self.all.contains_key(&key) {
            return;
        }
        let new = Refused {
            first: event.time,
            last: event.time,
            told: event.time,
            count: 0,
            task: None,
            exhausted: None,
            limit,
            looked: event.time,
        };
        let refused = self.all.entry(key).or_insert(new);
        let is_stale = refused.count == 0 || event.time.since(refused.looked) >= FRESH;
        if is_stale && matches!(key, Key::Quota(..)) {
            refused.exhausted =
                Culprits::of(event, tracker).map(|culprits| Exhausted::by(&culprits, tracker));
            refused.looked = event.time;
        }
        refused.last = event.time;
        self.untold.insert(key);
        refused.count += 1;
        refused.task = event.task.or(refused.task);
    }
}

impl Audience for Refusals {
    type Error = Infallible;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), Infallible> {
        // What this tool was refused is nobody's trouble.
        if is_own_failure(event, tracker) {
            return Ok(());
        }
        let Some(limit) = failed_limit(&event.kind) else { return Ok(()) };
        let key = match (Culprits::quota_of(event), limit) {
            (Some((user, resource)), _) => Key::Quota(user, resource),
            (None, Limit::RlimitNofile) => Key::Descriptors(event.task.map_or(0, |it| it.pid)),
            (None, Limit::FileMax) => Key::Machine,
            // Which limit it was is not known.
            _ => return Ok(()),
        };
        self.add(key, limit, event, tracker);
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> Result<(), Infallible> {
        for key in std::mem::take(&mut self.untold) {
            if let Some(refused) = self.all.get_mut(&key) {
                refused.told = batch.time;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{
        event::{EventKind, Quota},
        testing::{Machine, at, task},
    };

    use super::*;

    #[test]
    fn what_this_tool_was_refused_does_not_count() {
        let machine = Machine::new();
        let mut refusals = Refusals::default();
        let mut fail = |seconds, pid, comm| {
            let quota = Some(Quota::own(128, 128, 0, 1));
            let kind =
                EventKind::CreateFailed { flags: 0, errno: libc::EMFILE, quota, files: None };
            let event = Event { time: at(seconds), task: Some(task(pid, comm)), kind };
            let Ok(()) = refusals.event(&event, &machine.0);
        };
        fail(1, 10, "tail");
        fail(2, 11, "inotify-trace");
        let latest = refusals.latest();
        let [refused] = latest[..] else { panic!("{latest:?}") };
        assert_eq!((refused.count, refused.last), (1, at(1)));
        assert_eq!(refused.task.map(|it| it.pid), Some(10));
    }
}
