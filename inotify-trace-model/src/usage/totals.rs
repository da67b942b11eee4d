//! The users' charges, and the part of them that known instances account for.

use std::collections::BTreeMap;

use crate::{
    event::Level,
    resource::Resource,
    tracker::{Tracker, User},
};

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
    /// The level of the limit of instances that is reached first: 0 is this user's own.
    pub binding: u32,
    /// The same for watches.
    pub binding_watches: u32,
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

/// The standings of all users who are charged, also for users in namespaces below.
#[must_use]
pub fn standings(tracker: &Tracker) -> BTreeMap<User, Standing> {
    let users = tracker.users();
    let mut all: BTreeMap<User, Standing> = BTreeMap::new();
    for (user, account) in users.iter() {
        let level = |resource| users.binding(user, resource).map_or(0, |quota| quota.level);
        let standing = all.entry(user).or_default();
        (standing.instances, standing.watches) = (account.instances, account.watches);
        standing.payers.clone_from(&account.payers);
        standing.binding = level(Resource::Instances);
        standing.binding_watches = level(Resource::Watches);
    }
    for instance in tracker.instances() {
        let Some(user) = instance.charged else { continue };
        let above = users.get(user).map(|account| account.payers.as_slice()).unwrap_or_default();
        for payer in std::iter::once(&user).chain(above) {
            let standing = all.entry(*payer).or_default();
            standing.seen_instances += 1;
            standing.seen_watches += u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
        }
    }
    all
}
