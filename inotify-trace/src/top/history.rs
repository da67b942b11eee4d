//! What was held over the last minutes: for sparklines, and for the time that is left.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{BootTime, Level},
    resource::Resource,
    tracker::{Tracker, User},
    usage::{By, Key, groups},
};

use crate::limits::Rate;

/// How many samples are kept.
const SAMPLES: usize = 120;

/// The time over which a rate is told.
const RATED: Duration = Duration::from_secs(300);

/// A sample takes at most one part in so many of the time.
const SHARE: u32 = 50;

type Samples = VecDeque<(BootTime, u32)>;

/// Numbers of instances over time.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The least nanoseconds between samples.
    every: u64,
    next: BootTime,
    /// Of processes, containers and cgroups.
    groups: BTreeMap<Key, Samples>,
    charged: BTreeMap<(User, Resource), Samples>,
}

impl History {
    pub(super) fn new(every: Duration) -> Self {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        let (groups, charged) = (BTreeMap::new(), BTreeMap::new());
        Self { every, next: BootTime(0), groups, charged }
    }

    /// When to call [`sample`](Self::sample) next.
    pub(super) fn due(&self) -> BootTime {
        self.next
    }

    /// Takes a sample if it is time, and returns whether it was.
    pub(super) fn sample(&mut self, tracker: &Tracker, now: BootTime) -> bool {
        if now < self.next {
            return false;
        }
        let began = Instant::now();
        for (user, account) in tracker.users().iter() {
            for resource in [Resource::Instances, Resource::Watches] {
                let Some(level) = account.own(resource) else { continue };
                let samples = self.charged.entry((user, resource)).or_default();
                push(samples, now, level.used, usize::MAX);
                while samples.front().is_some_and(|(time, _)| now.since(*time) > RATED) {
                    samples.pop_front();
                }
            }
        }
        self.charged.retain(|(user, _), _| tracker.users().get(*user).is_some());
        let processes = tracker.processes().map(|process| {
            let held: BTreeSet<_> = process.descriptors.values().collect();
            (Key::Process(process.task.pid), held.len())
        });
        let places = groups(tracker, By::Container);
        let places = places.into_iter().map(|it| (it.key, it.instances.len()));
        for (key, count) in processes.chain(places) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            push(self.groups.entry(key).or_default(), now, count, SAMPLES);
        }
        let is_held = |samples: &Samples| samples.back().is_some_and(|(time, _)| *time == now);
        self.groups.retain(|_, samples| is_held(samples));
        let cost = began.elapsed() * SHARE;
        let rest = self.every.max(u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX));
        self.next = BootTime(now.0.saturating_add(rest));
        true
    }

    /// The instances of a group over time.
    pub(super) fn of(&self, key: &Key) -> Option<&Samples> {
        if let Key::User(Some(user)) = key {
            return self.charged.get(&(*user, Resource::Instances));
        }
        self.groups.get(key)
    }

    /// The time until a limit is reached, if there is a rate to tell.
    pub(super) fn left(&self, user: User, resource: Resource, level: Level) -> Option<Duration> {
        let samples = self.charged.get(&(user, resource))?;
        let (&(from, then), &(to, now)) = (samples.front()?, samples.back()?);
        let (created, released) = (now.into(), then.into());
        Rate { created, released, during: to.since(from) }.time_left(level)
    }
}

fn push(samples: &mut Samples, now: BootTime, count: u32, most: usize) {
    if samples.len() >= most {
        samples.pop_front();
    }
    samples.push_back((now, count));
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{
        event::{Charge, EventKind},
        testing::{Machine, at, shim},
    };

    use super::*;

    #[test]
    fn what_was_held_is_remembered_while_it_is_held() {
        let (mut machine, mut history) = (Machine::new(), History::new(Duration::from_secs(1)));
        machine.create(0, shim(), 1);
        for second in 1..=200 {
            if second == 150 {
                machine.create(second, shim(), 2);
            }
            history.next = at(second);
            history.sample(&machine.0, at(second));
        }
        let samples = history.of(&Key::Process(100)).unwrap();
        assert_eq!((samples.len(), samples[0].1, samples[SAMPLES - 1].1), (SAMPLES, 1, 2));
        machine.release(201, shim(), 1).release(201, shim(), 2);
        history.next = at(201);
        history.sample(&machine.0, at(201));
        assert_eq!(history.of(&Key::Process(100)), None);
    }

    #[test]
    fn time_is_left_where_a_rate_is_told_and_nowhere_else() {
        let (mut machine, mut history) = (Machine::new(), History::new(Duration::from_secs(1)));
        let user = User { userns: 1, uid: 0 };
        let level = |used| Level { used, limit: 1000 };
        let mut left = |second: u64, used: u32| {
            let charge = Charge { uid: 0, userns: 1, instances: Some(level(used)), watches: None };
            machine.tell(second, None, EventKind::Charged { charges: [charge].into() });
            history.next = at(second);
            history.sample(&machine.0, at(second));
            history.left(user, Resource::Instances, level(used)).map(|it| it.as_secs())
        };
        assert_eq!(left(1, 100), None);
        // Two in a second are chance.
        assert_eq!(left(2, 102), None);
        assert_eq!(left(11, 200), Some(80));
        assert_eq!(left(12, 100), None);
    }
}
