//! Verdicts in words, for a person who was just woken up, and as JSON.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::{BootTime, CgroupId},
    tracker::Tracker,
    verdict::{Confidence, Growth, Kind, Pattern, Restarts, Verdict},
};
use serde_json::{Map, Value, json};

use super::{Approximate, printable, shim::Served};
use crate::output::cgroup_name;

/// A time of day is of no use beyond it.
const DAY: Duration = Duration::from_secs(86_400);

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
        let mut text = format!("{label}  {}\n", heading(verdict, tracker));
        let age = now.since(verdict.since());
        let form = if age < DAY { Timestamps::Time } else { Timestamps::Iso };
        let mut since = String::new();
        self.clock.write(&mut since, verdict.since(), form);
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
            text += &format!("      for: {}\n", served.join(", "));
        }
        let pace = pace(verdict);
        if !pace.is_empty() {
            text += &format!("      pace: {}\n", pace.join("; "));
        }
        if let Some(pattern) = verdict.pattern {
            let fixed = pattern.fixed_in.as_deref();
            let fixed = fixed.map(|it| format!("; fixed in {it}")).unwrap_or_default();
            text += &format!("      known: {}{fixed}\n", pattern.about);
            if let Some((version, has_it)) = version(verdict, pattern, tracker) {
                let version = printable(version);
                let has_it = if has_it { "has it" } else { "should not have it" };
                text += &format!("             this is version {version}, which {has_it}\n");
            }
            text += &format!("             {}\n", pattern.source);
        }
        text + &format!("      do: {}\n", remedy(verdict))
    }

    /// As one JSON object; its fields are documented in docs/json.md.
    #[must_use]
    pub fn json(&self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> Value {
        Value::Object(json(verdict, tracker, &self.clock, now))
    }
}

/// One line without an end: who, how many, what is wrong, how fast.
pub(crate) fn line(verdict: &Verdict, tracker: &Tracker) -> String {
    let mut line = heading(verdict, tracker);
    let pace = pace(verdict);
    if !pace.is_empty() {
        line += &format!(", {}", pace.join("; "));
    }
    line
}

/// Who, how many, and what is wrong.
fn heading(verdict: &Verdict, tracker: &Tracker) -> String {
    let count = verdict.evidence.len();
    let instances = if count == 1 { "instance" } else { "instances" };
    let what = match verdict.kind {
        Kind::TargetGone => "whose containers or cgroups are gone",
        Kind::ContainerGone => "of a container that is gone",
        Kind::Growing => "and makes ever more",
        Kind::Idle => "without a watch",
    };
    let pattern = verdict.pattern.map(|it| format!(" ({})", it.name)).unwrap_or_default();
    format!("{} holds {count} {instances} {what}{pattern}", who(verdict.pid, tracker))
}

/// As one JSON object; its fields are documented in docs/json.md.
pub(super) fn json(
    verdict: &Verdict,
    tracker: &Tracker,
    clock: &Clock,
    now: BootTime,
) -> Map<String, Value> {
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
        if let Some((_, has_it)) = version(verdict, pattern, tracker) {
            add("version_has_it", json!(has_it));
        }
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
fn served(verdict: &Verdict, tracker: &Tracker) -> Vec<String> {
    let shim = tracker.process(verdict.pid).and_then(|it| Served::by(it, tracker));
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    let mut unnamed = BTreeSet::new();
    for &cgroup in verdict.evidence.iter().flat_map(|it| &it.cgroups) {
        match cgroup_name(tracker.cgroups(), cgroup) {
            Some(name) => *named.entry(printable(&name).into_owned()).or_default() += 1,
            None => drop(unnamed.insert(cgroup)),
        }
    }
    // Emptied before they were found: a shim serves nothing but the containers of its pod.
    let emptied = verdict.evidence.iter().filter(|it| it.cgroups.is_empty()).count();
    let unnamed = unnamed.len() + if shim.is_some() { emptied } else { 0 };
    let more = named.len().saturating_sub(NAMED);
    let mut parts: Vec<_> = named
        .into_iter()
        .take(NAMED)
        .map(|(name, count)| if count == 1 { name } else { format!("{name} x{count}") })
        .collect();
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    if unnamed > 0 {
        let what = if shim.is_some() { "container" } else { "cgroup" };
        let (plural, were) = if unnamed == 1 { ("", "was") } else { ("s", "were") };
        let pod = shim.and_then(|it| it.pod()).map(|pod| format!(" of {pod}"));
        let pod = pod.unwrap_or_default();
        parts.push(format!("{unnamed} {what}{plural}{pod} that {were} gone before"));
    }
    parts
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
    let process = tracker.process(pid);
    let task = process.map(|process| process.task);
    let comm = task.map(|task| printable(&task.comm.to_str()).into_owned());
    let served = process.and_then(|it| Served::by(it, tracker));
    let served = served.map(|it| format!(" of {}", it.words())).unwrap_or_default();
    let place = task.and_then(|task| cgroup_name(tracker.cgroups(), task.cgroup));
    let place = place.map(|place| format!(" in {}", printable(&place))).unwrap_or_default();
    format!("{} ({pid}){served}{place}", comm.as_deref().unwrap_or("a process"))
}

/// How fast it gets worse: by restarts, and by time.
fn pace(verdict: &Verdict) -> Vec<String> {
    let restarts = verdict.restarts.map(by_restarts);
    let says_left = verdict.restarts.is_some_and(|it| it.left.is_some());
    let growth = verdict.growth.map(|growth| by_time(growth, says_left));
    restarts.into_iter().chain(growth).collect()
}

fn by_restarts(restarts: Restarts) -> String {
    let Restarts { per_restart, is_inferred, limit, left, .. } = restarts;
    let rate = if per_restart.fract() == 0.0 {
        format!("{per_restart} a restart")
    } else {
        format!("{per_restart:.2} a restart")
    };
    let left = left.zip(limit).map(|(left, limit)| {
        let plural = if left == 1 { "" } else { "s" };
        format!(", {left} restart{plural} left until the limit of {limit}")
    });
    let inferred = if is_inferred { " (inferred)" } else { "" };
    format!("{rate}{}{inferred}", left.unwrap_or_default())
}

/// How much is left is said once.
fn by_time(growth: Growth, says_left: bool) -> String {
    let rate = match growth.per_minute {
        rate if rate >= 1.0 => format!("{rate:.1} more a minute"),
        rate => format!("{:.1} more an hour", rate * 60.0),
    };
    if growth.left == Some(0) {
        return format!("{rate}, and the limit is reached");
    }
    let left = growth.left.filter(|_| !says_left).map(|left| format!(", {left} left"));
    let when = growth.time_left().filter(|it| *it < Duration::from_secs(30 * 86_400));
    let when = when.map(|it| format!(": the limit is reached in {}", Approximate(it)));
    format!("{rate}{}{}", left.unwrap_or_default(), when.unwrap_or_default())
}

/// The version of the program a verdict is on, and whether it has a bug, where both can be told.
fn version<'a>(
    verdict: &Verdict,
    pattern: &Pattern,
    tracker: &'a Tracker,
) -> Option<(&'a str, bool)> {
    let shim = tracker.process(verdict.pid)?.shim.as_ref()?;
    let version = shim.version.as_deref()?;
    Some((version, pattern.is_in(version)?))
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
