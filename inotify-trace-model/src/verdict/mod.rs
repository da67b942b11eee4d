//! Verdicts: leaked instances and their holders, derived from the tracker's state at a moment.
//! Pure: the same state at the same time leads to the same verdicts, live and from a recording.

mod conditions;
mod growth;
mod patterns;
mod restarts;
#[cfg(test)]
mod tests;
mod watcher;

use std::{collections::BTreeMap, time::Duration};

pub use growth::Growth;
pub use patterns::{Pattern, known_arguments, patterns};
pub use restarts::Restarts;
pub use watcher::Watcher;

use crate::{
    event::{BootTime, CgroupId, InstanceId},
    tracker::{Instance, Origin, Process, SERVED, Tracker},
};

/// The time after which instances count as leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// The time from the end of the watched cgroup or container to a verdict: a runtime that
    /// removes a container closes its instances a moment later.
    pub target: Duration,
    /// The time for which an instance may have no watch before it counts as idle.
    pub idle: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { target: Duration::from_secs(30), idle: Duration::from_secs(600) }
    }
}

/// Kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It watched only files of cgroups, and these are gone: it can get no more events.
    TargetGone,
    /// The container it was created in is gone, and a process outside still holds it.
    ContainerGone,
    /// Its holder creates more and more instances, and closes none.
    Growing,
    /// It has had no watch for long. Unusual, but no leak by itself.
    Idle,
}

impl Kind {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetGone => "target-gone",
            Self::ContainerGone => "container-gone",
            Self::Growing => "growing",
            Self::Idle => "idle",
        }
    }

    /// Whether it is a leak, and not only a note.
    #[must_use]
    pub fn is_leak(self) -> bool {
        self != Self::Idle
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Inferred.
    Likely,
    /// Seen in the kernel.
    Certain,
}

/// A leaked instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The instance.
    pub instance: InstanceId,
    /// When the leak began: the end of the watched cgroup or container. For a leak that existed at
    /// start: the time of the snapshot.
    pub since: BootTime,
    /// The cgroups it watched, all of which are gone; or the one it was created in.
    pub cgroups: Vec<CgroupId>,
    /// Whether the leak existed at start: then `since` is the time of the snapshot.
    pub was_found: bool,
    /// The confidence of the leak.
    pub confidence: Confidence,
}

impl Evidence {
    fn new(
        instance: &Instance,
        since: BootTime,
        cgroups: Vec<CgroupId>,
        confidence: Confidence,
    ) -> Self {
        let was_found = instance.origin == Origin::Found && since == instance.since;
        Self { instance: instance.id, since, cgroups, was_found, confidence }
    }
}

/// A verdict on some instances of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Its kind.
    pub kind: Kind,
    /// The process that holds them, by process id.
    pub pid: u32,
    /// The known bug that it matches.
    pub pattern: Option<&'static Pattern>,
    /// The instances, those leaked first before others.
    pub evidence: Vec<Evidence>,
    /// The rate at which it grows, if it does.
    pub growth: Option<Growth>,
    /// The cost of each restart of a container, if the process is a shim that keeps their
    /// instances.
    pub restarts: Option<Restarts>,
}

impl Verdict {
    /// Whether all its leaks existed at start.
    #[must_use]
    pub fn was_found(&self) -> bool {
        self.evidence.iter().all(|it| it.was_found)
    }

    /// When the first of its instances was leaked.
    #[must_use]
    pub fn since(&self) -> BootTime {
        self.evidence.iter().map(|it| it.since).min().unwrap_or(BootTime(0))
    }

    /// Adds the cost of restarts, which takes a scan of all known cgroups.
    fn with_restarts(mut self, tracker: &Tracker, now: BootTime, grace: &Grace) -> Self {
        let process = tracker.process(self.pid).filter(|_| self.kind == Kind::TargetGone);
        self.restarts = process.and_then(|process| {
            restarts::of(tracker, process, self.pattern, &self.evidence, (now, grace))
        });
        self
    }

    /// The lowest confidence of its instances.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        self.evidence.iter().map(|it| it.confidence).min().unwrap_or(Confidence::Likely)
    }
}

/// The verdicts at a moment: one for each holder, kind and known bug; leaks first.
#[must_use]
pub fn verdicts(tracker: &Tracker, now: BootTime, grace: &Grace) -> Vec<Verdict> {
    let (found, _) = judgement(tracker, now, grace);
    found.into_iter().map(|it| it.with_restarts(tracker, now, grace)).collect()
}

/// The verdicts at a moment, without the cost of restarts; and when the next one is due without
/// further events.
fn judgement(tracker: &Tracker, now: BootTime, grace: &Grace) -> (Vec<Verdict>, Option<BootTime>) {
    let mut found: BTreeMap<(Kind, u32), Vec<Evidence>> = BTreeMap::new();
    let mut next: Option<BootTime> = None;
    for instance in tracker.instances() {
        let Some((kind, evidence)) = suspect(tracker, instance) else { continue };
        let wait = if kind == Kind::Idle { grace.idle } else { grace.target };
        if now.since(evidence.since) < wait {
            let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            let due = BootTime(evidence.since.0.saturating_add(wait));
            next = Some(next.map_or(due, |next| next.min(due)));
            continue;
        }
        if let Some(holder) = holder(tracker, instance) {
            found.entry((kind, holder.task.pid)).or_default().push(evidence);
        }
    }
    for process in tracker.processes() {
        if let Some(evidence) = growth::of_process(tracker, process, now) {
            found.entry((Kind::Growing, process.task.pid)).or_insert(evidence);
        }
    }
    // Growth is no verdict of its own if at least half of it is leaked instances.
    let leaked = |found: &BTreeMap<(Kind, u32), Vec<Evidence>>, pid| {
        let count = |kind| found.get(&(kind, pid)).map_or(0, Vec::len);
        count(Kind::TargetGone) + count(Kind::ContainerGone)
    };
    let explained: Vec<_> = found
        .iter()
        .filter(|((kind, pid), evidence)| {
            *kind == Kind::Growing && 2 * leaked(&found, *pid) >= evidence.len()
        })
        .map(|(key, _)| *key)
        .collect();
    found.retain(|key, _| !explained.contains(key));
    let verdict = |((kind, pid), evidence)| verdict(tracker, kind, pid, evidence);
    (found.into_iter().map(verdict).collect(), next)
}

fn verdict(tracker: &Tracker, kind: Kind, pid: u32, mut evidence: Vec<Evidence>) -> Verdict {
    evidence.sort_by_key(|it| (it.since, it.instance));
    let pattern = tracker.process(pid).and_then(|it| patterns::find(tracker, kind, it, &evidence));
    let growth = match kind {
        Kind::Idle => None,
        // Leaks found at start have no start time; they don't count in the rate.
        _ => growth::of_times(
            tracker,
            pid,
            evidence.iter().filter(|it| !it.was_found).map(|it| it.since),
        ),
    };
    Verdict { kind, pid, pattern, evidence, growth, restarts: None }
}

/// The holder that an instance is attributed to: of several holders the one that has held it
/// longest, which is its creator while that exists.
fn holder<'a>(tracker: &'a Tracker, instance: &Instance) -> Option<&'a Process> {
    instance.descriptors().first().and_then(|&(pid, _)| tracker.process(pid))
}

/// Whether an instance looks leaked now, before any grace period is over: what it was for is gone.
#[must_use]
pub fn looks_leaked(tracker: &Tracker, instance: &Instance) -> bool {
    suspect(tracker, instance).is_some_and(|(kind, _)| kind.is_leak())
}

/// The kind of leak that an instance becomes after its grace period, with the evidence.
fn suspect(tracker: &Tracker, instance: &Instance) -> Option<(Kind, Evidence)> {
    if let Some(evidence) = target_gone(tracker, instance) {
        return Some((Kind::TargetGone, evidence));
    }
    if let Some(evidence) = container_gone(tracker, instance) {
        return Some((Kind::ContainerGone, evidence));
    }
    let since = instance.emptied.unwrap_or(instance.since);
    let evidence = || Evidence::new(instance, since, Vec::new(), Confidence::Certain);
    instance.watches().is_empty().then(|| (Kind::Idle, evidence()))
}

/// The evidence if an instance is open although it has watched only files of cgroups, and all these
/// are gone. A watch on anything else means that it has another purpose.
fn target_gone(tracker: &Tracker, instance: &Instance) -> Option<Evidence> {
    let evidence =
        |since, cgroups, confidence| Some(Evidence::new(instance, since, cgroups, confidence));
    if instance.served.is_empty() {
        // The kernel removed its watches before the snapshot: only its holder shows its purpose.
        let is_shape = instance.watches().is_empty() && instance.queued.is_some();
        let process = holder(tracker, instance).filter(|_| is_shape)?;
        patterns::leaves_empty(tracker, process).then_some(())?;
        return evidence(instance.since, Vec::new(), Confidence::Likely);
    }
    let watches_other = instance.watches().values().any(|it| it.target.cgroup.known().is_none());
    if watches_other || instance.served.len() > SERVED {
        return None;
    }
    let mut since = instance.emptied.unwrap_or(instance.since);
    for &cgroup in &instance.served {
        since = since.max(tracker.cgroups().gone_since(cgroup)?.unwrap_or(instance.since));
    }
    evidence(since, instance.served.iter().copied().collect(), Confidence::Certain)
}

/// The evidence if the container that an instance was created in is gone, and a process elsewhere
/// holds it.
fn container_gone(tracker: &Tracker, instance: &Instance) -> Option<Evidence> {
    let made_in = instance.creator_cgroup.known()?;
    let cgroups = tracker.cgroups();
    // A cgroup that was never known may not have been a container's.
    cgroups.get(made_in)?.container.as_ref()?;
    let since = cgroups.gone_since(made_in)??;
    let elsewhere = holder(tracker, instance)?.task.cgroup != made_in;
    elsewhere.then(|| Evidence::new(instance, since, vec![made_in], Confidence::Certain))
}
