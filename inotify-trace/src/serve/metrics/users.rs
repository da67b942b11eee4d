//! Users' use of the limits.

use std::{cmp::Reverse, collections::BTreeMap};

use inotify_trace_model::{
    tracker::{Tracker, User},
    usage::{Standing, standings},
};

use super::{labels::bounded, page::Numbers, registry as of};
use crate::output::UserNames;

/// The user namespace of most machines' processes. Others have their inode numbers.
const INITIAL: &str = "initial";

/// Adds the users with the largest use; returns how many were left out.
pub fn add(tracker: &Tracker, names: &UserNames, numbers: &mut Numbers) -> usize {
    let all = standings(tracker);
    let mut users: Vec<_> = all.iter().collect();
    let used = |it: &Standing| {
        (it.instances.map_or(0, |level| level.used), it.watches.map_or(0, |level| level.used))
    };
    users.sort_by_key(|(_, standing)| Reverse(used(standing)));
    let omitted = users.len().saturating_sub(of::USERS);
    users.truncate(of::USERS);
    let labels = labels(users.iter().map(|(user, _)| **user), names);
    let rows = |value: fn(&Standing) -> Option<u32>| {
        users
            .iter()
            .filter_map(|(user, standing)| {
                Some((labels.get(user)?.clone(), f64::from(value(standing)?)))
            })
            .collect()
    };
    numbers.add(&of::INSTANCES_USED, rows(|it| Some(it.instances?.used)));
    numbers.add(&of::INSTANCES_LIMIT, rows(|it| Some(it.instances?.limit)));
    numbers.add(&of::WATCHES_USED, rows(|it| Some(it.watches?.used)));
    numbers.add(&of::WATCHES_LIMIT, rows(|it| Some(it.watches?.limit)));
    numbers.add(&of::NOT_VISIBLE, rows(Standing::unseen_instances));
    omitted
}

/// The labels of users: names, or numbers where users share a name.
fn labels(users: impl Iterator<Item = User>, names: &UserNames) -> BTreeMap<User, Vec<String>> {
    let mut taken: BTreeMap<Vec<String>, User> = BTreeMap::new();
    for user in users {
        let userns =
            if user.userns == User::INITIAL { INITIAL.to_owned() } else { user.userns.to_string() };
        let name = vec![bounded(&names.name(user.uid)), userns.clone()];
        if taken.contains_key(&name) {
            taken.insert(vec![user.uid.to_string(), userns], user);
        } else {
            taken.insert(name, user);
        }
    }
    taken.into_iter().map(|(labels, user)| (user, labels)).collect()
}
