//! Verdicts in words, for a person who was just woken up, and as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{Approximate, Clock, Timestamps, printable};
use crate::{
    event::{BootTime, CgroupId},
    tracker::Tracker,
    verdict::{Confidence, Growth, Kind, Verdict},
};

/// How many of the containers an instance was for are named.
const NAMED: usize = 5;

/// Tells of verdicts.
#[derive(Clone, Debug)]
pub struct Findings {
    clock: Clock,
}

impl Findings {
    /// In the words and the time zone of this machine.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// All there is to say, in several lines.
    #[must_use]
    pub fn text(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> String {
        let label = if verdict.kind.is_leak() { "LEAK" } else { "NOTE" };
        let mut text = format!("{label}  {}\n", line(verdict, tracker));
        let mut since = String::new();
        self.clock.write(&mut since, verdict.since(), Timestamps::Time);
        let age = now.since(verdict.since());
        let sure = match verdict.confidence() {
            Confidence::Certain => "",
            Confidence::Likely => "; inferred",
        };
        text += &if verdict.was_found() {
            format!("      since before {since}, when it was found so{sure}\n")
        } else {
            format!("      since {since}, {} ago{sure}\n", Approximate(age))
        };
        let served = served(verdict, tracker);
        if !served.is_empty() {
            let more = served.len().saturating_sub(NAMED);
            let named: Vec<_> = served
                .iter()
                .take(NAMED)
                .map(|(name, count)| match count {
                    1 => name.clone(),
                    count => format!("{name} x{count}"),
                })
                .collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text += &format!("      for: {}{more}\n", named.join(", "));
        }
        if let Some(pattern) = verdict.pattern {
            let fixed = pattern.fixed_in.as_deref();
            let fixed = fixed.map(|it| format!("; fixed in {it}")).unwrap_or_default();
            text += &format!("      known: {}{fixed}\n", pattern.about);
            text += &format!("             {}\n", pattern.source);
        }
        text + &format!("      do: {}\n", remedy(verdict))
    }

    /// As one JSON object; its fields are documented in docs/json.md.
    #[must_use]
    pub fn json(&self, verdict: &Verdict, tracker: &Tracker) -> Value {
        Value::Object(json(verdict, tracker, &self.clock))
    }
}

/// One line without an end: who, how many, what is wrong, how fast.
pub(crate) fn line(verdict: &Verdict, tracker: &Tracker) -> String {
    let count = verdict.evidence.len();
    let instances = if count == 1 { "instance" } else { "instances" };
    let what = match verdict.kind {
        Kind::TargetGone => "whose containers or cgroups are gone",
        Kind::ContainerGone => "of a container that is gone",
        Kind::Growing => "and makes ever more",
        Kind::Idle => "without a watch",
    };
    let mut line = format!("{} holds {count} {instances} {what}", who(verdict.pid, tracker));
    if let Some(pattern) = verdict.pattern {
        line += &format!(" ({})", pattern.name);
    }
    if let Some(growth) = verdict.growth {
        line += &format!(", {}", pace(growth));
    }
    line
}

/// As one JSON object; its fields are documented in docs/json.md.
pub(super) fn json(verdict: &Verdict, tracker: &Tracker, clock: &Clock) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    add("kind", json!(verdict.kind.name()));
    add("leak", json!(verdict.kind.is_leak()));
    add("pid", json!(verdict.pid));
    if let Some(process) = tracker.process(verdict.pid) {
        add("comm", json!(process.task.comm.to_str()));
        if let Some(cgroup) = tracker.cgroups().get(process.task.cgroup) {
            add("cgroup", json!(cgroup.path));
        }
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
    if let Some(pattern) = verdict.pattern {
        add("pattern", json!(pattern.name));
        add("fixed_in", json!(pattern.fixed_in));
        add("source", json!(pattern.source));
    }
    add("remedy", json!(remedy(verdict)));
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

/// What the instances were for, and how many each.
fn served(verdict: &Verdict, tracker: &Tracker) -> BTreeMap<String, usize> {
    let mut served = BTreeMap::new();
    for &cgroup in verdict.evidence.iter().flat_map(|it| &it.cgroups) {
        let name = match tracker.cgroups().display(cgroup) {
            Some(name) => printable(name).into_owned(),
            None => "containers that were gone before".to_owned(),
        };
        *served.entry(name).or_default() += 1;
    }
    served
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

fn who(pid: u32, tracker: &Tracker) -> String {
    let task = tracker.process(pid).map(|process| process.task);
    let comm = task.map(|task| printable(&task.comm.to_str()).into_owned());
    let place = task.and_then(|task| tracker.cgroups().display(task.cgroup));
    let place = place.map(|place| format!(" in {}", printable(place))).unwrap_or_default();
    format!("{} ({pid}){place}", comm.as_deref().unwrap_or("a process"))
}

fn pace(growth: Growth) -> String {
    let rate = match growth.per_minute {
        rate if rate >= 1.0 => format!("{rate:.1} more a minute"),
        rate => format!("{:.1} more an hour", rate * 60.0),
    };
    let left = growth.left.map(|left| format!(", {left} left")).unwrap_or_default();
    let when = growth.time_left().filter(|it| *it < Duration::from_secs(30 * 86_400));
    let when = when.map(|it| format!(": the limit is reached in {}", Approximate(it)));
    format!("{rate}{left}{}", when.unwrap_or_default())
}

fn remedy(verdict: &Verdict) -> String {
    match (verdict.pattern, verdict.kind) {
        (Some(pattern), _) => pattern.remedy.clone(),
        (None, Kind::Idle) => "nothing, unless it becomes more".to_owned(),
        (None, _) => {
            "restart the process, which gives all of it back, and report the bug to its makers"
                .to_owned()
        }
    }
}
