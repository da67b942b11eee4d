//! Holders whose number of instances or watches grows, and how fast.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Confidence, Evidence, alike,
    steady::{Begun, FEWEST, GLANCE, increase, per_minute},
};
use crate::{
    event::{BootTime, Quota},
    resource::Resource,
    tracker::{Instance, MANY, Origin, Process, STRETCHES, Tracker, User},
    usage::time_left,
};

/// The rate at which a leak grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// What becomes more.
    pub resource: Resource,
    /// How many more a minute.
    pub per_minute: f64,
    /// The number left below the limit; None if unknown.
    pub left: Option<u32>,
}

impl Growth {
    /// At a rate, for the user who is charged for the instance.
    fn of(
        tracker: &Tracker,
        instance: Option<&Instance>,
        resource: Resource,
        per_minute: f64,
    ) -> Self {
        let left = instance.and_then(|it| quota_of(tracker, it, resource)).map(Quota::left);
        Self { resource, per_minute, left }
    }

    /// The time until the limit is reached at this rate.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        time_left(self.left?, self.per_minute)
    }
}

/// How the instances of a process become more.
pub(super) enum Instances<'a> {
    /// Those that it keeps, without a target of their own: they seem to leak.
    Leak(Vec<(BootTime, &'a Instance)>),
    /// The same for too short a time to tell.
    Undecided(Vec<(BootTime, &'a Instance)>),
    /// Each has a target of its own: they look used.
    Use(Vec<(BootTime, &'a Instance)>),
}

/// How the instances that a process creates and still holds become more, if they do; `span` is the
/// time that it takes to tell.
pub(super) fn of_process<'a>(
    tracker: &'a Tracker,
    process: &Process,
    (now, span): (BootTime, Duration),
) -> Option<Instances<'a>> {
    let made = made_by(tracker, process);
    if made.len() < FEWEST {
        return None;
    }
    let instances: Vec<_> = made.iter().map(|it| it.1).collect();
    let are_alike = alike::are_alike(tracker, &instances);
    let alike: Vec<_> =
        made.iter().zip(are_alike).filter_map(|(it, is_alike)| is_alike.then_some(*it)).collect();
    let more = |of: &Begun<&'a Instance>, span| {
        increase(of, &process.closed, now, span).map(<[_]>::to_vec)
    };
    more(&alike, span)
        .map(Instances::Leak)
        .or_else(|| more(&alike, GLANCE).map(Instances::Undecided))
        .or_else(|| more(&made, GLANCE).map(Instances::Use))
}

/// The instances that a process created and holds, oldest first.
pub(super) fn made_by<'a>(
    tracker: &'a Tracker,
    process: &Process,
) -> Vec<(BootTime, &'a Instance)> {
    if process.began.is_none() || process.descriptors.is_empty() {
        return Vec::new();
    }
    let pid = process.task.pid;
    let held = process.descriptors.values().filter_map(|&id| tracker.instance(id));
    let mut made: Vec<_> = held
        .filter(|it| matches!(it.origin, Origin::Created(task) if task.pid == pid))
        .map(|it| (it.since, it))
        .collect();
    made.sort_by_key(|(since, it)| (*since, it.id));
    made.dedup_by_key(|(_, it)| it.id);
    made
}

/// The evidence of instances that become more.
pub(super) fn evidence(instances: &Begun<&Instance>) -> Vec<Evidence> {
    let evidence =
        |(since, it): &(_, &Instance)| Evidence::new(it, *since, Vec::new(), Confidence::Likely);
    instances.iter().map(evidence).collect()
}

/// The growth by the times at which the instances began, or were leaked; None for fewer than two.
pub(super) fn of_times<T>(
    tracker: &Tracker,
    instance: Option<&Instance>,
    times: &Begun<T>,
) -> Option<Growth> {
    let per_minute = per_minute(times)?;
    Some(Growth::of(tracker, instance, Resource::Instances, per_minute))
}

/// The growth by the times at which instances of a process were leaked; None for fewer than two.
pub(super) fn of_leaks(tracker: &Tracker, process: &Process, times: &Begun<()>) -> Option<Growth> {
    let minutes = times.last()?.0.since(times.first()?.0).as_secs_f64() / 60.0;
    // All at the same moment, as by one call that removes a pod.
    let per_minute = (minutes > 0.0).then(|| (times.len() - 1) as f64 / minutes)?;
    let left = quota(tracker, process).map(Quota::left);
    Some(Growth { resource: Resource::Instances, per_minute, left })
}

/// How the watches of an instance become more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Watches {
    pub(super) growth: Growth,
    /// How many there were when it began, and how many more there are now.
    pub(super) from: u32,
    pub(super) added: u32,
    /// When that was.
    pub(super) since: BootTime,
    /// Whether it has gone on for long enough for a verdict.
    pub(super) is_decided: bool,
}

impl Watches {
    /// Whether they grow even if as many of them as `phantoms` are gone: what is added and removed
    /// in turns is at most twice as much as was removed.
    pub(super) fn is_more_than(&self, phantoms: u32) -> bool {
        let added = self.added.saturating_sub(phantoms.saturating_mul(2));
        if self.is_decided { is_much(self.from, added) } else { added > 0 }
    }
}

/// The known watches of each user that the kernel has no more: not every backend sees the kernel
/// remove a watch with its target. Nobody knows whose they were.
pub(super) fn phantoms(tracker: &Tracker) -> BTreeMap<User, u32> {
    let mut phantoms: BTreeMap<User, u32> = BTreeMap::new();
    for instance in tracker.instances() {
        if let Some(user) = instance.charged {
            let count = u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
            let known = phantoms.entry(user).or_default();
            *known = known.saturating_add(count);
        }
    }
    let is_all_known = tracker.forgotten().instances == 0;
    for (user, known) in &mut phantoms {
        if !is_all_known {
            // Any may be gone.
            *known = u32::MAX;
            continue;
        }
        let own = tracker.users().get(*user).and_then(|account| account.own(Resource::Watches));
        let used = own.map_or(u32::MAX, |it| it.used);
        *known = known.saturating_sub(used);
    }
    phantoms
}

/// Whether watches were added to `from` in a number that matters.
fn is_much(from: u32, added: u32) -> bool {
    added >= FEWEST_WATCHES && added >= from / 10
}

/// More watches than this must have stayed.
const FEWEST_WATCHES: u32 = 100;

/// Watches that come faster than this, a minute, are the scan of a tree, unless that never ends.
const SCAN: f64 = 6000.0;

/// How the watches of an instance become more, if they do: in each of the latest stretches of time
/// it has had more than in the one before, and never fewer.
pub(super) fn of_watches(tracker: &Tracker, instance: &Instance, now: BootTime) -> Option<Watches> {
    let count = u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
    if instance.watches().len() < MANY {
        return None;
    }
    let floors = instance.floors.as_ref()?;
    let mut at_a_glance = None;
    for (row, (width, lowest)) in floors.until(now, count).enumerate() {
        let rising = |least: usize| {
            let begin = lowest.len().checked_sub(least)?;
            Rise::of(&lowest[begin..], width)
        };
        let found = |rise: Rise| Watches {
            growth: Growth::of(tracker, Some(instance), Resource::Watches, rise.per_minute),
            from: rise.from,
            added: rise.to - rise.from,
            since: BootTime(now.0.saturating_sub(now.0 % width + rise.steps * width)),
            is_decided: true,
        };
        if let Some(rise) = rising(STRETCHES)
            && rise.is_trend()
            // A tree is scanned, or a program built: that takes a minute or two, at a varying pace.
            && (row > 0 || (rise.is_even && rise.per_minute < SCAN))
        {
            return Some(found(rise));
        }
        if row == 0
            && let Some(rise) = rising(4).filter(|it| it.rising == it.steps)
        {
            at_a_glance = Some(Watches { is_decided: false, ..found(rise) });
        }
    }
    at_a_glance
}

/// The way from the first to the last of some stretches.
struct Rise {
    from: u32,
    to: u32,
    steps: u64,
    rising: u64,
    /// Whether it goes on.
    goes_on: bool,
    /// Whether all steps are of about the same size.
    is_even: bool,
    per_minute: f64,
}

impl Rise {
    /// None if the number ever fell, or never rose.
    fn of(lowest: &[u32], width: u64) -> Option<Self> {
        let (&from, &to) = (lowest.first()?, lowest.last()?);
        let steps: Vec<_> =
            lowest.windows(2).map(|it| it[1].checked_sub(it[0])).collect::<Option<_>>()?;
        let mean = f64::from(to - from) / steps.len().max(1) as f64;
        let evenly = |&step: &u32| (mean / 3.0..=mean * 3.0).contains(&f64::from(step));
        let minutes = Duration::from_nanos(width).as_secs_f64() / 60.0;
        (to > from).then(|| Self {
            from,
            to,
            steps: steps.len() as u64,
            rising: steps.iter().filter(|&&step| step > 0).count() as u64,
            goes_on: steps.iter().rev().take(2).any(|&step| step > 0),
            is_even: steps.iter().all(evenly),
            per_minute: mean / minutes,
        })
    }

    /// Nearly every step rises, and what came is much and not only a small part of all.
    fn is_trend(&self) -> bool {
        let added = self.to - self.from;
        self.rising + 2 >= self.steps && self.goes_on && is_much(self.from, added)
    }
}

/// The quota of the user who is charged for an instance.
pub(super) fn quota_of(
    tracker: &Tracker,
    instance: &Instance,
    resource: Resource,
) -> Option<Quota> {
    tracker.users().binding(instance.charged?, resource)
}

/// The instance quota of the user who is charged for a process's instances.
pub(super) fn quota(tracker: &Tracker, process: &Process) -> Option<Quota> {
    let instance = process.descriptors.values().find_map(|&id| tracker.instance(id))?;
    quota_of(tracker, instance, Resource::Instances)
}
