//! All verdicts at a moment.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::{
    Confidence, Detail, Evidence, Grace, Growth, Kind, Near, Verdict, Watched, alike,
    growth::{self, Instances},
    patterns,
    piles::{self, Growing},
    steady,
    suspects::{holder, queue_full, suspect},
};
use crate::{
    event::{BootTime, InstanceId, Quota},
    tracker::{Instance, Process, Tracker},
};

/// A limit that is reached within this time at the present rate is near.
const NEAR: Duration = Duration::from_secs(600);

/// This many instances of a process with the same target are worth a note.
const MANY_ALIKE: usize = 10;

/// The verdicts at a moment, without the cost of restarts; and when the next one is due without
/// further events.
pub(super) fn judgement(
    tracker: &Tracker,
    now: BootTime,
    grace: &Grace,
) -> (Vec<Verdict>, Option<BootTime>) {
    if tracker.is_uncertain() {
        return (Vec::new(), None);
    }
    let mut judge = Judge { tracker, now, grace, found: BTreeMap::new(), next: None };
    let leaked = judge.single_instances();
    for process in tracker.processes() {
        judge.growth_of(process, &leaked);
    }
    judge.growth_of_watches();
    judge.piles(&leaked);
    for process in tracker.processes() {
        judge.alike(process);
    }
    (judge.found.into_values().collect(), judge.next)
}

struct Judge<'a> {
    tracker: &'a Tracker,
    now: BootTime,
    grace: &'a Grace,
    /// By kind and holder.
    found: BTreeMap<(Kind, u32), Verdict>,
    next: Option<BootTime>,
}

impl Judge<'_> {
    fn add(
        &mut self,
        kind: Kind,
        pid: u32,
        evidence: Vec<Evidence>,
        growth: Option<Growth>,
        detail: Detail,
    ) {
        let process = self.tracker.process(pid);
        let pattern = process.and_then(|it| patterns::find(self.tracker, kind, it, &evidence));
        let verdict = Verdict { kind, pid, pattern, evidence, growth, restarts: None, detail };
        self.found.insert((kind, pid), verdict);
    }

    /// Another look is due `wait` after `since`.
    fn look_again(&mut self, since: BootTime, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let due = BootTime(since.0.saturating_add(wait));
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// Instances that look leaked by themselves, by kind and holder. Returns those whose targets or
    /// containers are gone, be it for less than the grace period.
    fn single_instances(&mut self) -> HashSet<InstanceId> {
        let mut leaked = HashSet::new();
        let mut all: BTreeMap<(Kind, u32), Vec<Evidence>> = BTreeMap::new();
        for instance in self.tracker.instances() {
            let overflowed = queue_full(instance).zip(holder(self.tracker, instance));
            if let Some((evidence, holder)) = overflowed {
                all.entry((Kind::QueueFull, holder.task.pid)).or_default().push(evidence);
            }
            let Some((kind, evidence)) = suspect(self.tracker, instance) else { continue };
            let wait = if kind == Kind::Idle { self.grace.idle } else { self.grace.target };
            if kind.is_leak() {
                leaked.insert(instance.id);
            }
            if self.now.since(evidence.since) < wait {
                self.look_again(evidence.since, wait);
            } else if let Some(holder) = holder(self.tracker, instance) {
                all.entry((kind, holder.task.pid)).or_default().push(evidence);
            }
        }
        for ((kind, pid), mut evidence) in all {
            evidence.sort_by_key(|it| (it.since, it.instance));
            // Leaks found at start have no start time; they don't count in the rate.
            let times: Vec<_> =
                evidence.iter().filter(|it| !it.was_found).map(|it| (it.since, ())).collect();
            let process = self.tracker.process(pid);
            let growth = process
                .filter(|_| kind.is_leak())
                .and_then(|it| growth::of_leaks(self.tracker, it, &times));
            self.add(kind, pid, evidence, growth, Detail::None);
        }
        leaked
    }

    /// The instances of a process that become more.
    fn growth_of(&mut self, process: &Process, leaked: &HashSet<InstanceId>) {
        let Some(found) = growth::of_process(self.tracker, process, (self.now, self.grace.growth))
        else {
            return;
        };
        let (Instances::Leak(more) | Instances::Undecided(more) | Instances::Use(more)) = &found;
        let evidence = growth::evidence(more);
        // Growth is no verdict of its own if at least half of it is leaked instances.
        if is_explained(&evidence, leaked) {
            return;
        }
        let pid = process.task.pid;
        let growth = growth::of_times(self.tracker, more.first().map(|it| it.1), more);
        match found {
            Instances::Leak(_) => {
                let watched = watched(self.tracker, more.iter().map(|it| it.1));
                self.found.remove(&(Kind::Idle, pid));
                self.add(Kind::Growing, pid, evidence, growth, Detail::Watched(watched));
            }
            Instances::Undecided(_) => self.near(pid, evidence, growth, Near::undecided),
            Instances::Use(_) => self.near(pid, evidence, growth, Near::used),
        }
    }

    /// A limit that is near, unless there is more to say of its holder.
    fn near(
        &mut self,
        pid: u32,
        evidence: Vec<Evidence>,
        growth: Option<Growth>,
        near: impl Fn(Quota) -> Near,
    ) {
        let is_near = |growth: &Growth| growth.time_left().is_some_and(|left| left <= NEAR);
        let Some(growth) = growth.filter(is_near) else { return };
        let first = evidence.first().and_then(|it| self.tracker.instance(it.instance));
        let quota = first.and_then(|it| growth::quota_of(self.tracker, it, growth.resource));
        // Use usually ends before it reaches a limit.
        let is_worth_it =
            |it: &Near| !it.looks_used || u64::from(it.quota.used) * 2 >= it.quota.limit.into();
        if let Some(near) = quota.map(near).filter(is_worth_it) {
            self.add(Kind::LimitNear, pid, evidence, Some(growth), Detail::Near(near));
        }
    }

    /// The instances whose watches become more. Of a process with several, the one that grows most.
    fn growth_of_watches(&mut self) {
        let mut by_holder: BTreeMap<u32, (growth::Watches, &Instance)> = BTreeMap::new();
        for instance in self.tracker.instances() {
            let Some(watches) = growth::of_watches(self.tracker, instance, self.now) else {
                continue;
            };
            let Some(holder) = holder(self.tracker, instance) else { continue };
            let rank =
                |(it, of): &(growth::Watches, &Instance)| (it.is_decided, of.watches().len());
            let new = (watches, instance);
            let most = by_holder.entry(holder.task.pid).or_insert(new);
            if rank(&new) > rank(most) {
                *most = new;
            }
        }
        // Nothing to count, usually.
        let phantoms =
            if by_holder.is_empty() { BTreeMap::new() } else { growth::phantoms(self.tracker) };
        for (pid, (watches, instance)) in by_holder {
            let phantoms = instance.charged.and_then(|user| phantoms.get(&user).copied());
            if !watches.is_more_than(phantoms.unwrap_or_default()) {
                continue;
            }
            let evidence =
                vec![Evidence::new(instance, watches.since, Vec::new(), Confidence::Likely)];
            if watches.is_decided {
                let now = u32::try_from(instance.watches().len()).unwrap_or(u32::MAX);
                let detail = Detail::Watches { now, before: watches.from };
                self.add(Kind::WatchesGrowing, pid, evidence, Some(watches.growth), detail);
            } else if !self.found.contains_key(&(Kind::LimitNear, pid)) {
                self.near(pid, evidence, Some(watches.growth), Near::undecided);
            }
        }
    }

    fn piles(&mut self, leaked: &HashSet<InstanceId>) {
        for found in piles::growing(self.tracker, self.now, self.grace.growth) {
            let Growing { pile, oldest, evidence, growth, is_decided } = found;
            if is_explained(&evidence, leaked) {
                continue;
            }
            if is_decided {
                self.add(Kind::PilingUp, oldest, evidence, growth, Detail::Pile(pile));
            } else {
                let near = |quota| Near { pile: Some(pile), ..Near::undecided(quota) };
                self.near(oldest, evidence, growth, near);
            }
        }
    }

    /// Many instances of a process on the same target, unless another verdict tells of them.
    fn alike(&mut self, process: &Process) {
        let (tracker, pid) = (self.tracker, process.task.pid);
        if process.descriptors.len() < MANY_ALIKE {
            return;
        }
        let is_told = |kind: Kind| self.found.contains_key(&(kind, pid));
        let others = [Kind::TargetGone, Kind::ContainerGone, Kind::Growing, Kind::LimitNear];
        if others.into_iter().any(is_told) || is_told(Kind::Idle) {
            return;
        }
        let ids: HashSet<_> = process.descriptors.values().copied().collect();
        let held = ids.into_iter().filter_map(|id| tracker.instance(id));
        let mut held: Vec<_> =
            held.filter(|it| holder(tracker, it).is_some_and(|it| it.task.pid == pid)).collect();
        held.sort_by_key(|it| (it.since, it.id));
        let (same, target) = alike::largest(tracker, &held);
        let Some(last) = same.get(MANY_ALIKE - 1) else { return };
        if self.now.since(last.since) < self.grace.target {
            let since = last.since;
            self.look_again(since, self.grace.target);
            return;
        }
        let same: Vec<_> = same.into_iter().map(|it| (it.since, it)).collect();
        // Those that are about to end, as others did, are nothing special.
        let Some((old, _)) =
            steady::outlasting(&same, &process.closed, self.now, self.grace.target)
        else {
            return;
        };
        if old.len() < MANY_ALIKE {
            return;
        }
        let evidence = |(since, it): &(_, &Instance)| {
            Evidence::new(it, *since, Vec::new(), Confidence::Certain)
        };
        let evidence: Vec<_> = old.iter().map(evidence).collect();
        let watched = target.map_or(Watched::Nothing, |it| Watched::Same(Box::new(it.clone())));
        self.add(Kind::Alike, pid, evidence, None, Detail::Watched(watched));
    }
}

/// Whether at least half of the evidence is leaked instances, of which another verdict tells.
fn is_explained(evidence: &[Evidence], leaked: &HashSet<InstanceId>) -> bool {
    let known = evidence.iter().filter(|it| leaked.contains(&it.instance)).count();
    2 * known >= evidence.len()
}

fn watched<'a>(
    tracker: &Tracker,
    instances: impl Iterator<Item = &'a Instance> + Clone,
) -> Watched {
    if let Some(target) = alike::common(tracker, instances.clone()) {
        Watched::Same(Box::new(target.clone()))
    } else if alike::is_nothing(tracker, instances) {
        Watched::Nothing
    } else {
        Watched::Various
    }
}
