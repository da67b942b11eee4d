//! The holders that use up a limit at which a call failed.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    event::{EMFILE, ENOSPC, Event, EventKind, InstanceId, Level, Quota},
    resource::Resource,
    tracker::{Tracker, User},
};

/// A process and its share of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The process.
    pub pid: u32,
    /// The number of instances, or watches, it holds.
    pub count: u32,
    /// The number of these that other processes hold as well.
    pub shared: u32,
}

/// An instance that a process holds, and its share of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The process.
    pub pid: u32,
    /// The instance.
    pub instance: InstanceId,
    /// 1, or the number of its watches.
    pub count: u32,
}

/// The holders of a used-up quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprits {
    /// The user who pays at the limit that is used up: the charged one, or one above.
    pub user: User,
    /// The resource that is used up.
    pub resource: Resource,
    /// The holders, the largest share first.
    pub holders: Vec<Culprit>,
    /// What each of them holds.
    pub held: Vec<Held>,
    /// The number charged that no known process holds.
    pub unseen: u32,
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
    /// A process in the user namespace of `user`, if that is not the initial one: there its limit is
    /// raised. None if none is known.
    pub inside: Option<u32>,
}

impl Culprits {
    /// The culprits of a creation or a watch that failed at a limit; None for any other event.
    #[must_use]
    pub fn of(event: &Event, tracker: &Tracker) -> Option<Self> {
        let (quota, resource) = refused(event)?;
        let level = Level { used: quota.used, limit: quota.limit };
        let mut culprits = Self::now(User::payer(quota), resource, level, tracker);
        // Instances that begin or end at the moment are charged a little longer than they are seen: only
        // what is charged before and after a look was not seen by it.
        if let Some(after) = tracker.counted(event.time, culprits.user, resource) {
            culprits.unseen = culprits.unseen.saturating_sub(quota.used.saturating_sub(after));
        }
        if let EventKind::CreateFailed { .. } = event.kind
            && quota.level == 0
            && culprits.user.userns != User::INITIAL
        {
            // It was refused in its own namespace.
            culprits.inside = event.task.map(|task| task.pid).or(culprits.inside);
        }
        Some(culprits)
    }

    /// The user who pays at the limit that is used up, and the resource.
    #[must_use]
    pub fn quota_of(event: &Event) -> Option<(User, Resource)> {
        refused(event).map(|(quota, resource)| (User::payer(quota), resource))
    }

    /// Those who hold what a user pays for, used up or not.
    #[must_use]
    pub fn now(user: User, resource: Resource, level: Level, tracker: &Tracker) -> Self {
        let Level { used, limit } = level;
        let (mut seen, mut inside) = (0_u32, None);
        let mut by_process: BTreeMap<u32, Culprit> = BTreeMap::new();
        let mut held = Vec::new();
        for instance in tracker.instances() {
            let pays = instance.charged.is_some_and(|it| tracker.users().pays_for(user, it));
            if !pays {
                continue;
            }
            let watches = u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
            let count = match resource {
                Resource::Instances => 1,
                Resource::Watches => watches,
            };
            seen = seen.saturating_add(count);
            let mut pids: Vec<_> = instance.descriptors().iter().map(|it| it.pid).collect();
            pids.sort_unstable();
            pids.dedup();
            let is_shared = pids.len() > 1;
            if instance.charged.is_some_and(|it| it.userns == user.userns) {
                inside = inside.or(pids.first().copied().filter(|_| user.userns != User::INITIAL));
            }
            for pid in pids {
                if count > 0 {
                    held.push(Held { pid, instance: instance.id, count });
                }
                let none = Culprit { pid, count: 0, shared: 0 };
                let culprit = by_process.entry(pid).or_insert(none);
                culprit.count += count;
                culprit.shared += if is_shared { count } else { 0 };
            }
        }
        let mut holders: Vec<_> = by_process.into_values().collect();
        holders.retain(|culprit| culprit.count > 0);
        holders.sort_by_key(|culprit| (Reverse(culprit.count), culprit.pid));
        let unseen = used.saturating_sub(seen);
        Self { user, resource, holders, held, unseen, used, limit, inside }
    }
}

/// The quota at which a call failed, and its resource.
fn refused(event: &Event) -> Option<(Quota, Resource)> {
    let quota = match event.kind {
        EventKind::CreateFailed { quota, errno: EMFILE, .. }
        | EventKind::WatchFailed { quota, errno: ENOSPC, .. } => quota?,
        _ => return None,
    };
    quota.is_full().then_some((quota, event.kind.counts()))
}
