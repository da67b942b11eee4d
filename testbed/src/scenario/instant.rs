//! Compares inotify-trace's output about a pod whose app ends at once with /proc: every road must
//! count the same leaked instances, and give them the same name and remedy.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::check::{Expected, Row};
use super::past;
use super::story::{Trace, listed};
use super::truth::{Pod, Truth};
use super::verdict::{self, BUG, Verdict, last_told};
use crate::boot;

/// The name of the bug by which containerd leaves instances of apps that end at once.
const RACE: &str = "containerd-exit-before-watch";

/// What each road says of the pod's shim.
#[derive(Debug, Default)]
struct Said {
    leaks: Vec<Verdict>,
    watch: Vec<Verdict>,
    trace: Vec<Verdict>,
    recording: Vec<Verdict>,
    /// The leaked and all instances of the pod, by `list --by container`.
    listed: Option<(u64, u64)>,
    /// The leaked instances of all pods, by `limits`.
    left_out: u64,
}

/// The row of that pod; None if the machine had none.
pub fn row(
    files: &Path,
    agent: &Path,
    truth: &Truth,
    expected: Expected<'_>,
) -> Result<Option<Row>> {
    let Some(pod) = &truth.instant else { return Ok(None) };
    let text = |name: &str| boot::left(files, name);
    let (name, at_a_look) =
        if expected.leaks { (BUG, expected.name_at_a_look()) } else { (RACE, RACE) };
    let verdicts = |text: &str| verdict::verdicts_of(text, pod.shim, name);
    let events = text("trace-instant.json")?;
    let trace = Trace::read(&events, pod.shim).context("trace-instant.json")?;
    let (recording, mut problems) = past::of_instant(agent, files)?;
    let said =
        Said {
            leaks: verdict::verdicts_of(&text("leaks.json")?, pod.shim, at_a_look)?,
            watch: verdicts(&text("watch-instant.json")?)?,
            // The one that runs all along: the pod's own shows chosen events and no verdicts.
            trace: verdicts(&text("trace.json")?)?,
            recording: verdicts(&recording)?,
            listed: in_list(&text("containers.json")?, &pod.name)?,
            left_out: serde_json::from_str::<Value>(&text("limits.json")?)
                .context("limits.json")?["recommendation"]["max_user_instances"]["leaked"]
                .as_u64()
                .unwrap_or_default(),
        };
    let all: usize = truth.pods.iter().chain([pod]).filter_map(Pod::leaked).sum();
    problems.extend(self::problems(pod, &said, all, expected));
    let list = listed(&text("list-instant.json")?, pod.shim).context("list-instant.json")?;
    let leaked = pod.leaked().unwrap_or_default();
    for (road, count) in [("trace", trace.leaked), ("list", list)] {
        if count != leaked {
            problems.push(format!("leaked by the {road}: {count} instead of {leaked}"));
        }
    }
    let (plural, were) = if leaked == 1 { ("", "was") } else { ("s", "were") };
    let gone =
        format!("for: {leaked} container{plural} of default/{} that {were} already gone", pod.name);
    if !text("leaks.txt")?.contains(&gone) {
        problems.push(format!("leaks does not say {gone:?}"));
    }
    Ok(Some(Row {
        containerd: truth.containerd.clone(),
        backend: pod.backend.clone(),
        restarts: pod.restarts(),
        truth: leaked,
        trace: trace.leaked,
        list,
        leaks: said.leaks.iter().map(|it| it.instances).sum(),
        watch: said.watch.last().map_or(0, |it| it.instances),
        delay: None,
        lost: trace.lost,
        problems,
    }))
}

/// The leaked and all instances of a pod's sandbox, by a listing of containers.
fn in_list(text: &str, pod: &str) -> Result<Option<(u64, u64)>> {
    let list: Value = serde_json::from_str(text).context("containers.json")?;
    let rows = list["rows"].as_array().context("a list without rows")?;
    let is_its = |row: &&Value| {
        let container = &row["container"];
        container["pod_name"] == pod && container["is_sandbox"] == true
    };
    let row = rows.iter().find(is_its);
    Ok(row.and_then(|row| row["leaked"].as_u64().zip(row["instances"].as_u64())))
}

fn problems(pod: &Pod, said: &Said, all: usize, expected: Expected<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let leaked = pod.leaked().unwrap_or_default();
    // Otherwise nothing is shown.
    if leaked == 0 {
        problems.push(format!("none of {} containers left an instance", pod.restarts()));
    }
    if pod.deaf() != leaked {
        problems.push(format!("by /proc {} can hear of nothing, of {leaked}", pod.deaf()));
    }
    let watches = match (expected.leaks, expected.empties) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    let shapes = pod.watches_of_deaf();
    if shapes.iter().any(|&it| it != watches) {
        problems.push(format!("watches of each by /proc: {shapes:?} instead of {watches}"));
    }
    let told = last_told(leaked);
    for (road, verdicts, count) in [
        ("leaks", &said.leaks, leaked),
        ("leaks --watch", &said.watch, told),
        ("the trace", &said.trace, told),
        ("leaks --recording", &said.recording, leaked),
    ] {
        let Some(verdict) = verdicts.last() else {
            problems.push(format!("{road} does not name the bug"));
            continue;
        };
        if verdict.instances != count {
            problems.push(format!("by {road}: {} instead of {count}", verdict.instances));
        }
        if verdict.pod != format!("default/{}", pod.name) {
            problems.push(format!("by {road} it is of pod {}", verdict.pod));
        }
        if !verdict.remedy.contains("delete the pod") {
            problems.push(format!("by {road} one should {}", verdict.remedy));
        }
    }
    // What was there before shows no rate, unless each restart leaves one, and that can be seen.
    let rates = |verdicts: &[Verdict]| verdicts.iter().any(|it| it.per_restart > 0.0);
    if rates(&said.leaks) != (expected.leaks && !expected.empties) {
        problems.push("leaks tells a rate that nobody saw, or none".to_owned());
    }
    let seen = [&said.watch, &said.trace, &said.recording].into_iter().flatten();
    for verdict in seen {
        let ended = verdict.ended as f64;
        let is_possible = verdict.ended <= pod.restarts() as u64 && !verdict.is_inferred;
        if !is_possible || (verdict.per_restart * ended - verdict.instances as f64).abs() > 1e-6 {
            problems.push(format!("{verdict:?} of {} restarts", pod.restarts()));
        }
    }
    // The sandbox has an instance that is in use.
    if said.listed != Some((leaked as u64, leaked as u64 + 1)) {
        problems.push(format!("listed for the pod: {:?}, of {leaked} leaked", said.listed));
    }
    if said.left_out != all as u64 {
        problems.push(format!("left out by limits: {} instead of {all}", said.left_out));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::truth::Descriptor;

    fn pod(watches: usize) -> Pod {
        let deaf = || Descriptor { watches, gone: watches };
        Pod {
            name: "instant".to_owned(),
            shim: 7,
            counts: vec![1, 2, 2, 3],
            descriptors: vec![Descriptor { watches: 2, gone: 0 }, deaf(), deaf()],
            ..Pod::default()
        }
    }

    fn said() -> Said {
        let verdict = |per_restart| Verdict {
            instances: 2,
            pod: "default/instant".to_owned(),
            remedy: "delete the pod".to_owned(),
            ended: 3,
            per_restart,
            ..Verdict::default()
        };
        let seen = || vec![verdict(2.0 / 3.0)];
        Said {
            leaks: vec![verdict(0.0)],
            watch: seen(),
            trace: seen(),
            recording: seen(),
            listed: Some((2, 3)),
            left_out: 2,
        }
    }

    const EXPECTED: Expected<'_> =
        Expected { restarts: 3, leaks: false, empties: false, backends: &[] };

    #[test]
    fn all_roads_have_to_say_the_same() {
        assert_eq!(problems(&pod(2), &said(), 2, EXPECTED), [""; 0]);
        let wrong = |change: fn(&mut Said)| {
            let mut said = said();
            change(&mut said);
            problems(&pod(2), &said, 2, EXPECTED).len()
        };
        assert_eq!(wrong(|it| it.leaks.clear()), 1);
        assert_eq!(wrong(|it| it.leaks[0].per_restart = 1.0), 1);
        assert_eq!(wrong(|it| it.recording[0].instances = 1), 2);
        assert_eq!(wrong(|it| it.trace[0].remedy = "restart the process".to_owned()), 1);
        assert_eq!(wrong(|it| it.watch[0].per_restart = 1.0), 1);
        assert_eq!(wrong(|it| it.listed = None), 1);
        assert_eq!(wrong(|it| it.left_out = 0), 1);
        // One watch each: that is the other bug.
        assert_eq!(problems(&pod(1), &said(), 2, EXPECTED).len(), 1);
    }

    #[test]
    fn a_machine_that_leaks_nothing_shows_nothing() {
        let pod = Pod { counts: vec![1, 1], ..Pod::default() };
        let said = Said { listed: Some((0, 1)), ..Said::default() };
        assert!(problems(&pod, &said, 0, EXPECTED)[0].contains("none of 1 containers"));
    }
}
