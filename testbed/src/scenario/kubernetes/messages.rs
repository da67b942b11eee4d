//! Programs that fail on a node whose limit is used up: compares what they say, and what inotify-trace
//! says of them, with what is known.

use anyhow::{Context, Result};
use serde_json::Value;

/// A program of the story.
struct Victim {
    /// What its files are called.
    name: &'static str,
    /// What it says without an instance.
    message: &'static str,
    /// The process that gets none.
    comm: &'static str,
    /// Where that runs: a pod's namespace and name, or else a unit.
    place: Place,
}

enum Place {
    Pod(&'static str, &'static str),
    Unit(&'static str),
}

const VICTIMS: [Victim; 3] = [
    Victim {
        name: "kubectl",
        message: "failed to create fsnotify watcher: too many open files",
        // It follows the log for kubectl.
        comm: "kubelet",
        place: Place::Unit("kubelet.service"),
    },
    Victim {
        name: "tail",
        message: "inotify cannot be used, reverting to polling: Too many open files",
        comm: "tail",
        place: Place::Pod("default", "web"),
    },
    Victim {
        name: "journalctl",
        message: "Insufficient watch descriptors available. Reverting to -n.",
        comm: "journalctl",
        place: Place::Unit("scenario.service"),
    },
];

/// What raises this limit.
const SYSCTL: &str = "fs.inotify.max_user_instances";

/// What is wrong in the machine's files.
pub fn problems(text: &dyn Fn(&str) -> Result<String>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let failures = failures(&text("trace.json")?).context("trace.json")?;
    let pods = pods(&text("list.json")?).context("list.json")?;
    for victim in &VICTIMS {
        let says = |when: &str| {
            let said = text(&format!("{when}-{}.txt", victim.name))?;
            anyhow::Ok(said.contains(victim.message))
        };
        if !says("full")? {
            problems.push(format!("{} does not say {:?}", victim.name, victim.message));
        }
        if says("after")? {
            problems.push(format!("{} fails after limits --apply", victim.name));
        }
        if !failures.iter().any(|failure| victim.is_of(failure)) {
            problems.push(format!("the trace has no failure of {} where it runs", victim.comm));
        }
    }
    // Shims of pods with as many containers are a group.
    let named = failures.iter().filter_map(|it| it["culprit_groups"].as_array()).map(|groups| {
        let shims = groups.iter().filter(|group| group["comm"] == "containerd-shim");
        shims.filter_map(|group| group["processes"].as_u64()).sum::<u64>()
    });
    match named.max() {
        Some(shims) if shims == pods => {}
        shims => problems.push(format!("of the shims of {pods} pods it names {shims:?}")),
    }
    let limits: Value = serde_json::from_str(&text("limits.json")?).context("limits.json")?;
    let sizing = &limits["recommendation"]["max_user_instances"];
    if sizing["pods_seen"] != pods {
        problems.push(format!("of {pods} pods, limits sees {}", sizing["pods_seen"]));
    }
    for name in ["trace.txt", "why.txt", "limits.txt"] {
        if !text(name)?.contains(SYSCTL) {
            problems.push(format!("{name} does not name {SYSCTL}"));
        }
    }
    Ok(problems)
}

impl Victim {
    /// Whether an event says that this program got no instance.
    fn is_of(&self, failure: &Value) -> bool {
        let container = &failure["container"];
        let is_there = match self.place {
            Place::Pod(namespace, name) => {
                container["namespace"] == namespace && container["pod_name"] == name
            }
            Place::Unit(unit) => failure["cgroup"].as_str().is_some_and(|it| it.ends_with(unit)),
        };
        is_there && failure["comm"] == self.comm && failure["limit_hit"] == "inotify-instances"
    }
}

/// The instances that were refused.
fn failures(trace: &str) -> Result<Vec<Value>> {
    let events = trace.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    Ok(events.into_iter().filter(|event| event["event"] == "create-failed").collect())
}

/// The number of pods in a list by container: of sandboxes that have a shim's instance.
fn pods(list: &str) -> Result<u64> {
    let list: Value = serde_json::from_str(list)?;
    let rows = list["rows"].as_array().context("it has no rows")?;
    let sandboxes = rows.iter().filter(|row| row["container"]["is_sandbox"] == true);
    Ok(u64::try_from(sandboxes.count())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of that name of a machine where everything is right.
    fn right(name: &str) -> String {
        let failure = |comm: &str, place: &str| {
            format!(
                r#"{{"event":"create-failed","comm":"{comm}","limit_hit":"inotify-instances",{place},"culprit_groups":[{{"comm":"containerd-shim","processes":2,"pods":2,"count":5}}]}}"#
            )
        };
        let sandbox = r#"{"container":{"is_sandbox":true}}"#;
        match name {
            "trace.json" => [
                failure("kubelet", r#""cgroup":"/system.slice/kubelet.service""#),
                failure("tail", r#""container":{"namespace":"default","pod_name":"web"}"#),
                failure("journalctl", r#""cgroup":"/system.slice/scenario.service""#),
                r#"{"event":"summary"}"#.to_owned(),
            ]
            .join("\n"),
            "list.json" => format!(r#"{{"rows":[{sandbox},{{"container":null}},{sandbox}]}}"#),
            "limits.json" => {
                r#"{"recommendation":{"max_user_instances":{"pods_seen":2}}}"#.to_owned()
            }
            "trace.txt" | "why.txt" | "limits.txt" => SYSCTL.to_owned(),
            _ => {
                let said = VICTIMS.iter().find(|it| name == format!("full-{}.txt", it.name));
                said.map_or_else(String::new, |it| it.message.to_owned())
            }
        }
    }

    fn found(wrong: &str, from: &str, to: &str) -> Vec<String> {
        let text = |name: &str| {
            let text = right(name);
            Ok(if name == wrong { text.replace(from, to) } else { text })
        };
        problems(&text).unwrap()
    }

    #[test]
    fn every_difference_is_a_problem() {
        assert_eq!(found("", "", ""), [""; 0]);
        assert_eq!(found("full-tail.txt", "inotify", "").len(), 1);
        assert_eq!(
            found("trace.json", "web", "shop"),
            ["the trace has no failure of tail where it runs"]
        );
        assert_eq!(found("trace.json", "kubelet.service", "cron.service").len(), 1);
        assert_eq!(found("trace.json", r#""processes":2"#, r#""processes":1"#).len(), 1);
        assert_eq!(found("limits.json", "2", "1"), ["of 2 pods, limits sees 1"]);
        assert_eq!(
            found("why.txt", SYSCTL, ""),
            ["why.txt does not name fs.inotify.max_user_instances"]
        );
    }
}
