//! What users were charged for over the last minutes, and so when a limit will be reached. Pure:
//! callers pass the time.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    time::Duration,
};

use inotify_trace_model::{
    event::BootTime,
    resource::Resource,
    story::Audience,
    tracker::{Tracker, User},
    usage::Level,
};

use super::Rate;

/// The time over which a rate is told.
const RATED: Duration = Duration::from_secs(300);

/// The nanoseconds between samples of an audience.
const EVERY: u64 = 1_000_000_000;

/// Numbers over time, the latest last.
pub type Samples = VecDeque<(BootTime, u32)>;

/// Charges of the last minutes.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    charged: BTreeMap<(User, Resource), Samples>,
    next: BootTime,
}

impl Pace {
    /// Adds what users are charged for now.
    pub fn sample(&mut self, tracker: &Tracker, now: BootTime) {
        for (user, account) in tracker.users().iter() {
            for resource in Resource::ALL {
                let Some(level) = account.own(resource) else { continue };
                let samples = self.charged.entry((user, resource)).or_default();
                samples.push_back((now, level.used));
                while samples.front().is_some_and(|(time, _)| now.since(*time) > RATED) {
                    samples.pop_front();
                }
            }
        }
        self.charged.retain(|(user, _), _| tracker.users().get(*user).is_some());
    }

    /// What a user was charged for.
    #[must_use]
    pub fn of(&self, user: User, resource: Resource) -> Option<&Samples> {
        self.charged.get(&(user, resource))
    }

    /// The time until a limit is reached, if there is a rate to tell: the slower of all samples' and of
    /// their later half's, since what has just started often makes many, and then no more.
    #[must_use]
    pub fn left(&self, user: User, resource: Resource, level: Level) -> Option<Duration> {
        let samples = self.of(user, resource)?;
        let (&(from, first), &(to, last)) = (samples.front()?, samples.back()?);
        let left = |(from, then): (BootTime, u32)| {
            let (created, released) = (last.into(), then.into());
            Rate { created, released, during: to.since(from) }.time_left(level)
        };
        let middle = BootTime(u64::midpoint(from.0, to.0));
        let half = samples.iter().rev().find(|(time, _)| *time <= middle)?;
        Some(left((from, first))?.max(left(*half)?))
    }
}

impl Audience for Pace {
    type Error = Infallible;

    fn due(&self) -> Option<BootTime> {
        Some(self.next)
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), Infallible> {
        self.sample(tracker, now);
        self.next = BootTime(now.0.saturating_add(EVERY));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{
        event::{Charge, EventKind},
        testing::{Machine, at},
    };

    use super::*;

    #[test]
    fn time_is_left_where_a_rate_is_told_and_nowhere_else() {
        let (mut machine, mut pace) = (Machine::new(), Pace::default());
        let user = User { userns: 1, uid: 0 };
        let level = |used| Level { used, limit: 1000 };
        let mut left = |second: u64, used: u32| {
            let charge = Charge { uid: 0, userns: 1, instances: Some(level(used)), watches: None };
            machine.tell(second, None, EventKind::Charged { charges: [charge].into() });
            let Ok(()) = pace.moment(&machine.0, at(second));
            pace.left(user, Resource::Instances, level(used)).map(|it| it.as_secs())
        };
        assert_eq!(left(1, 100), None);
        // Two in a second are chance.
        assert_eq!(left(2, 102), None);
        assert_eq!(left(11, 200), Some(80));
        assert_eq!(left(12, 100), None);
        // It had grown, and stopped.
        assert_eq!(left(20, 900).map(|it| it > 0), Some(true));
        assert_eq!(left(60, 900), None);
    }
}
