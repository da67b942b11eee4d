//! Who uses up what somebody else was refused.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    event::{EMFILE, ENOSPC, Event, EventKind, Quota},
    resource::Resource,
    tracker::{Tracker, User},
};

/// A process and what it has of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The process.
    pub pid: u32,
    /// How many instances, or watches, it holds.
    pub count: u32,
    /// How many of these others hold as well.
    pub shared: u32,
}

/// Those who hold most of a quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprits {
    /// The user who pays for what was refused.
    pub user: User,
    /// What was refused.
    pub resource: Resource,
    /// The holders, most first.
    pub holders: Vec<Culprit>,
    /// How many are charged that no process seen holds.
    pub unseen: u32,
    /// How many are charged.
    pub used: u32,
    /// How many may be.
    pub limit: u32,
}

impl Culprits {
    /// Of a creation or a watch that failed because a quota is used up; None for any other event.
    #[must_use]
    pub fn of(event: &Event, tracker: &Tracker) -> Option<Self> {
        let (quota, resource) = refused(event)?;
        Some(Self::in_quota(quota, resource, tracker))
    }

    /// Whose quota it is that was used up, and of what.
    #[must_use]
    pub fn quota_of(event: &Event) -> Option<(User, Resource)> {
        refused(event).map(|(quota, resource)| (User::from(quota), resource))
    }

    fn in_quota(quota: Quota, resource: Resource, tracker: &Tracker) -> Self {
        let user = User::from(quota);
        let payer = payer_at(tracker, user, quota.level);
        let mut seen = 0_u32;
        let mut by_process: BTreeMap<u32, Culprit> = BTreeMap::new();
        for instance in tracker.instances() {
            let pays = instance
                .charged
                .is_some_and(|charged| charged == payer || is_above(tracker, charged, payer));
            if !pays {
                continue;
            }
            let watches = u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
            let count = match resource {
                Resource::Instances => 1,
                Resource::Watches => watches,
            };
            seen = seen.saturating_add(count);
            let mut pids: Vec<_> = instance.descriptors().iter().map(|&(pid, _)| pid).collect();
            pids.sort_unstable();
            pids.dedup();
            let is_shared = pids.len() > 1;
            for pid in pids {
                let none = Culprit { pid, count: 0, shared: 0 };
                let culprit = by_process.entry(pid).or_insert(none);
                culprit.count += count;
                culprit.shared += if is_shared { count } else { 0 };
            }
        }
        let mut holders: Vec<_> = by_process.into_values().collect();
        holders.retain(|culprit| culprit.count > 0);
        holders.sort_by_key(|culprit| (Reverse(culprit.count), culprit.pid));
        let unseen = quota.used.saturating_sub(seen);
        Self { user, resource, holders, unseen, used: quota.used, limit: quota.limit }
    }
}

/// The quota that made a call fail, and of what it is.
fn refused(event: &Event) -> Option<(Quota, Resource)> {
    let quota = match event.kind {
        EventKind::CreateFailed { quota, errno: EMFILE, .. }
        | EventKind::WatchFailed { quota, errno: ENOSPC, .. } => quota?,
        _ => return None,
    };
    quota.is_full().then_some((quota, event.kind.counts()))
}

/// The user whose counter stands `level` namespaces above the one who pays.
fn payer_at(tracker: &Tracker, user: User, level: u32) -> User {
    let account = tracker.users().get(user);
    let charge = account.and_then(|it| it.levels.get(usize::try_from(level).ok()?));
    charge.map_or(user, |&charge| User::from(charge))
}

/// Whether `payer` pays for what `user` is charged.
fn is_above(tracker: &Tracker, user: User, payer: User) -> bool {
    let levels = tracker.users().get(user).map(|account| account.levels.as_slice());
    levels.unwrap_or_default().iter().any(|&charge| User::from(charge) == payer)
}
