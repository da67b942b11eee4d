//! What was held over the last minutes: for sparklines, and for the time that is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{BootTime, Level},
    resource::Resource,
    tracker::{Tracker, User},
    usage::{By, Key, groups},
};

use crate::limits::{Pace, Samples};

/// How many samples are kept.
const SAMPLES: usize = 120;

/// A sample takes at most one part in so many of the time.
const SHARE: u32 = 50;

/// Numbers of instances over time.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The least nanoseconds between samples.
    every: u64,
    next: BootTime,
    /// Of processes, containers and cgroups.
    groups: BTreeMap<Key, Samples>,
    pace: Pace,
}

impl History {
    pub(super) fn new(every: Duration) -> Self {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        Self { every, next: BootTime(0), groups: BTreeMap::new(), pace: Pace::default() }
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
        self.pace.sample(tracker, now);
        let processes = tracker.processes().map(|process| {
            let held: BTreeSet<_> = process.descriptors.values().collect();
            (Key::Process(process.task.pid), held.len())
        });
        let places = groups(tracker, By::Container);
        let places = places.into_iter().map(|it| (it.key, it.instances.len()));
        for (key, count) in processes.chain(places) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let samples = self.groups.entry(key).or_default();
            if samples.len() >= SAMPLES {
                samples.pop_front();
            }
            samples.push_back((now, count));
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
            return self.pace.of(*user, Resource::Instances);
        }
        self.groups.get(key)
    }

    /// The time until a limit is reached, if there is a rate to tell.
    pub(super) fn left(&self, user: User, resource: Resource, level: Level) -> Option<Duration> {
        self.pace.left(user, resource, level)
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::testing::{Machine, at, shim};

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
}
