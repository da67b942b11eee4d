//! Verdicts that were reached during a run, and their state at its end.

use std::collections::{BTreeSet, HashSet};

use inotify_trace_model::{
    event::{BootTime, Comm},
    findings::{Afterwards, Finding},
    resource::Resource,
    tracker::{Tracker, User},
    verdict::{Grace, Kind, Verdict, verdicts},
};

/// The most verdicts that are kept in full.
const TOLD: usize = 200;

/// The most other verdicts that are counted.
const COUNTED: usize = 10_000;

/// A verdict, and its state at the end of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// The holder of the instances, their number, and the problem.
    pub finding: Finding,
    /// The time at which the verdict was first reached.
    pub reached: BootTime,
    /// The time of the finding.
    pub said: BootTime,
    /// The process, as the kernel keeps its name.
    pub comm: String,
    /// The state at the end of the run, where it differs from the finding.
    pub afterwards: Option<Afterwards>,
    /// How much the finding was about.
    size: usize,
    /// Whether the problem was gone at the end.
    pub is_over: bool,
    /// Whose count of what it is charged to.
    pub charged: BTreeSet<(User, Resource)>,
}

impl Leak {
    /// Whether the finding is a leak, rather than a hint.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        self.finding.kind.is_leak()
    }
}

#[derive(Debug, Default)]
pub(super) struct Leaks {
    known: Vec<(Key, Leak)>,
    /// Verdicts there was no room for.
    pub(super) others: HashSet<Key>,
}

/// The key under which a verdict is known.
type Key = (Kind, u32, Comm);

impl Leaks {
    /// Updates the verdicts to the state at the end of the run.
    pub(super) fn finish(&mut self, tracker: &Tracker, now: BootTime) {
        let last = verdicts(tracker, now, &Grace::default());
        let still: HashSet<_> = last.iter().map(|verdict| key(verdict, tracker)).collect();
        for (key, leak) in &mut self.known {
            leak.is_over = !still.contains(key);
            let (kind, pid, comm) = *key;
            // Growth also stops at a limit: the problem is over only if there are fewer.
            leak.afterwards = match leak.is_over.then(|| held(kind, pid, comm, tracker)).flatten() {
                Some((held, resource)) => {
                    leak.is_over = held < leak.size;
                    Some(Afterwards::Stopped { held, resource })
                }
                None => leak.is_over.then_some(Afterwards::Over),
            };
        }
        for verdict in &last {
            // Only verdicts that were reached during the run are updated.
            let key = key(verdict, tracker);
            if self.known.iter().any(|(known, _)| *known == key) {
                self.add(verdict, tracker, now);
            }
        }
        // Leaks come first, and of these the ones that are not over.
        self.known.sort_by_key(|(_, it)| {
            (!it.is_leak(), it.is_over, std::cmp::Reverse(it.finding.count), it.reached)
        });
    }

    pub(super) fn all(&self) -> Vec<Leak> {
        self.known.iter().map(|(_, leak)| leak.clone()).collect()
    }

    /// Whose counts of what leaks are charged to.
    pub(super) fn charged(&self) -> BTreeSet<(User, Resource)> {
        let leaks = self.known.iter().filter(|(_, leak)| leak.is_leak());
        leaks.flat_map(|(_, leak)| leak.charged.iter().copied()).collect()
    }

    /// Adds a verdict that was reached.
    pub(super) fn add(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) {
        let key = key(verdict, tracker);
        if verdict.kind.is_leak() {
            // What was not decided yet is decided.
            self.known.retain(|(known, _)| *known != (Kind::LimitNear, key.1, key.2));
        }
        let mut leak = Leak {
            finding: Finding::of(verdict, tracker),
            reached: now,
            said: now,
            comm: key.2.to_str().into_owned(),
            size: verdict.size(),
            afterwards: None,
            is_over: false,
            charged: charged(verdict, tracker),
        };
        if let Some((_, known)) = self.known.iter_mut().find(|(known, _)| *known == key) {
            leak.reached = known.reached;
            *known = leak;
        } else if self.known.len() < TOLD {
            self.known.push((key, leak));
        } else if self.others.len() < COUNTED {
            self.others.insert(key);
        }
    }
}

/// The users whose limit the instances of a verdict use up.
fn charged(verdict: &Verdict, tracker: &Tracker) -> BTreeSet<(User, Resource)> {
    let resource = match verdict.kind {
        Kind::WatchesGrowing => Resource::Watches,
        _ => Resource::Instances,
    };
    let instances = verdict.evidence.iter().filter_map(|it| tracker.instance(it.instance));
    let users: BTreeSet<_> = instances.filter_map(|it| it.charged).collect();
    let payer = |user| tracker.users().binding(user, resource).map_or(user, User::payer);
    users.into_iter().map(|user| (payer(user), resource)).collect()
}

/// How many instances or watches are held of what grew and grows no more; None if none are.
fn held(kind: Kind, pid: u32, comm: Comm, tracker: &Tracker) -> Option<(usize, Resource)> {
    let process = tracker.process(pid).filter(|it| it.task.comm == comm)?;
    let ids: HashSet<_> = process.descriptors.values().copied().collect();
    match kind {
        Kind::Growing => Some((ids.len(), Resource::Instances)),
        Kind::WatchesGrowing => {
            let held = ids.iter().filter_map(|&id| tracker.instance(id));
            let most = held.map(|it| it.watches().len()).max()?;
            Some((most, Resource::Watches))
        }
        Kind::PilingUp => {
            let place = process.task.cgroup;
            let equals =
                tracker.processes().filter(|it| it.task.comm == comm && it.task.cgroup == place);
            Some((equals.count(), Resource::Instances))
        }
        _ => None,
    }
}

fn key(verdict: &Verdict, tracker: &Tracker) -> Key {
    let comm = tracker.process(verdict.pid).map(|it| it.task.comm).unwrap_or_default();
    (verdict.kind, verdict.pid, comm)
}
