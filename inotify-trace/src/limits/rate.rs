//! The rate at which instances are used up. Pure: callers pass the time.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use inotify_trace_model::{
    event::{BootTime, Event, EventKind},
    feed::Batch,
    resource::Resource,
    story::Audience,
    tracker::{Tracker, User},
    usage::{Level, time_left},
};

/// Created and released instances, by charged user.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Created and released.
    direct: BTreeMap<User, (u64, u64)>,
    /// Losses.
    lost: u64,
    /// The most instances and watches that one user of the initial namespace was charged for.
    most: (u64, u64),
}

/// The rate at which a user's instances grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Instances created.
    pub created: u64,
    /// Instances released.
    pub released: u64,
    /// The time in which they were counted.
    pub during: Duration,
}

impl Rate {
    /// Instances per minute: created minus released.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a trace are far below 2^52")]
    pub fn per_minute(&self) -> f64 {
        let more = self.created as f64 - self.released as f64;
        let minutes = self.during.as_secs_f64() / 60.0;
        if minutes > 0.0 { more / minutes } else { 0.0 }
    }

    /// The time until the limit of `level` is reached at this rate; None if that is never, or longer
    /// than a duration can hold.
    #[must_use]
    pub fn time_left(&self, level: Level) -> Option<Duration> {
        time_left(level.limit.saturating_sub(level.used), self.per_minute())
    }
}

impl Changes {
    /// Counts an event that `tracker` has just applied.
    pub fn add(&mut self, event: &Event, tracker: &Tracker) {
        if let Some(quota) = event.kind.quota().filter(|it| it.payer_userns == User::INITIAL) {
            let most = match event.kind.counts() {
                Resource::Instances => &mut self.most.0,
                Resource::Watches => &mut self.most.1,
            };
            *most = u64::from(quota.used).max(*most);
        }
        let charged = tracker.subject(event).and_then(|instance| instance.charged);
        let mut count = |created, released| {
            if let Some(user) = charged {
                let counts = self.direct.entry(user).or_default();
                *counts = (counts.0 + created, counts.1 + released);
            }
        };
        match event.kind {
            EventKind::InstanceCreated { .. } => count(1, 0),
            // Its creation was missed. There is one event for each descriptor.
            EventKind::InstanceFound { .. } => {
                let descriptors = tracker.subject(event).map_or(0, |it| it.descriptors().len());
                if descriptors <= 1 {
                    count(1, 0);
                }
            }
            EventKind::InstanceReleased { .. } => count(0, 1),
            // A recording may contain any number.
            EventKind::Lost { count, .. } => self.lost = self.lost.saturating_add(count),
            _ => {}
        }
    }

    /// The most instances and watches that one user was charged for.
    #[must_use]
    pub fn most(&self) -> (u64, u64) {
        self.most
    }

    /// The number of losses.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The rate of each user, including users in namespaces below, whose charges count as well.
    #[must_use]
    pub fn rates(&self, tracker: &Tracker, during: Duration) -> BTreeMap<User, Rate> {
        let mut rates = BTreeMap::new();
        for (&user, &(created, released)) in &self.direct {
            let account = tracker.users().get(user);
            let above = account.map(|account| account.payers.as_slice()).unwrap_or_default();
            for &payer in std::iter::once(&user).chain(above) {
                let rate = rates.entry(payer).or_insert(Rate { created: 0, released: 0, during });
                rate.created += created;
                rate.released += released;
            }
        }
        rates
    }
}

/// Counts changes after the first batch, which is the snapshot.
#[derive(Debug, Default)]
pub struct Counted {
    /// The changes.
    pub changes: Changes,
    /// The time from which they are counted.
    pub since: Option<BootTime>,
}

impl Audience for Counted {
    type Error = Infallible;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), Infallible> {
        if self.since.is_some() {
            self.changes.add(event, tracker);
        }
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> Result<(), Infallible> {
        self.since.get_or_insert(batch.time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify_trace_model::event::{Charge, InstanceId, Loss, Quota, Task};

    const USER: User = User { userns: 9, uid: 5 };
    const ABOVE: User = User { userns: 8, uid: 0 };

    fn quota(user: User, used: u32) -> Quota {
        Quota::own(used, 128, user.uid, user.userns)
    }

    fn by_somebody(kind: EventKind) -> Event {
        let task = Task { pid: 7, tid: 7, ..Task::default() };
        Event { time: BootTime(1), task: Some(task), kind }
    }

    fn created(id: u64, user: User) -> Event {
        let fd = i32::try_from(id).unwrap();
        let quota = Some(quota(user, 2));
        by_somebody(EventKind::InstanceCreated { instance: InstanceId(id), fd, flags: 0, quota })
    }

    fn released(id: u64, user: User) -> Event {
        let quota = Some(quota(user, 1));
        let fd = Some(i32::try_from(id).unwrap());
        by_somebody(EventKind::InstanceReleased { instance: InstanceId(id), fd, quota })
    }

    fn found(id: u64, fd: i32) -> Event {
        by_somebody(EventKind::InstanceFound {
            instance: InstanceId(id),
            fd,
            flags: 0,
            creator_cgroup: inotify_trace_model::event::CgroupId(0),
            queued: 0,
            quota: Some(quota(ABOVE, 1)),
        })
    }

    #[test]
    fn what_comes_and_goes_is_counted_for_everyone_who_pays() {
        let charge = |user: User| Charge {
            uid: user.uid,
            userns: user.userns,
            instances: Some(quota(user, 1).into()),
            watches: None,
        };
        let charges = [charge(USER), charge(ABOVE)];
        let events = [
            by_somebody(EventKind::Charged { charges: charges.into() }),
            created(1, USER),
            created(2, USER),
            created(3, ABOVE),
            released(1, USER),
            found(4, 20),
            found(4, 21),
            by_somebody(EventKind::Lost { count: 3, what: Loss::Events }),
        ];
        let (mut tracker, mut changes) = (Tracker::new(), Changes::default());
        for event in &events {
            tracker.apply(event);
            changes.add(event, &tracker);
        }
        let during = Duration::from_secs(30);
        let rates = changes.rates(&tracker, during);
        let rate = |created, released| Rate { created, released, during };
        assert_eq!(rates, [(ABOVE, rate(4, 1)), (USER, rate(2, 1))].into());
        assert_eq!(changes.lost(), 3);
    }

    #[test]
    fn time_is_left_as_long_as_the_rate_says() {
        let rate = |created, released, seconds| Rate {
            created,
            released,
            during: Duration::from_secs(seconds),
        };
        let level = Level { used: 108, limit: 128 };
        // 20 are free, at 10 a minute.
        assert_eq!(rate(15, 5, 60).time_left(level), Some(Duration::from_secs(120)));
        assert_eq!(rate(5, 0, 30).time_left(level), Some(Duration::from_secs(120)));
        assert_eq!(rate(5, 5, 30).time_left(level), None);
        assert_eq!(rate(0, 5, 60).time_left(level), None);
        assert_eq!(rate(0, 5, 60).per_minute(), -5.0);
        assert_eq!(rate(5, 0, 0).per_minute(), 0.0);
        // The limit was lowered below the use.
        let full = Level { used: 200, limit: 128 };
        assert_eq!(rate(1, 0, 60).time_left(full), Some(Duration::ZERO));
    }
}
