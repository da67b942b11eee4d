//! Instances that look leaked by themselves: what they were for is gone.

use super::{Confidence, Evidence, Kind, patterns};
use crate::tracker::{Cgroup, Instance, Process, SERVED, Tracker};

/// The holder that an instance is attributed to: of several holders the one that has held it
/// longest, which is its creator while that exists.
pub(super) fn holder<'a>(tracker: &'a Tracker, instance: &Instance) -> Option<&'a Process> {
    instance.descriptors().first().and_then(|it| tracker.process(it.pid))
}

/// The kind of leak that an instance becomes after its grace period, with the evidence.
pub(super) fn suspect(tracker: &Tracker, instance: &Instance) -> Option<(Kind, Evidence)> {
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

/// The evidence if the queue of an instance has overflowed. Its holder may have read of it since, but
/// what was dropped stays missing.
pub(super) fn queue_full(instance: &Instance) -> Option<Evidence> {
    let overflow = instance.overflow?;
    let evidence = Evidence::new(instance, overflow.since, Vec::new(), Confidence::Certain);
    Some(Evidence { was_found: !overflow.was_seen, ..evidence })
}

/// The evidence if the container that an instance was created in is gone, and a process elsewhere
/// holds it. A container that runs may remove cgroups below its own.
fn container_gone(tracker: &Tracker, instance: &Instance) -> Option<Evidence> {
    let made_in = instance.creator_cgroup.known()?;
    let cgroups = tracker.cgroups();
    // A cgroup that was never known may not have been a container's.
    let container = cgroups.get(made_in)?.container.as_ref()?;
    let since = cgroups.gone_since(made_in)??;
    let runs = |it: &Cgroup| it.removed.is_none() && it.container.as_ref() == Some(container);
    let elsewhere = holder(tracker, instance)?.task.cgroup != made_in;
    let is_over = elsewhere && !cgroups.iter().any(runs);
    is_over.then(|| Evidence::new(instance, since, vec![made_in], Confidence::Certain))
}
