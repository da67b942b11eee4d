//! Failures are followed by those who use up what was refused.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{BootTime, Event},
    resource::Resource,
    tracker::{Tracker, User},
    usage::{Culprit, Culprits},
};

use super::{UserNames, printable, shim::Served};
use crate::output::cgroup_name;

/// How many culprits are named.
const NAMED: usize = 5;

/// For how long nothing is said again about the same quota, in nanoseconds: who is refused tends to
/// try again at once, and what there is to say does not change as fast.
const PAUSE: u64 = 1_000_000_000;

/// Finds the culprits of failures.
#[derive(Debug)]
pub(crate) struct Blame {
    names: UserNames,
    told: HashMap<(User, Resource), BootTime>,
}

impl Blame {
    pub(crate) fn new(names: UserNames) -> Self {
        Self { names, told: HashMap::new() }
    }

    /// Those who use up what this event was refused; None if it was refused nothing, or that was
    /// told within the last second.
    pub(super) fn of(&mut self, event: &Event, tracker: &Tracker) -> Option<Culprits> {
        let (user, resource) = Culprits::quota_of(event)?;
        let told = self.told.entry((user, resource)).or_insert(BootTime(0));
        if told.0 != 0 && event.time.0 < told.0 + PAUSE {
            return None;
        }
        *told = event.time;
        Culprits::of(event, tracker)
    }

    /// What there is to say, in two lines.
    pub(crate) fn lines(&self, culprits: &Culprits, tracker: &Tracker) -> [String; 2] {
        let Culprits { user, resource, ref holders, unseen, used, limit } = *culprits;
        let (what, sysctl) = (resource.name(), resource.sysctl());
        let mut parts: Vec<_> =
            holders.iter().take(NAMED).map(|it| describe(it, tracker)).collect();
        if let Some(others @ [_, ..]) = holders.get(NAMED..) {
            let more: u32 = others.iter().map(|culprit| culprit.count).sum();
            parts.push(format!("{} more processes {more}", others.len()));
        }
        if unseen > 0 {
            parts.push(format!("not visible {unseen}"));
        }
        let name = self.names.payer(user);
        [
            format!("  {used} of {limit} {what} of {name}: {}", parts.join(", ")),
            format!(
                "  remedy: end the first of these, or raise {sysctl}: `inotify-trace limits` says to what"
            ),
        ]
    }
}

/// The first culprits, for a program.
pub(super) fn named(culprits: &Culprits) -> &[Culprit] {
    culprits.holders.get(..NAMED).unwrap_or(&culprits.holders)
}

fn describe(culprit: &Culprit, tracker: &Tracker) -> String {
    let Culprit { pid, count, shared } = *culprit;
    let process = tracker.process(pid);
    let task = process.map(|process| process.task);
    let comm = task.map(|task| printable(&task.comm.to_str()).into_owned());
    let served = process.and_then(|it| Served::by(it, tracker));
    let served = served.map(|it| format!(" of {}", it.words())).unwrap_or_default();
    let cgroups = tracker.cgroups();
    let cgroup = task.map(|task| task.cgroup).filter(|&id| {
        // Where there is no container, the process says enough.
        cgroups.get(id).is_some_and(|cgroup| cgroup.container.is_some())
    });
    let name = cgroup.and_then(|id| cgroup_name(cgroups, id));
    let place = name.map(|name| format!(" in {}", printable(&name))).unwrap_or_default();
    let shared = match shared {
        0 => String::new(),
        all if all == count => " shared".to_owned(),
        some => format!(", {some} of them shared"),
    };
    format!("{} ({pid}){served}{place} {count}{shared}", comm.as_deref().unwrap_or("?"))
}
