//! Users' distance from the limits, and the recommended values, as text or as JSON.

mod csv;
mod json;
mod plugin;
mod text;
mod words;

pub use plugin::{Status as PluginStatus, Thresholds, unknown as plugin_unknown};

use std::collections::{BTreeMap, BTreeSet};

use inotify_trace_model::{resource::Resource, tracker::User, usage::Standing};

use super::UserNames;
use crate::limits::{
    Rate, Recommendation, Setting,
    apply::{Done, Plan},
    is_over, reaches,
};

/// The facts of `inotify-trace limits`.
#[derive(Debug)]
pub struct LimitsReport {
    /// The names of users.
    pub names: UserNames,
    /// The counts and limits of users; None if the kernel was not asked.
    pub standings: Option<BTreeMap<User, Standing>>,
    /// The rates at which users use up instances and watches; None if they were not measured.
    pub rates: Option<BTreeMap<(User, Resource), Rate>>,
    /// The sysctls.
    pub settings: Vec<Setting>,
    /// The recommended values.
    pub recommendation: Recommendation,
    /// The file to write; None if something else is in its place.
    pub plan: Option<Plan>,
    /// The share of a limit, in percent, from which on a user is too close to it.
    pub warn: u32,
    /// The user namespace of this process, by inode number, if it is not the initial one.
    pub own_namespace: Option<u64>,
    /// Other notes for the user.
    pub notes: Vec<String>,
    /// The changes that were written.
    pub done: Option<Done>,
}

/// The numbers of a report that change when somebody uses more or less.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    standings: Option<BTreeMap<User, Standing>>,
    /// Created and released.
    changes: Vec<(User, Resource, u64, u64)>,
}

impl LimitsReport {
    /// Its numbers, to be compared with those of another.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let rates = self.rates.iter().flatten();
        let changes =
            rates.map(|(&(user, resource), it)| (user, resource, it.created, it.released));
        Numbers { standings: self.standings.clone(), changes: changes.collect() }
    }

    /// The users who are too close to a limit.
    pub fn over(&self) -> impl Iterator<Item = User> {
        let all = self.standings.iter().flatten();
        let over = all.filter(|(_, standing)| is_over(standing, self.warn));
        over.map(|(user, _)| *user)
    }

    /// Users with counts, or with instances that were made or released.
    fn everyone(&self, standings: &BTreeMap<User, Standing>) -> Vec<User> {
        let rates = self.rates.iter().flat_map(BTreeMap::keys).map(|(user, _)| user);
        let all: BTreeSet<User> = standings.keys().chain(rates).copied().collect();
        let mut all: Vec<_> = all.into_iter().collect();
        let used = |user: &User| {
            let instances = standings.get(user)?.instances?;
            Some(instances.percent())
        };
        all.sort_by(|a, b| used(b).partial_cmp(&used(a)).unwrap_or(std::cmp::Ordering::Equal));
        all
    }

    /// All notes.
    fn all_notes(&self) -> Vec<String> {
        let mut notes = self.namespace_notes();
        notes.extend(self.notes.iter().cloned());
        notes
    }

    /// Notes on the limit that binds, where user namespaces make that hard to see.
    fn namespace_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(own) = self.own_namespace {
            notes.push(format!(
                "this command runs in user namespace {own}, which is not the initial one. There \
                 user.max_inotify_instances is 2147483647 unless somebody lowered it; all the \
                 same, what is charged there is charged to the namespaces above too, and the \
                 host's fs.inotify.max_user_instances binds. Raise it on the host."
            ));
        }
        // Of users below others, by who pays at the limit that binds.
        let mut below: BTreeMap<User, Vec<(String, String)>> = BTreeMap::new();
        for (user, standing) in self.standings.iter().flatten() {
            if standing.payers.is_empty() && standing.binding == 0 {
                continue;
            }
            if let Some(level) = standing.watches.filter(|_| standing.binding_watches == 0) {
                notes.push(format!(
                    "{}: its own limit of watches ({}, user.max_inotify_watches in its user \
                     namespace) binds first.",
                    self.names.payer(*user),
                    level.limit
                ));
            }
            let name = self.names.payer(*user);
            let above = usize::try_from(standing.binding).ok().and_then(|it| it.checked_sub(1));
            let payer = above.and_then(|at| standing.payers.get(at));
            let limit = match standing.instances {
                Some(level) => level.limit.to_string(),
                None => "not known".to_owned(),
            };
            match (standing.binding, payer) {
                (0, _) => notes.push(format!(
                    "{name} pays in a user namespace of its own, and so do the users above. Its \
                     own limit ({limit}, user.max_inotify_instances there) binds first."
                )),
                (_, Some(payer)) => below.entry(*payer).or_default().push((name, limit)),
                (level, None) => notes.push(format!(
                    "{name} pays in a user namespace, and the limit {level} namespaces above it \
                     binds."
                )),
            }
        }
        notes.extend(below.iter().map(|(payer, users)| self.payer_note(*payer, users)));
        notes
    }

    /// The note on users in namespaces below the one whose limit binds.
    fn payer_note(&self, payer: User, users: &[(String, String)]) -> String {
        let name = self.names.payer(payer);
        let level = self.standings.iter().flatten().find(|(user, _)| **user == payer);
        let level = level.and_then(|(_, standing)| standing.instances);
        let advice = match level {
            Some(level) if reaches(level, self.warn) => ": raise that one",
            Some(_) => ", which has room now",
            None => "",
        };
        match users {
            [(user, limit)] => format!(
                "the limit of {user}'s user namespace is {limit}, but what is charged there is \
                 charged to {name} too, and the limit of {name} binds{advice}."
            ),
            _ => format!(
                "what {} users in user namespaces are charged for is charged to {name} too, and \
                 the limit of {name} binds{advice}.",
                users.len()
            ),
        }
    }
}
