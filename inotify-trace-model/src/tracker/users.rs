//! Charged users, with the kernel's own counts.

use std::collections::BTreeMap;

use super::User;
use crate::{
    event::{Charge, Event, EventKind, Quota},
    resource::Resource,
};

/// The kernel's counts for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The latest count of instances, against the limit closest to being reached.
    pub instances: Option<Quota>,
    /// The latest count of watches, against the limit closest to being reached.
    pub watches: Option<Quota>,
    /// The user's own counters and those in the user namespaces above, which count the same
    /// charges, outermost last. Empty if they were not read.
    pub levels: Vec<Charge>,
}

impl Account {
    /// The latest count of a resource, against the limit closest to being reached.
    #[must_use]
    pub fn latest(&self, resource: Resource) -> Option<Quota> {
        match resource {
            Resource::Instances => self.instances,
            Resource::Watches => self.watches,
        }
    }

    fn latest_mut(&mut self, resource: Resource) -> &mut Option<Quota> {
        match resource {
            Resource::Instances => &mut self.instances,
            Resource::Watches => &mut self.watches,
        }
    }
}

/// All charged users.
#[derive(Debug, Default, PartialEq)]
pub struct Users {
    accounts: BTreeMap<User, Account>,
}

impl Users {
    /// The kernel's counts for a user.
    #[must_use]
    pub fn get(&self, user: User) -> Option<&Account> {
        self.accounts.get(&user)
    }

    /// All charged users.
    pub fn iter(&self) -> impl Iterator<Item = (User, &Account)> {
        self.accounts.iter().map(|(user, account)| (*user, account))
    }

    pub(super) fn restore(&mut self, user: User, account: Account) {
        self.accounts.insert(user, account);
    }

    pub(super) fn apply(&mut self, event: &Event) {
        if let EventKind::Charged { charges } = &event.kind {
            let Some(first) = charges.first() else { return };
            let account = self.accounts.entry(User::from(*first)).or_default();
            account.levels = charges.to_vec();
            for resource in Resource::ALL {
                *account.latest_mut(resource) = tightest(charges, |it| it.of(resource));
            }
            return;
        }
        let Some(quota) = event.kind.quota() else { return };
        let user = User::from(quota);
        let resource = event.kind.counts();
        if resource == Resource::Instances && quota.used == 0 && quota.level == 0 {
            // The kernel frees the counters of a user without charges.
            self.accounts.remove(&user);
            return;
        }
        let account = self.accounts.entry(user).or_default();
        *account.latest_mut(resource) = Some(quota);
        let level = usize::try_from(quota.level).ok().and_then(|at| account.levels.get_mut(at));
        if let Some(level) = level {
            let quota = Some(Quota { uid: level.uid, userns: level.userns, ..quota });
            *level.of_mut(resource) = quota;
        }
    }
}

/// The count with the least room left; of equals the outermost, whose limit is the one to raise.
fn tightest(charges: &[Charge], count: impl Fn(&Charge) -> Option<Quota>) -> Option<Quota> {
    let own = charges.first().and_then(&count)?;
    let room = |quota: &Quota| i64::from(quota.limit) - i64::from(quota.used);
    let binding = charges.iter().filter_map(count).rev().min_by_key(room)?;
    // The user stays the charged one, even if the binding limit is at another level.
    Some(Quota { uid: own.uid, userns: own.userns, ..binding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    fn quota(uid: u32, used: u32, limit: u32, level: u32) -> Quota {
        Quota { used, limit, uid, userns: 10 - level, level }
    }

    fn charged(charges: &[(Quota, Quota)]) -> Event {
        let charges = charges
            .iter()
            .map(|&(instances, watches)| Charge {
                uid: instances.uid,
                userns: instances.userns,
                instances: Some(instances),
                watches: Some(watches),
            })
            .collect();
        Event { time: BootTime(1), task: None, kind: EventKind::Charged { charges } }
    }

    const USER: User = User { userns: 10, uid: 5 };

    #[test]
    fn the_limit_that_binds_may_be_above() {
        let mut users = Users::default();
        let unlimited = i32::MAX.cast_unsigned();
        users.apply(&charged(&[
            (quota(5, 3, unlimited, 0), quota(5, 7, unlimited, 0)),
            (quota(0, 90, 128, 1), quota(0, 70, 8192, 1)),
        ]));
        let account = users.get(USER).unwrap();
        assert_eq!(
            account.instances,
            Some(quota(5, 90, 128, 1)).map(|it| Quota { userns: 10, ..it })
        );
        assert_eq!(account.levels.len(), 2);
    }

    #[test]
    fn of_equally_tight_limits_the_outermost_is_told() {
        let mut users = Users::default();
        users.apply(&charged(&[
            (quota(5, 3, 128, 0), quota(5, 0, 10, 0)),
            (quota(0, 3, 128, 1), quota(0, 0, 10, 1)),
        ]));
        assert_eq!(users.get(USER).unwrap().instances.unwrap().level, 1);
    }

    #[test]
    fn a_user_with_nothing_left_is_forgotten() {
        let mut users = Users::default();
        let create = |used| EventKind::CreateFailed {
            flags: 0,
            errno: 24,
            quota: Some(quota(5, used, 128, 0)),
        };
        users.apply(&Event { time: BootTime(1), task: None, kind: create(128) });
        assert_eq!(users.get(USER).unwrap().instances.unwrap().used, 128);
        users.apply(&Event { time: BootTime(2), task: None, kind: create(0) });
        assert!(users.get(USER).is_none());
    }
}
