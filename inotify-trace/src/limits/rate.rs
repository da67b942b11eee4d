//! The rate at which instances and watches are used up. Pure: callers pass the time.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    time::Duration,
};

use inotify_trace_model::{
    event::{BootTime, Event, EventKind, InstanceId},
    feed::Batch,
    resource::Resource,
    story::Audience,
    tracker::{Instance, Tracker, User},
    usage::{Level, time_left},
};

/// Created and released instances, and added and removed watches, by charged user.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Created and released.
    direct: BTreeMap<(User, Resource), (u64, u64)>,
    /// How many watches each instance has.
    watches: HashMap<InstanceId, u64>,
    /// How many watches the kernel had charged each user at the beginning.
    charged: BTreeMap<User, u32>,
    /// Losses.
    lost: u64,
    /// The most instances and watches that one user of the initial namespace was charged for.
    most: (u64, u64),
}

/// The rate at which a user's instances or watches grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Instances created, or watches added.
    pub created: u64,
    /// Instances released, or watches removed, also those that ended with their instances.
    pub released: u64,
    /// The time in which they were counted.
    pub during: Duration,
}

/// Fewer changes in less than [`LONG`] are chance, and no rate: one instance in two seconds is not
/// thirty a minute.
const FEW: u64 = 5;

/// The time in which even few changes are a rate.
const LONG: Duration = Duration::from_secs(60);

impl Rate {
    /// Per minute: created minus released. None if too little was seen to tell.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a trace are far below 2^52")]
    pub fn per_minute(&self) -> Option<f64> {
        let more = self.created as f64 - self.released as f64;
        let minutes = self.during.as_secs_f64() / 60.0;
        let changes = self.created.abs_diff(self.released);
        let is_known = changes == 0 || changes >= FEW || self.during >= LONG;
        is_known.then_some(if minutes > 0.0 { more / minutes } else { 0.0 })
    }

    /// The time until the limit of `level` is reached at this rate; None if that is never, or longer
    /// than a duration can hold, or if too little was seen to tell.
    #[must_use]
    pub fn time_left(&self, level: Level) -> Option<Duration> {
        time_left(level.left(), self.per_minute()?)
    }
}

impl Changes {
    /// Counts from the state that `tracker` has now.
    pub fn begin(&mut self, tracker: &Tracker) {
        let count = |it: &Instance| (it.id, it.watches().len() as u64);
        self.watches = tracker.instances().map(count).collect();
        let users = tracker.users().iter();
        self.charged =
            users.filter_map(|(user, it)| Some((user, it.own(Resource::Watches)?.used))).collect();
    }

    /// Counts an event that `tracker` has just applied.
    pub fn add(&mut self, event: &Event, tracker: &Tracker) {
        self.add_watches(event, tracker);
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
                let counts = self.direct.entry((user, Resource::Instances)).or_default();
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

    fn add_watches(&mut self, event: &Event, tracker: &Tracker) {
        let Some(instance) = tracker.subject(event) else { return };
        let is_released = matches!(event.kind, EventKind::InstanceReleased { .. });
        let now = if is_released { 0 } else { instance.watches().len() as u64 };
        let before = match is_released {
            true => self.watches.remove(&instance.id),
            false => self.watches.insert(instance.id, now),
        };
        let before = before.unwrap_or_default();
        if let Some(user) = instance.charged.filter(|_| before != now) {
            let counts = self.direct.entry((user, Resource::Watches)).or_default();
            counts.0 += now.saturating_sub(before);
            counts.1 += before.saturating_sub(now);
        }
    }

    /// How many watches of a user went unseen, with their targets, if `more` came than went: the
    /// kernel has fewer. Not every backend sees these.
    fn unseen(&self, user: User, more: u64, tracker: &Tracker) -> u64 {
        let now = tracker.users().get(user).and_then(|it| it.own(Resource::Watches));
        let Some(now) = now else { return 0 };
        let before = self.charged.get(&user).copied().unwrap_or_default();
        more.saturating_sub(now.used.saturating_sub(before).into())
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

    /// The rates of each user, including users in namespaces below, whose charges count as well.
    #[must_use]
    pub fn rates(&self, tracker: &Tracker, during: Duration) -> BTreeMap<(User, Resource), Rate> {
        let mut rates = BTreeMap::new();
        for (&(user, resource), &(created, mut released)) in &self.direct {
            if resource == Resource::Watches {
                released += self.unseen(user, created.saturating_sub(released), tracker);
            }
            let account = tracker.users().get(user);
            let above = account.map(|account| account.payers.as_slice()).unwrap_or_default();
            for &payer in std::iter::once(&user).chain(above) {
                let none = Rate { created: 0, released: 0, during };
                let rate = rates.entry((payer, resource)).or_insert(none);
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

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> Result<(), Infallible> {
        if self.since.is_none() {
            self.since = Some(batch.time);
            self.changes.begin(tracker);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify_trace_model::event::{Charge, InstanceId, Loss, Quota, Target, Task};

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
        let instances = |user| (user, Resource::Instances);
        assert_eq!(rates, [(instances(ABOVE), rate(4, 1)), (instances(USER), rate(2, 1))].into());
        assert_eq!(changes.lost(), 3);
    }

    #[test]
    fn watches_are_counted_once_and_end_with_their_instance() {
        let watched = |wd| {
            let (instance, target, quota) = (InstanceId(1), Target::default(), None);
            by_somebody(EventKind::WatchAdded { instance, fd: 1, wd, target, mask: 2, quota })
        };
        let unwatched = |wd| {
            let (instance, fd, quota) = (InstanceId(1), Some(1), None);
            by_somebody(EventKind::WatchRemoved { instance, fd, wd, quota })
        };
        let (mut tracker, mut counted) = (Tracker::new(), Counted::default());
        let mut batch = |events: &[Event]| {
            for event in events {
                tracker.apply(event);
                let Ok(()) = counted.event(event, &tracker);
            }
            let mut batch = Batch { time: BootTime(1), judged: false, events: Vec::new() };
            let Ok(()) = counted.batch(&mut batch, &tracker);
            let rates = counted.changes.rates(&tracker, Duration::from_secs(60));
            rates.get(&(USER, Resource::Watches)).map(|it| (it.created, it.released))
        };
        // What is there at the start is no change, nor is a watch that only changes.
        assert_eq!(batch(&[created(1, USER), watched(1)]), None);
        assert_eq!(batch(&[watched(1), watched(2), watched(3), watched(3)]), Some((2, 0)));
        assert_eq!(batch(&[unwatched(2), unwatched(9)]), Some((2, 1)));
        assert_eq!(batch(&[released(1, USER)]), Some((2, 3)));
        // Three come, and the kernel has one then: two went with their targets.
        let counted = |wd, used| {
            let quota = Some(quota(USER, used));
            let (instance, target) = (InstanceId(2), Target::default());
            by_somebody(EventKind::WatchAdded { instance, fd: 1, wd, target, mask: 2, quota })
        };
        let events = [created(2, USER), counted(1, 1), counted(2, 2), counted(3, 1)];
        assert_eq!(batch(&events), Some((5, 4)));
    }

    fn rate(created: u64, released: u64, seconds: u64) -> Rate {
        Rate { created, released, during: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_few_in_a_short_time_are_no_rate() {
        let level = Level { used: 65, limit: 128 };
        for few in [rate(1, 0, 2), rate(14, 10, 59), rate(0, 4, 30)] {
            assert_eq!((few.per_minute(), few.time_left(level)), (None, None), "{few:?}");
        }
        assert_eq!(rate(7, 7, 2).per_minute(), Some(0.0));
        assert_eq!(rate(6, 1, 30).per_minute(), Some(10.0));
        assert_eq!(rate(1, 0, 60).per_minute(), Some(1.0));
    }

    #[test]
    fn time_is_left_as_long_as_the_rate_says() {
        let level = Level { used: 108, limit: 128 };
        // 20 are free, at 10 a minute.
        assert_eq!(rate(15, 5, 60).time_left(level), Some(Duration::from_secs(120)));
        assert_eq!(rate(5, 0, 30).time_left(level), Some(Duration::from_secs(120)));
        assert_eq!(rate(5, 5, 30).time_left(level), None);
        assert_eq!(rate(0, 5, 60).time_left(level), None);
        assert_eq!(rate(0, 5, 60).per_minute(), Some(-5.0));
        assert_eq!(rate(5, 0, 0).per_minute(), Some(0.0));
        // The limit was lowered below the use.
        let full = Level { used: 200, limit: 128 };
        assert_eq!(rate(1, 0, 60).time_left(full), Some(Duration::ZERO));
    }
}
