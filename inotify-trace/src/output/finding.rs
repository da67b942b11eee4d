//! Findings as JSON; docs/json.md documents the fields.

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, CgroupId},
    findings::Finding,
    tracker::Tracker,
    verdict::{Confidence, Verdict},
};
use serde_json::{Map, Value, json};

use super::{shim::Served, words};

/// As one JSON object; its fields are documented in docs/json.md.
pub(crate) fn json(
    verdict: &Verdict,
    tracker: &Tracker,
    clock: &Clock,
    now: BootTime,
) -> Map<String, Value> {
    let finding = Finding::of(verdict, tracker);
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    add("time", json!(clock.utc(now)));
    add("boot_ns", json!(now));
    add("kind", json!(verdict.kind.name()));
    add("leak", json!(verdict.kind.is_leak()));
    add("pid", json!(verdict.pid));
    if let Some(process) = tracker.process(verdict.pid) {
        add("comm", json!(process.task.comm.to_str()));
        if let Some(cgroup) = tracker.cgroups().get(process.task.cgroup) {
            add("cgroup", json!(cgroup.path));
        }
    }
    let served = tracker.process(verdict.pid).and_then(|it| Served::by(it, tracker));
    if let Some(served) = &served {
        add("shim", json!(served));
    }
    add("instances", json!(verdict.evidence.len()));
    add("since", json!(clock.utc(verdict.since())));
    add("was_found", json!(verdict.was_found()));
    add("certain", json!(verdict.confidence() == Confidence::Certain));
    if let Some(growth) = verdict.growth {
        add("per_minute", json!(growth.per_minute));
        add("left", json!(growth.left));
        add("seconds_left", json!(growth.time_left().map(|it| it.as_secs())));
    }
    if let Some(restarts) = verdict.restarts {
        add("containers_ended", json!(restarts.ended));
        add("per_restart", json!(restarts.per_restart));
        add("per_restart_inferred", json!(restarts.is_inferred));
        add("restarts_left", json!(restarts.left));
        add("limit", json!(restarts.limit));
    }
    if let Some(pattern) = verdict.pattern {
        add("pattern", json!(pattern.name));
        if let Some((_, has_it)) = &finding.version {
            add("version_has_it", json!(has_it));
        }
        add("fixed_in", json!(pattern.fixed_in));
        add("source", json!(pattern.source));
    }
    add("remedy", json!(words::remedy(finding.remedy())));
    let evidence = verdict.evidence.iter().map(|it| {
        let cgroups = it.cgroups.iter().map(|&id| cgroup_json(id, tracker));
        json!({
            "instance": it.instance,
            "since": clock.utc(it.since),
            "cgroups": cgroups.collect::<Vec<_>>(),
            "certain": it.confidence == Confidence::Certain,
        })
    });
    add("evidence", evidence.collect());
    fields
}

fn cgroup_json(id: CgroupId, tracker: &Tracker) -> Value {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(id));
    if let Some(cgroup) = tracker.cgroups().get(id) {
        fields.insert("path".to_owned(), json!(cgroup.path));
        if let Some(container) = &cgroup.container {
            fields.insert("container".to_owned(), json!(container));
            if let Some(names) = tracker.cgroups().names(container) {
                fields.insert("names".to_owned(), json!(names));
            }
        }
    }
    Value::Object(fields)
}
