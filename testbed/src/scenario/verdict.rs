//! Verdicts and culprits in inotify-trace's output.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::truth::{Pod, Quota};

/// A verdict on a shim that leaks by this bug.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// When it was reached, in nanoseconds since boot.
    pub time: u64,
    pub instances: usize,
    /// The pod's namespace and name.
    pub pod: String,
    /// Containers that ended, instances each has left, and whether that is inferred.
    pub ended: u64,
    pub per_restart: f64,
    pub is_inferred: bool,
    pub restarts_left: Option<u64>,
    pub limit: Option<u64>,
    pub remedy: String,
    /// The cgroups that the last of the instances was for.
    pub newest: Vec<u64>,
}

/// The bug that the scenario has its name from.
pub const BUG: &str = "containerd#5670";

/// The name by what is left of an instance that the kernel has emptied, as Debian's shims do not say
/// their version.
pub const EMPTIED: &str = "containerd#5670 or containerd-exit-before-watch";

/// The verdicts on a process that it leaks by that bug, as `leaks` writes them.
pub fn verdicts(text: &str, process: u64) -> Result<Vec<Verdict>> {
    verdicts_of(text, process, BUG)
}

/// The verdicts on a process that it leaks by a known bug. Lines that are no verdicts are skipped.
pub fn verdicts_of(text: &str, process: u64, bug: &str) -> Result<Vec<Verdict>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let verdict: Value = serde_json::from_str(line).context("a verdict is not JSON")?;
        let is = |field: &str, value: &str| verdict[field].as_str() == Some(value);
        let is_its = verdict["pid"].as_u64() == Some(process);
        if is_its && is("verdict", "target-gone") && is("pattern", bug) {
            found.push(read(&verdict)?);
        }
    }
    Ok(found)
}

fn read(verdict: &Value) -> Result<Verdict> {
    let number = |field: &str| verdict[field].as_u64();
    let names = &verdict["shim"]["container"];
    let name = |field: &str| names[field].as_str().unwrap_or("?");
    let evidence = verdict["evidence"].as_array().and_then(|all| all.last());
    let cgroups = evidence.and_then(|it| it["cgroups"].as_array()).map_or(&[][..], Vec::as_slice);
    Ok(Verdict {
        time: number("boot_ns").context("a verdict without a time")?,
        instances: usize::try_from(number("instances").context("a verdict without a count")?)?,
        pod: format!("{}/{}", name("namespace"), name("pod_name")),
        ended: number("containers_ended").unwrap_or_default(),
        per_restart: verdict["per_restart"].as_f64().unwrap_or_default(),
        is_inferred: verdict["per_restart_inferred"] == true,
        restarts_left: number("restarts_left"),
        limit: number("limit"),
        remedy: verdict["remedy"].as_str().unwrap_or_default().to_owned(),
        newest: cgroups.iter().filter_map(|it| it["cgroup_id"].as_u64()).collect(),
    })
}

impl Verdict {
    /// The failures of the output on this pod by what an emptied instance shows: no rate.
    pub fn problems_of_emptied(&self, pod: &Pod) -> Vec<String> {
        let expected = Self {
            pod: format!("default/{}", pod.name),
            ended: 0,
            per_restart: 0.0,
            is_inferred: false,
            restarts_left: None,
            limit: None,
            newest: Vec::new(),
            ..self.clone()
        };
        self.compared(expected)
    }

    /// The failures of the output on this pod.
    pub fn problems(&self, pod: &Pod, quota: Quota) -> Vec<String> {
        let left = quota.limit.checked_sub(quota.used);
        self.compared(Self {
            pod: format!("default/{}", pod.name),
            ended: self.instances as u64,
            per_restart: 1.0,
            restarts_left: left,
            limit: Some(quota.limit),
            is_inferred: false,
            ..self.clone()
        })
    }

    fn compared(&self, expected: Self) -> Vec<String> {
        if *self == expected {
            return Vec::new();
        }
        vec![format!("{self:?} instead of {expected:?}")]
    }

    /// The time, in nanoseconds, from the end of the last container plus the grace period until the
    /// verdict; None if the verdict came earlier.
    pub fn delay(&self, removed: &BTreeMap<u64, u64>, grace: u64) -> Option<u64> {
        let ended = self.newest.iter().filter_map(|cgroup| removed.get(cgroup)).max()?;
        self.time.checked_sub(ended + grace)
    }
}

/// The number of instances in the last verdict, if a verdict comes each time their number doubles.
pub fn last_told(leaked: usize) -> usize {
    leaked.checked_ilog2().map_or(0, |log| 1 << log)
}

/// The errors in the trace's report of a program in this pod's container `watcher` that was refused
/// an instance: the report must name the container, and blame one of the processes `shims`.
pub fn refusal(text: &str, pod: &Pod, shims: &[u64], most: usize) -> Result<Vec<String>> {
    let mut events = Vec::new();
    for line in text.lines() {
        events.push(serde_json::from_str::<Value>(line).context("an event is not JSON")?);
    }
    let is_watcher = |event: &&Value| {
        let container = &event["container"];
        event["event"] == "create-failed"
            && event["comm"] == "tail"
            && container["name"] == "watcher"
            && container["pod_name"] == *pod.name
    };
    let Some(event) = events.iter().find(is_watcher) else {
        return Ok(vec!["no failure of the program in the container".to_owned()]);
    };
    let mut problems = Vec::new();
    if (event["errno"].as_str(), event["limit_hit"].as_str())
        != (Some("EMFILE"), Some("inotify-instances"))
    {
        problems.push(format!("not the limit of instances: {event}"));
    }
    let first = &event["culprits"][0];
    let is_shim = first["pid"].as_u64().is_some_and(|pid| shims.contains(&pid));
    let is_named = first["shim"]["container"]["pod_name"].as_str().is_some_and(|it| !it.is_empty());
    if !is_shim || !is_named || first["count"].as_u64() < Some(most as u64) {
        problems.push(format!("no shim is to blame: {event}"));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { used: 10, limit: 128 };

    fn pod() -> Pod {
        Pod { name: "crashing".to_owned(), shim: 7, ..Pod::default() }
    }

    fn line(pid: u64, kind: &str, pattern: &str) -> String {
        format!(
            r#"{{"pid":{pid},"verdict":"{kind}","pattern":"{pattern}","instances":8,"boot_ns":90,
            "shim":{{"container":{{"namespace":"default","pod_name":"crashing"}}}},
            "containers_ended":8,"per_restart":1.0,"restarts_left":118,"limit":128,
            "evidence":[{{"cgroups":[{{"cgroup_id":4}}]}},{{"cgroups":[{{"cgroup_id":5}}]}}]}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn only_this_bug_of_this_process_counts() {
        let text = [
            line(7, "target-gone", "containerd#5670"),
            line(8, "target-gone", "containerd#5670"),
            line(7, "growing", "containerd#5670"),
            line(7, "target-gone", "another"),
        ];
        let found = verdicts(&text.join("\n"), 7).unwrap();
        assert_eq!(found.iter().map(|it| it.instances).collect::<Vec<_>>(), [8]);
        assert_eq!(verdicts("", 7).unwrap(), []);
        assert!(verdicts("{", 7).is_err());
    }

    #[test]
    fn all_that_is_said_of_a_pod_has_to_be_so() {
        let said = &verdicts(&line(7, "target-gone", "containerd#5670"), 7).unwrap()[0];
        assert_eq!(said.problems(&pod(), QUOTA), [""; 0]);
        let wrong = |change: fn(&mut Verdict)| {
            let mut verdict = said.clone();
            change(&mut verdict);
            verdict.problems(&pod(), QUOTA).len()
        };
        assert_eq!(wrong(|it| it.pod = "default/other".to_owned()), 1);
        assert_eq!(wrong(|it| it.ended = 9), 1);
        assert_eq!(wrong(|it| it.per_restart = 0.9), 1);
        assert_eq!(wrong(|it| it.restarts_left = Some(117)), 1);
        assert_eq!(wrong(|it| it.limit = None), 1);
    }

    #[test]
    fn an_emptied_instance_shows_no_rate() {
        let bare = r#"{"pid":7,"verdict":"target-gone","pattern":"PATTERN","instances":8,
            "boot_ns":90,"shim":{"container":{"namespace":"default","pod_name":"crashing"}}}"#
            .replace('\n', "")
            .replace("PATTERN", EMPTIED);
        let said = &verdicts_of(&bare, 7, EMPTIED).unwrap()[0];
        assert_eq!(said.problems_of_emptied(&pod()), [""; 0]);
        assert_eq!(said.problems(&pod(), QUOTA).len(), 1);
        let with_rate = &verdicts(&line(7, "target-gone", "containerd#5670"), 7).unwrap()[0];
        assert_eq!(with_rate.problems_of_emptied(&pod()).len(), 1);
    }

    #[test]
    fn a_delay_counts_from_the_end_of_the_last_container_and_the_grace_period() {
        let said = &verdicts(&line(7, "target-gone", "containerd#5670"), 7).unwrap()[0];
        let removed = BTreeMap::from([(4, 20), (5, 50)]);
        assert_eq!(said.delay(&removed, 30), Some(10));
        assert_eq!(said.delay(&removed, 41), None);
        assert_eq!(said.delay(&BTreeMap::from([(4, 20)]), 30), None);
        assert_eq!([0, 1, 3, 8, 10].map(last_told), [0, 1, 2, 8, 8]);
    }

    #[test]
    fn a_refusal_tells_of_the_container_and_who_is_to_blame() {
        let event = r#"{"event":"create-failed","comm":"tail","errno":"EMFILE",
            "limit_hit":"inotify-instances","container":{"name":"watcher","pod_name":"crashing"},
            "culprits":[{"pid":7,"count":9,"shim":{"container":{"pod_name":"crashing"}}}]}"#
            .replace('\n', "");
        let problems = |text: &str, most| refusal(text, &pod(), &[7, 8], most).unwrap().len();
        assert_eq!(problems(&event, 9), 0);
        assert_eq!(problems(&event, 10), 1);
        for (part, other) in [
            ("watcher", "app"),
            ("EMFILE", "ENOSPC"),
            (r#""pid":7"#, r#""pid":9"#),
            ("\"shim\"", "\"x\""),
            ("create-failed", "create"),
        ] {
            assert_eq!(problems(&event.replace(part, other), 9), 1, "{part}");
        }
    }
}
