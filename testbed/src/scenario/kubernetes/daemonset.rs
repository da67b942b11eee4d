//! The agent as a pod of the DaemonSet: compares what it tells with what is in /proc.

use anyhow::{Context, Result};
use serde_json::Value;

/// The alert that a refused creation has fire.
const ALERT: &str = "InotifyInstancesExhausted";

/// What the manifest lets the pod have.
const MOST_MEMORY: u64 = 128 << 20;

/// The shim of a pod, by /proc.
#[derive(Debug, PartialEq, Eq)]
struct Shim<'a> {
    pod: &'a str,
    pid: u64,
    /// Those of its instances that watch nothing that exists.
    leaked: u64,
}

/// What is wrong in the machine's files.
pub fn problems(text: &dyn Fn(&str) -> Result<String>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let truth = text("truth.txt")?;
    let leaks: Value = serde_json::from_str(&text("leaks.json")?).context("leaks.json")?;
    let list: Value = serde_json::from_str(&text("list.json")?).context("list.json")?;
    let alerts: Value = serde_json::from_str(&text("alerts.json")?).context("alerts.json")?;
    let verdicts = || leaks["nodes"]["node-1"].as_array().into_iter().flatten();
    for line in truth.lines() {
        let shim = Shim::read(line).with_context(|| format!("truth.txt: {line:?}"))?;
        let its = verdicts().filter(|it| it["verdict"] == "target-gone" && it["pid"] == shim.pid);
        let told: u64 = its.clone().filter_map(|it| it["instances"].as_u64()).sum();
        if told != shim.leaked {
            problems.push(format!("{} has leaked {}, told are {told}", shim.pod, shim.leaked));
        }
        for verdict in its {
            let container = &verdict["shim"]["container"];
            if container["namespace"] != "shop" || container["pod_name"] != shim.pod {
                problems.push(format!("a leak of {} is put down to {container}", shim.pod));
            }
        }
        let rows = list["rows"].as_array().context("list.json has no rows")?;
        if !rows.iter().any(|row| row["container"]["pod_name"] == shim.pod) {
            problems.push(format!("the list has no row of {}", shim.pod));
        }
    }
    let strangers = verdicts().filter(|it| it["shim"]["container"]["namespace"] != "shop");
    problems.extend(strangers.map(|it| format!("what leaks nothing is said to: {it}")));
    let all = alerts["data"]["alerts"].as_array().into_iter().flatten();
    let mut firing = all.filter(|it| it["state"] == "firing" && it["labels"]["alertname"] == ALERT);
    if firing.next().is_none() {
        problems.push(format!("{ALERT} does not fire"));
    }
    let peak = text("peak.txt")?.trim().parse::<u64>().context("peak.txt")?;
    if peak > MOST_MEMORY {
        problems.push(format!("the pod took {peak} bytes"));
    }
    if text("agent-restarts.txt")?.trim() != "0" {
        problems.push("the agent's container has ended".to_owned());
    }
    Ok(problems)
}

impl<'a> Shim<'a> {
    /// Of a line of the machine's script: pod, process, instances, leaked ones.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let pod = words.next()?;
        let [pid, _, leaked] = [(); 3].map(|()| words.next().and_then(|it| it.parse().ok()));
        Some(Self { pod, pid: pid?, leaked: leaked? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(name: &str) -> String {
        let verdict = r#"{"verdict":"target-gone","pid":9,"instances":4,"shim":{"container":{"namespace":"shop","pod_name":"instant"}}}"#;
        match name {
            "truth.txt" => "crasher 8 2 0\ninstant 9 6 4\n".to_owned(),
            "leaks.json" => format!(r#"{{"nodes":{{"node-1":[{verdict}]}}}}"#),
            "list.json" => {
                r#"{"rows":[{"container":{"pod_name":"crasher"}},{"container":{"pod_name":"instant"}}]}"#
                    .to_owned()
            }
            "alerts.json" => format!(
                r#"{{"data":{{"alerts":[{{"state":"firing","labels":{{"alertname":"{ALERT}"}}}}]}}}}"#
            ),
            "peak.txt" => "30000000\n".to_owned(),
            _ => "0\n".to_owned(),
        }
    }

    #[test]
    fn a_node_where_all_is_right_has_no_problems() {
        let problems = problems(&|name: &str| Ok(right(name))).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (file, from, to, said) in [
            ("truth.txt", "6 4", "6 5", "instant has leaked 5, told are 4"),
            ("leaks.json", "instant", "crasher", "put down to"),
            ("leaks.json", "shop", "default", "said to"),
            ("list.json", "crasher", "web", "no row of crasher"),
            ("alerts.json", "firing", "pending", "does not fire"),
            ("peak.txt", "30000000", "300000000", "took"),
            ("agent-restarts.txt", "0", "1", "has ended"),
        ] {
            let text = |name: &str| {
                let text = right(name);
                Ok(if name == file { text.replace(from, to) } else { text })
            };
            let problems = problems(&text).unwrap().join("; ");
            assert!(problems.contains(said), "{file}: {problems:?}");
        }
    }
}
