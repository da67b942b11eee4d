//! Leaked instances, by bug and pod.

use std::{cmp::Reverse, collections::BTreeMap};

use inotify_trace_model::{
    event::BootTime,
    findings::Served,
    tracker::Tracker,
    verdict::{Grace, Verdict, verdicts_at_once},
};

use super::{
    labels::{Holder, bounded},
    page::Numbers,
    registry as of,
};

/// Adds the largest groups of leaks; returns how many were left out.
pub fn add(tracker: &Tracker, now: BootTime, numbers: &mut Numbers) -> usize {
    let mut groups: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for verdict in verdicts_at_once(tracker, now, &Grace::default()) {
        if verdict.kind.is_leak() {
            *groups.entry(labels(&verdict, tracker)).or_default() += verdict.evidence.len();
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, count)| Reverse(*count));
    let others = groups.split_off(groups.len().min(of::LEAKS));
    let mut rows: Vec<_> =
        groups.into_iter().map(|(labels, count)| (labels, count as f64)).collect();
    if !others.is_empty() {
        let count: usize = others.iter().map(|(_, count)| count).sum();
        rows.push((vec![of::OTHER.to_owned(), String::new(), String::new()], count as f64));
    }
    numbers.add(&of::LEAKED, rows);
    others.len()
}

fn labels(verdict: &Verdict, tracker: &Tracker) -> Vec<String> {
    let pattern = verdict.pattern.map_or(verdict.kind.name(), |it| it.name.as_str());
    let process = tracker.process(verdict.pid);
    let served = process.and_then(|it| Served::by(it, tracker));
    let served = served.as_ref().and_then(Served::pod);
    let (namespace, pod) = match served {
        Some((namespace, pod)) => (bounded(namespace.unwrap_or_default()), bounded(pod)),
        None => {
            let own = process.and_then(|it| Holder::of_cgroup(it.task.cgroup, tracker));
            own.map(|it| (it.namespace, it.pod)).unwrap_or_default()
        }
    };
    vec![pattern.to_owned(), namespace, pod]
}
