//! Charged users, with the kernel's own counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{User, worth};
use crate::{
    event::{Event, EventKind, Level, Quota},
    resource::Resource,
};

/// The kernel's counts for a user in its own namespace, and who else pays for the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The latest count of instances; None if it was not read.
    pub instances: Option<Level>,
    /// The latest count of watches; None if it was not read.
    pub watches: Option<Level>,
    /// The users in the namespaces above, who are charged as well, innermost first. Empty if there
    /// are none, or if they are not known.
    pub payers: Vec<User>,
}

impl Account {
    /// The latest count of a resource in the user's own namespace.
    #[must_use]
    pub fn own(&self, resource: Resource) -> Option<Level> {
        match resource {
            Resource::Instances => self.instances,
            Resource::Watches => self.watches,
        }
    }

    fn own_mut(&mut self, resource: Resource) -> &mut Option<Level> {
        match resource {
            Resource::Instances => &mut self.instances,
            Resource::Watches => &mut self.watches,
        }
    }
}

/// All users who pay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users {
    accounts: BTreeMap<User, Account>,
    /// How many known instances each user is charged for.
    held: BTreeMap<User, u32>,
    /// How many accounts there were when those that are not needed were last forgotten.
    kept: usize,
}

/// With fewer accounts, none is forgotten while its user may be heard of again.
const MANY: usize = 4096;

impl Users {
    /// The kernel's counts for a user.
    #[must_use]
    pub fn get(&self, user: User) -> Option<&Account> {
        self.accounts.get(&user)
    }

    /// All users who pay.
    pub fn iter(&self) -> impl Iterator<Item = (User, &Account)> {
        self.accounts.iter().map(|(user, account)| (*user, account))
    }

    /// Whether the charges of `user` are charged to `payer`: the same user, or one above.
    #[must_use]
    pub fn pays_for(&self, payer: User, user: User) -> bool {
        payer == user || self.get(user).is_some_and(|account| account.payers.contains(&payer))
    }

    /// The count with the least room left for a user, among its own and those above; of equals the
    /// outermost, whose limit is the one to raise. None if no count is known.
    #[must_use]
    pub fn binding(&self, user: User, resource: Resource) -> Option<Quota> {
        let account = self.get(user)?;
        let chain = std::iter::once(&user).chain(&account.payers);
        let quotas = (0..).zip(chain).filter_map(|(level, &payer)| {
            let Level { used, limit } = self.get(payer)?.own(resource)?;
            let User { uid, userns } = user;
            let (payer_uid, payer_userns) = (payer.uid, payer.userns);
            Some(Quota { used, limit, uid, userns, level, payer_uid, payer_userns })
        });
        let room = |quota: &Quota| i64::from(quota.limit) - i64::from(quota.used);
        let quotas: Vec<_> = quotas.collect();
        quotas.into_iter().rev().min_by_key(room)
    }

    /// The users whose limit of a resource binds somebody, themselves or users in namespaces below.
    #[must_use]
    pub fn binding_payers(&self, resource: Resource) -> BTreeSet<User> {
        let users = self.accounts.keys();
        users.filter_map(|&user| self.binding(user, resource)).map(User::payer).collect()
    }

    /// Adds a known instance of a user.
    pub(super) fn hold(&mut self, user: Option<User>) {
        if let Some(user) = user {
            *self.held.entry(user).or_default() += 1;
        }
    }

    /// Removes a known instance of a user. With the last one, nothing is heard any more of a user
    /// in a user namespace, whose number the kernel may give to another.
    /// `counted` is the user whose count was read just now.
    pub(super) fn let_go(&mut self, user: Option<User>, counted: Option<User>) {
        let Some(user) = user else { return };
        let Some(count) = self.held.get_mut(&user) else { return };
        *count -= 1;
        if *count == 0 {
            self.held.remove(&user);
            self.prune(user, counted);
        }
    }

    /// Removes a user whose last instance is gone, and those above who paid for that alone: their
    /// counts are not read any more. Where there are no namespaces, the count says it all.
    fn prune(&mut self, user: User, counted: Option<User>) {
        let is_needed = |user: User| {
            self.held.contains_key(&user)
                || self.accounts.values().any(|it| it.payers.contains(&user))
        };
        if counted == Some(user) || is_needed(user) {
            return;
        }
        let payers = self.accounts.remove(&user).map(|account| account.payers);
        for payer in payers.into_iter().flatten() {
            self.prune(payer, counted);
        }
    }

    /// Forgets those who neither hold a known instance nor pay for one: nothing is heard of them any
    /// more.
    fn forget_unheld(&mut self) {
        let mut needed: BTreeSet<User> = self.held.keys().copied().collect();
        let held = self.held.keys().filter_map(|user| self.accounts.get(user));
        needed.extend(held.flat_map(|account| account.payers.iter().copied()));
        self.accounts.retain(|user, _| needed.contains(user));
    }

    /// The bytes that they take.
    pub(super) fn worth(&self) -> usize {
        let account = |it: &Account| worth::ACCOUNT + it.payers.len() * size_of::<User>();
        self.accounts.values().map(account).sum::<usize>() + self.held.len() * worth::ACCOUNT / 4
    }

    pub(super) fn restore(&mut self, user: User, account: Account) {
        self.accounts.insert(user, account);
    }

    pub(super) fn apply(&mut self, event: &Event) {
        if self.accounts.len() > MANY + 2 * self.kept {
            self.forget_unheld();
            self.kept = self.accounts.len();
        }
        if let EventKind::Charged { charges } = &event.kind {
            let chain: Vec<_> = charges.iter().copied().map(User::from).collect();
            for (level, charge) in charges.iter().enumerate() {
                let account = self.accounts.entry(chain[level]).or_default();
                account.payers = chain[level + 1..].to_vec();
                for resource in Resource::ALL {
                    *account.own_mut(resource) = charge.of(resource);
                }
            }
            return;
        }
        let Some(quota) = event.kind.quota() else { return };
        let (payer, resource) = (User::payer(quota), event.kind.counts());
        if resource == Resource::Instances && quota.used == 0 {
            // The kernel frees the counters of a user without charges.
            self.accounts.remove(&payer);
            return;
        }
        *self.accounts.entry(payer).or_default().own_mut(resource) = Some(quota.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BootTime, Charge};

    const INNER: User = User { userns: 10, uid: 5 };
    const OTHER: User = User { userns: 11, uid: 5 };
    const OUTER: User = User { userns: 9, uid: 0 };

    fn quota(user: User, used: u32, limit: u32) -> Quota {
        Quota::own(used, limit, user.uid, user.userns)
    }

    fn event(kind: EventKind) -> Event {
        Event { time: BootTime(1), task: None, kind }
    }

    fn charged(charges: &[(Quota, Quota)]) -> Event {
        let charges = charges
            .iter()
            .map(|&(instances, watches)| Charge {
                uid: instances.uid,
                userns: instances.userns,
                instances: Some(instances.into()),
                watches: Some(watches.into()),
            })
            .collect();
        event(EventKind::Charged { charges })
    }

    /// `user` uses `used` of a limit that `payer` pays for.
    fn refused(user: User, payer: User, used: u32) -> Event {
        let (payer_uid, payer_userns) = (payer.uid, payer.userns);
        let level = u32::from(user != payer);
        let quota = Quota { level, payer_uid, payer_userns, ..quota(user, used, 128) };
        let kind = EventKind::CreateFailed { flags: 0, errno: 24, quota: Some(quota), files: None };
        event(kind)
    }

    #[test]
    fn the_limit_that_binds_may_be_above() {
        let mut users = Users::default();
        let unlimited = i32::MAX.cast_unsigned();
        users.apply(&charged(&[
            (quota(INNER, 3, unlimited), quota(INNER, 7, 10)),
            (quota(OUTER, 90, 128), quota(OUTER, 70, 8192)),
        ]));
        let instances = users.binding(INNER, Resource::Instances).unwrap();
        assert_eq!((instances.used, instances.limit, instances.level), (90, 128, 1));
        assert_eq!((User::from(instances), User::payer(instances)), (INNER, OUTER));
        // Each resource has its own.
        let watches = users.binding(INNER, Resource::Watches).unwrap();
        assert_eq!((watches.used, watches.limit, User::payer(watches)), (7, 10, INNER));
        assert_eq!(users.binding_payers(Resource::Instances), [OUTER].into());
        assert_eq!(users.binding_payers(Resource::Watches), [INNER, OUTER].into());
    }

    #[test]
    fn of_equally_tight_limits_the_outermost_is_told() {
        let mut users = Users::default();
        let charge = |user| (quota(user, 3, 128), quota(user, 0, 10));
        users.apply(&charged(&[charge(INNER), charge(OUTER)]));
        assert_eq!(users.binding(INNER, Resource::Instances).unwrap().level, 1);
    }

    #[test]
    fn what_one_namespace_uses_is_news_of_all_that_share_the_payer() {
        let mut users = Users::default();
        for user in [INNER, OTHER] {
            users.apply(&charged(&[
                (quota(user, 1, 1000), quota(user, 0, 1000)),
                (quota(OUTER, 2, 128), quota(OUTER, 0, 1000)),
            ]));
        }
        users.apply(&refused(OTHER, OUTER, 128));
        assert_eq!(users.binding(INNER, Resource::Instances).unwrap().used, 128);
        assert!(users.pays_for(OUTER, INNER) && !users.pays_for(OTHER, INNER));
    }

    #[test]
    fn a_user_with_nothing_left_is_forgotten() {
        let mut users = Users::default();
        users.apply(&refused(INNER, INNER, 128));
        assert_eq!(users.get(INNER).unwrap().instances, Some(Level { used: 128, limit: 128 }));
        users.apply(&refused(INNER, INNER, 0));
        assert!(users.get(INNER).is_none());
    }

    #[test]
    fn a_namespace_is_forgotten_with_its_last_instance() {
        let mut users = Users::default();
        for user in [INNER, OTHER] {
            let charge = |user| (quota(user, 1, 128), quota(user, 0, 10));
            users.apply(&charged(&[charge(user), charge(OUTER)]));
            users.hold(Some(user));
        }
        users.let_go(Some(INNER), None);
        assert!(users.get(INNER).is_none() && users.get(OUTER).is_some());
        // What the outer user pays for besides was read just now.
        users.let_go(Some(OTHER), Some(OUTER));
        assert!(users.get(OTHER).is_none() && users.get(OUTER).is_some());
        users.hold(Some(OUTER));
        users.let_go(Some(OUTER), None);
        assert!(users.get(OUTER).is_none());
        // Never held.
        users.let_go(Some(OTHER), None);
    }
}
