//! The fields of findings.

use inotify_trace_model::{
    event::{BootTime, CgroupId},
    findings::Finding,
    resource::Resource,
    tracker::Tracker,
    verdict::{Confidence, Detail, Evidence, Kind, Pile, Verdict, Watched},
};
use serde_json::{Map, Value, json};

use super::{
    Context, Field, Record,
    event::target_cgroup,
    objects::{self, pod_of},
    task,
};
use crate::output::{device, words};

/// The fields of a verdict that was reached at `now`, without its evidence.
pub(crate) fn finding<'a>(
    context: &'a Context,
    verdict: &Verdict,
    tracker: &'a Tracker,
    now: BootTime,
) -> Record<'a> {
    let finding = Finding::of(verdict, tracker);
    let mut record = context.record_at(now);
    record.set(Field::Event, "verdict");
    record.set(Field::Pid, verdict.pid);
    if let Some(process) = tracker.process(verdict.pid) {
        task(&mut record, Some(process.task), tracker);
        if let Some(shim) = &process.shim {
            record.maybe(Field::ContainerdVersion, shim.version.as_deref());
            pod_of(&mut record, &shim.id, tracker);
        }
    }
    record.maybe(Field::Shim, finding.holder.serves.as_ref().map(objects::shim));
    record.set(Field::Verdict, Kind::name(finding.kind));
    record.set(Field::Leak, finding.kind.is_leak());
    record.set(Field::Instances, finding.count as u64);
    record.set(Field::Since, context.clock.timestamp(finding.since));
    record.set(Field::WasFound, finding.was_found);
    record.set(Field::Certain, finding.confidence == Confidence::Certain);
    detail(&mut record, &finding.detail);
    if let (Kind::LimitNear, Some(Resource::Watches)) =
        (finding.kind, finding.growth.map(|it| it.resource))
    {
        let held = verdict.evidence.iter().filter_map(|it| tracker.instance(it.instance));
        record.set(Field::Watches, held.map(|it| it.watches().len() as u64).sum::<u64>());
    }
    if let Some(growth) = finding.growth {
        record.set(Field::PerMinute, growth.per_minute);
        record.maybe(Field::Left, growth.left);
        record.maybe(Field::SecondsLeft, growth.time_left().map(|it| it.as_secs()));
    }
    if let Some(queue) = finding.queue {
        record.set(Field::Queued, queue.queued);
        record.maybe(Field::QueueLimit, (queue.limit > 0).then_some(queue.limit));
    }
    if let Some(restarts) = finding.restarts {
        record.set(Field::ContainersEnded, restarts.ended as u64);
        record.set(Field::PerRestart, restarts.per_restart);
        record.set(Field::PerRestartInferred, restarts.is_inferred);
        record.maybe(Field::RestartsLeft, restarts.left);
        record.maybe(Field::Limit, restarts.limit);
    }
    if let Some(pattern) = finding.pattern {
        record.set(Field::Pattern, &*pattern.name);
        record.maybe(Field::VersionHasIt, finding.version.as_ref().map(|(_, has_it)| *has_it));
        record.maybe(Field::FixedIn, pattern.fixed_in.as_deref());
        record.set(Field::Source, &*pattern.source);
    }
    record.set(Field::Remedy, words::remedy(finding.remedy()));
    record
}

/// The fields that only some kinds of verdicts have.
fn detail(record: &mut Record<'_>, detail: &Detail) {
    match detail {
        Detail::None | Detail::Watched(Watched::Nothing | Watched::Various) => {}
        Detail::Watched(Watched::Same(target)) => {
            record.maybe(Field::Path, target.path.as_deref().map(str::to_owned));
            if target.inode != 0 {
                record.set(Field::Inode, target.inode);
                record.set(Field::Dev, device(target.dev));
            }
        }
        Detail::Pile(pile) => processes(record, *pile),
        Detail::Watches { now, .. } => record.set(Field::Watches, u64::from(*now)),
        Detail::Near(near) => {
            record.set(Field::Used, near.quota.used);
            record.set(Field::Limit, near.quota.limit);
            record.set(Field::LooksUsed, near.looks_used);
            if let Some(pile) = near.pile {
                processes(record, pile);
            }
        }
    }
}

fn processes(record: &mut Record<'_>, pile: Pile) {
    record.set(Field::Comm, pile.comm.to_str().into_owned());
    record.set(Field::Processes, pile.processes as u64);
}

/// Adds the evidence of a verdict, one object for each instance.
pub(crate) fn evidence(
    record: &mut Record<'_>,
    context: &Context,
    verdict: &Verdict,
    tracker: &Tracker,
) {
    let each = |it: &Evidence| {
        let cgroups: Vec<_> = it.cgroups.iter().map(|&id| cgroup(id, tracker)).collect();
        json!({
            "instance": it.instance,
            "since": context.clock.utc(it.since),
            "was_found": it.was_found,
            "certain": it.confidence == Confidence::Certain,
            "cgroups": cgroups,
        })
    };
    record.set(Field::Evidence, verdict.evidence.iter().map(each).collect::<Vec<_>>());
}

/// The record of one leaked instance of a verdict, whose record is `finding`.
pub(crate) fn leaked<'a>(
    context: &Context,
    finding: &Record<'a>,
    evidence: &Evidence,
    tracker: &'a Tracker,
) -> Record<'a> {
    let mut record = finding.clone();
    record.set(Field::Event, "leaked");
    // These are the verdict's totals, and would be counted once for each instance.
    for field in [Field::Instances, Field::Processes, Field::PerMinute, Field::Left, Field::Limit] {
        record.remove(field);
    }
    record.set(Field::Instance, evidence.instance.0);
    record.set(Field::Since, context.clock.timestamp(evidence.since));
    record.set(Field::WasFound, evidence.was_found);
    record.set(Field::Certain, evidence.confidence == Confidence::Certain);
    // An instance that served several containers counts for the first.
    let served = evidence.cgroups.first().copied();
    target_cgroup(&mut record, served.unwrap_or_default(), tracker);
    record
}

fn cgroup(id: CgroupId, tracker: &Tracker) -> Value {
    let mut fields = Map::new();
    fields.insert(Field::CgroupId.name().to_owned(), json!(id));
    if let Some(cgroup) = tracker.cgroups().get(id) {
        fields.insert(Field::Cgroup.name().to_owned(), json!(cgroup.path));
        if let Some(container) = &cgroup.container {
            fields.insert("container".to_owned(), objects::container(container, tracker));
        }
    }
    fields.into()
}
