//! Instances that watch nothing of their own. One for each of many living targets looks like use:
//! one for each log that somebody follows, say. Many on the same target, or on none, do not.

use std::collections::HashMap;

use super::steady::FEWEST;
use crate::{
    event::Target,
    tracker::{Instance, Tracker},
};

/// The watches of an instance that are looked at: the oldest ones. A tree's watches begin with its
/// root.
const LOOKED_AT: usize = 16;

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Inode(u32, u64),
    Path(&'a str),
}

/// Whether each of a holder's instances watches no living target, or only targets that at least
/// [`FEWEST`] of them watch.
pub(super) fn are_alike(tracker: &Tracker, instances: &[&Instance]) -> Vec<bool> {
    let mut watched: HashMap<Key<'_>, usize> = HashMap::new();
    for key in instances.iter().flat_map(|it| living(tracker, it)).filter_map(key) {
        *watched.entry(key).or_default() += 1;
    }
    let is_common = |target: &Target| {
        // An unknown target may be its own.
        key(target).is_some_and(|key| watched.get(&key).is_some_and(|&it| it >= FEWEST))
    };
    instances.iter().map(|it| living(tracker, it).all(is_common)).collect()
}

/// Those of a holder's instances that share a target with most of them, and the target; None stands
/// for no living target at all.
pub(super) fn largest<'a>(
    tracker: &Tracker,
    instances: &[&'a Instance],
) -> (Vec<&'a Instance>, Option<&'a Target>) {
    let mut groups: HashMap<Option<Key<'a>>, Vec<&'a Instance>> = HashMap::new();
    for &instance in instances {
        let mut targets = living(tracker, instance);
        let group = match (targets.next(), targets.next()) {
            (None, _) => None,
            // The target has no name that could be compared.
            (Some(target), None) if key(target).is_none() => continue,
            (Some(target), None) => key(target),
            (Some(_), Some(_)) => continue,
        };
        groups.entry(group).or_default().push(instance);
    }
    let largest = groups.into_values().max_by_key(|it| (it.len(), it.first().map(|it| it.id)));
    let largest = largest.unwrap_or_default();
    let target = largest.first().and_then(|it| living(tracker, it).next());
    (largest, target)
}

/// The only living target of all these instances; None if there is none, or several.
pub(super) fn common<'a>(
    tracker: &Tracker,
    mut instances: impl Iterator<Item = &'a Instance>,
) -> Option<&'a Target> {
    let only = |it: &'a Instance| {
        let mut targets = living(tracker, it);
        targets.next().filter(|_| targets.next().is_none())
    };
    let first = only(instances.next()?)?;
    let known = key(first)?;
    instances.all(|it| only(it).and_then(key) == Some(known)).then_some(first)
}

/// Whether none of these instances watches anything that exists.
pub(super) fn is_nothing<'a>(
    tracker: &Tracker,
    mut instances: impl Iterator<Item = &'a Instance>,
) -> bool {
    instances.all(|it| living(tracker, it).next().is_none())
}

/// The targets that exist, of the oldest watches.
fn living<'a>(tracker: &Tracker, instance: &'a Instance) -> impl Iterator<Item = &'a Target> {
    let targets = instance.watches().values().take(LOOKED_AT).map(|watch| &watch.target);
    targets.filter(|it| {
        let is_gone = |cgroup| tracker.cgroups().gone_since(cgroup).is_some();
        !it.is_gone && !it.cgroup.known().is_some_and(is_gone)
    })
}

fn key(target: &Target) -> Option<Key<'_>> {
    match (target.inode, target.path.as_deref()) {
        (0, path) => path.filter(|it| it.starts_with('/')).map(Key::Path),
        (inode, _) => Some(Key::Inode(target.dev, inode)),
    }
}
