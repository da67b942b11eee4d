//! The users' charges, and the part of them that known instances account for.

use std::collections::BTreeMap;

use crate::{
    event::{Charge, Quota},
    tracker::{Tracker, User},
};

/// A counter of the kernel's against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
}

/// A user's charges and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Instances charged, by the kernel's own count.
    pub instances: Option<Level>,
    /// Watches charged, by the kernel's own count.
    pub watches: Option<Level>,
    /// Known instances that this user is charged for, those of users in namespaces below included.
    pub seen_instances: u32,
    /// The same for watches.
    pub seen_watches: u32,
    /// The users in the namespaces above, who are charged as well, innermost first.
    pub payers: Vec<User>,
    /// The level of the limit that is reached first: 0 is this user's own.
    pub binding: u32,
}

impl Standing {
    /// Charged instances that no known process holds: in flight, or of processes that may not be
    /// read. None if the kernel's count is unknown.
    #[must_use]
    pub fn unseen_instances(&self) -> Option<u32> {
        self.instances.map(|level| level.used.saturating_sub(self.seen_instances))
    }

    /// Charged watches that belong to no known instance.
    #[must_use]
    pub fn unseen_watches(&self) -> Option<u32> {
        self.watches.map(|level| level.used.saturating_sub(self.seen_watches))
    }
}

impl Level {
    /// The share that is charged, in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        100.0 * f64::from(self.used) / f64::from(self.limit.max(1))
    }
}

impl From<Quota> for Level {
    fn from(quota: Quota) -> Self {
        Self { used: quota.used, limit: quota.limit }
    }
}

/// The standings of all users who are charged, also for users in namespaces below.
#[must_use]
pub fn standings(tracker: &Tracker) -> BTreeMap<User, Standing> {
    let mut all: BTreeMap<User, Standing> = BTreeMap::new();
    let mut chains: BTreeMap<User, Vec<User>> = BTreeMap::new();
    for (user, account) in tracker.users().iter() {
        let chain: Vec<_> = account.levels.iter().copied().map(User::from).collect();
        for (at, &Charge { instances, watches, .. }) in account.levels.iter().enumerate() {
            let standing = all.entry(chain[at]).or_default();
            standing.instances = instances.map(Level::from);
            standing.watches = watches.map(Level::from);
            standing.payers = chain[at + 1..].to_vec();
        }
        let own = all.entry(user).or_default();
        own.binding = account.instances.map_or(0, |quota| quota.level);
        if account.levels.is_empty() {
            // A quota of an event only: the counts at other levels are unknown.
            let level = |quota: Option<Quota>| quota.filter(|it| it.level == 0).map(Level::from);
            (own.instances, own.watches) = (level(account.instances), level(account.watches));
        }
        chains.insert(user, if chain.is_empty() { vec![user] } else { chain });
    }
    for instance in tracker.instances() {
        let Some(user) = instance.charged else { continue };
        let alone = [user];
        for payer in chains.get(&user).map_or(&alone[..], Vec::as_slice) {
            let standing = all.entry(*payer).or_default();
            standing.seen_instances += 1;
            standing.seen_watches += u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
        }
    }
    all
}
