//! Compares inotify-trace's output about shims with /proc, and with the expected leaks.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::story::{Trace, listed};
use super::truth::{Pod, Quota, Truth};
use super::verdict::{BUG, EMPTIED, Verdict, last_told, refusal, verdicts, verdicts_of};
use super::{instant, past};
use crate::boot;

/// The results of a machine with one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub containerd: String,
    pub backend: String,
    pub restarts: usize,
    /// By /proc.
    pub truth: usize,
    /// By the trace.
    pub trace: usize,
    /// By the list that was made afterwards.
    pub list: usize,
    /// By the `leaks` command, which also runs afterwards.
    pub leaks: usize,
    /// The last report of `leaks --watch`, which runs beside the trace.
    pub watch: usize,
    /// The longest time from the end of a grace period to its verdict, in milliseconds.
    pub delay: Option<u64>,
    /// The losses that the trace reports. They are no problem as long as no event is missing: an
    /// agent that reports a loss works as it should.
    pub lost: Vec<String>,
    /// The failures.
    pub problems: Vec<String>,
}

/// The expected results of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub restarts: usize,
    /// Whether each restart leaks an instance.
    pub leaks: bool,
    /// Whether the kernel removes an instance's watches with their cgroup, so that the instance no
    /// longer shows which cgroup it was for.
    pub empties: bool,
    /// The backends that the kernel offers.
    pub backends: &'a [&'a str],
}

impl Expected<'_> {
    /// The name that a look gives what restarts leave.
    pub fn name_at_a_look(&self) -> &'static str {
        if self.empties { EMPTIED } else { BUG }
    }
}

/// inotify-trace's findings on a pod's shim.
#[derive(Debug, Default)]
struct Said {
    trace: Trace,
    list: usize,
    leaks: Vec<Verdict>,
    watch: Vec<Verdict>,
    /// Whether the shim of an earlier pod has leaked, which shows in every exit status.
    others_leak: bool,
}

/// One row for each backend, from the files that came out of the machine; recordings among them are
/// replayed by `agent`.
pub fn read(files: &Path, agent: &Path, expected: Expected<'_>) -> Result<Vec<Row>> {
    let text = |name: &str| boot::left(files, name);
    let truth = Truth::parse(&text("truth.txt")?).context("truth.txt")?;
    for backend in expected.backends {
        ensure!(
            truth.pods.iter().any(|pod| pod.backend == *backend),
            "the agent does not start with {backend}, which this kernel offers"
        );
    }
    ensure!(!truth.pods.is_empty(), "no backend was tried");
    let status = text("leaks.status")?;
    let mut rows = Vec::new();
    let others_leak = truth.instant.iter().any(|it| it.leaked() > Some(0));
    for pod in &truth.pods {
        let named = |what: &str| format!("{what}-{}.json", pod.backend);
        let [trace, list, watch] = ["trace", "list", "watch"].map(named);
        let said = Said {
            trace: Trace::read(&text(&trace)?, pod.shim).context(trace)?,
            list: listed(&text(&list)?, pod.shim).context(list)?,
            leaks: verdicts_of(&text("leaks.json")?, pod.shim, expected.name_at_a_look())
                .context("leaks.json")?,
            watch: verdicts(&text(&watch)?, pod.shim).context(watch)?,
            others_leak,
        };
        let mut row = row(&truth.containerd, pod, &said, truth.quota, expected);
        if status.trim() != if expected.leaks || others_leak { "1" } else { "0" } {
            row.problems.push(format!("leaks ended with {}", status.trim()));
        }
        let leaks = if expected.leaks { expected.restarts } else { 0 };
        row.problems.extend(past::of_pod(agent, files, pod, leaks)?);
        let gone =
            format!("for: {} containers of default/{} that were already gone", row.truth, pod.name);
        if expected.leaks && !text("leaks.txt")?.contains(&gone) {
            row.problems.push(format!("leaks does not say {gone:?}"));
        }
        rows.push(row);
    }
    // By now, the trace that runs all along has reported all leaks of the first pod.
    if let [pod, _, ..] = &*truth.pods {
        let told = verdicts(&text("trace.json")?, pod.shim).context("trace.json")?;
        let leaks = if expected.leaks { expected.restarts } else { 0 };
        rows[0].problems.extend(onlooker(pod, &told, leaks));
        rows[0].problems.extend(past::of_onlooker(agent, files)?);
    }
    // The program that got no instance was in the last pod.
    if let (Some(pod), Some(row)) = (truth.pods.last(), rows.last_mut()) {
        let pods = truth.pods.iter().chain(&truth.instant);
        let shims: Vec<_> = pods.map(|pod| pod.shim).collect();
        let most = if expected.leaks { expected.restarts + 1 } else { 1 };
        row.problems.extend(refusal(&text("failures.json")?, pod, &shims, most)?);
        let all: usize = truth.pods.iter().chain(&truth.instant).filter_map(Pod::leaked).sum();
        let release = format!("how to release {all} of these that look leaked");
        if expected.leaks && !text("failures.txt")?.contains(&release) {
            row.problems.push(format!("the remedy for the limit does not say {release:?}"));
        }
    }
    rows.extend(instant::row(files, agent, &truth, expected)?);
    Ok(rows)
}

/// The errors in the verdicts of the trace that runs all along.
fn onlooker(pod: &Pod, told: &[Verdict], leaks: usize) -> Vec<String> {
    let count = told.last().map_or(0, |verdict| verdict.instances);
    let mut problems = Vec::new();
    if count != last_told(leaks) {
        problems.push(format!("leaked by the trace's verdict: {count} of {leaks}"));
    }
    for verdict in told {
        // Other pods use up instances at the same time.
        let left = verdict.restarts_left.unwrap_or_default();
        let quota = Quota { used: pod.quota.limit.saturating_sub(left), ..pod.quota };
        problems.extend(verdict.problems(pod, quota));
    }
    problems
}

fn row(containerd: &str, pod: &Pod, said: &Said, afterwards: Quota, expected: Expected<'_>) -> Row {
    let Said { trace, list, leaks: judged, watch, others_leak } = said;
    let mut problems = Vec::new();
    let mut is = |what: &str, is: usize, should: usize| {
        if is != should {
            problems.push(format!("{what}: {is} instead of {should}"));
        }
    };
    let leaks = if expected.leaks { expected.restarts } else { 0 };
    let truth = pod.leaked();
    let told = watch.last().map_or(0, |verdict| verdict.instances);
    let counted = judged.iter().map(|verdict| verdict.instances).sum();
    is("restarts", pod.restarts(), expected.restarts);
    is("leaked by /proc", truth.unwrap_or_default(), leaks);
    is("leaked by /proc that can hear of nothing", pod.deaf(), leaks);
    is("leaked by the trace", trace.leaked, leaks);
    is("leaked by the list", *list, leaks);
    is("leaked by leaks", counted, leaks);
    is("leaked by leaks --watch", told, last_told(leaks));
    is("open by the trace, on cgroups that exist", trace.open, 0);
    // Without new instances there could be no leak, and a result without leaks would prove nothing.
    if trace.made < expected.restarts {
        problems.push(format!("the shim made {} instances by the trace", trace.made));
    }
    if truth.is_none() {
        problems.push("the shim has fewer instances than before".to_owned());
    }
    problems.extend(judged.iter().flat_map(|verdict| match expected.empties {
        true => verdict.problems_of_emptied(pod),
        false => verdict.problems(pod, afterwards),
    }));
    // The kernel's count was taken after all containers had ended.
    let last = watch.last().filter(|verdict| verdict.instances == leaks);
    problems.extend(last.iter().flat_map(|verdict| verdict.problems(pod, pod.quota)));
    let delays: Vec<_> = watch.iter().map(|it| it.delay(&trace.removed, pod.grace)).collect();
    if delays.contains(&None) {
        problems.push("leaks --watch told before the grace period was over".to_owned());
    }
    if pod.status != i32::from(expected.leaks || *others_leak) {
        problems.push(format!("leaks --watch ended with {}", pod.status));
    }
    Row {
        containerd: containerd.to_owned(),
        backend: pod.backend.clone(),
        restarts: pod.restarts(),
        truth: truth.unwrap_or_default(),
        trace: trace.leaked,
        list: *list,
        leaks: counted,
        watch: told,
        delay: delays.into_iter().flatten().max().map(|delay| delay / 1_000_000),
        lost: trace.lost.clone(),
        problems,
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Row, Said, onlooker, row};
    use crate::scenario::story::Trace;
    use crate::scenario::truth::{Descriptor, Pod, Quota};
    use crate::scenario::verdict::Verdict;

    fn pod(counts: &[usize], deaf: usize) -> Pod {
        let descriptor = |gone| Descriptor { watches: 1, gone };
        let descriptors = std::iter::once(descriptor(0))
            .chain(std::iter::repeat_with(|| descriptor(1)).take(deaf))
            .collect();
        Pod {
            backend: "kprobe".to_owned(),
            name: "crashing".to_owned(),
            shim: 7,
            counts: counts.to_vec(),
            descriptors,
            grace: 10,
            quota: QUOTA,
            status: i32::from(deaf > 0),
        }
    }

    const EXPECTED: Expected<'_> =
        Expected { restarts: 2, leaks: true, empties: false, backends: &["kprobe"] };

    const QUOTA: Quota = Quota { used: 4, limit: 128 };

    /// A verdict as it should be, 5 ns after it was due.
    fn verdict(instances: usize) -> Verdict {
        Verdict {
            time: 65,
            instances,
            pod: "default/crashing".to_owned(),
            ended: instances as u64,
            per_restart: 1.0,
            restarts_left: Some(124),
            limit: Some(128),
            newest: vec![20],
            ..Verdict::default()
        }
    }

    fn said(leaked: usize, list: usize) -> Said {
        let removed = [(20, 50)].into();
        let trace = Trace { leaked, made: 2, removed, ..Trace::default() };
        let verdicts = || (list > 0).then(|| verdict(list)).into_iter().collect();
        Said { trace, list, leaks: verdicts(), watch: verdicts(), ..Said::default() }
    }

    fn of(pod: &Pod, leaked: usize, list: usize, leaks: bool) -> Row {
        let expected = Expected { leaks, ..EXPECTED };
        row("1.4", pod, &said(leaked, list), QUOTA, expected)
    }

    #[test]
    fn all_have_to_agree_with_what_should_be() {
        let leaky = of(&pod(&[1, 2, 3], 2), 2, 2, true);
        assert_eq!((leaky.truth, leaky.trace, leaky.list), (2, 2, 2));
        assert_eq!(leaky.problems, [""; 0]);
        assert_eq!(of(&pod(&[1, 1, 1], 0), 0, 0, false).problems, [""; 0]);
    }

    #[test]
    fn every_difference_is_a_problem() {
        let problems = |pod: &Pod, leaked, list, leaks| of(pod, leaked, list, leaks).problems;
        assert_eq!(
            problems(&pod(&[1, 2, 3], 2), 1, 2, true),
            ["leaked by the trace: 1 instead of 2"]
        );
        assert_eq!(
            problems(&pod(&[1, 2, 3], 2), 2, 3, true),
            [
                "leaked by the list: 3 instead of 2",
                "leaked by leaks: 3 instead of 2",
                "leaked by leaks --watch: 3 instead of 2"
            ]
        );
        assert_eq!(problems(&pod(&[1, 2], 2), 2, 2, true).len(), 2);
        // A control that leaks, and a leak that does not.
        assert_eq!(problems(&pod(&[1, 2, 3], 2), 2, 2, false).len(), 7);
        assert_eq!(problems(&pod(&[1, 1, 1], 0), 0, 0, true).len(), 7);
        let expected = Expected { leaks: false, ..EXPECTED };
        let idle = row("1.6", &pod(&[1, 1, 1], 0), &Said::default(), QUOTA, expected).problems;
        assert_eq!(idle, ["the shim made 0 instances by the trace"]);
        // An instance less than before is no leak of zero.
        let fewer = problems(&pod(&[2, 2, 1], 0), 0, 0, false);
        assert_eq!(fewer, ["the shim has fewer instances than before"]);
    }

    #[test]
    fn what_is_told_early_or_wrong_is_a_problem() {
        let expected = EXPECTED;
        let of = |change: fn(&mut Said), quota| {
            let mut said = said(2, 2);
            change(&mut said);
            row("1.4", &pod(&[1, 2, 3], 2), &said, quota, expected).problems.len()
        };
        assert_eq!(of(|_| (), QUOTA), 0);
        assert_eq!(of(|it| it.watch[0].time = 59, QUOTA), 1);
        assert_eq!(of(|it| it.watch[0].is_inferred = true, QUOTA), 1);
        assert_eq!(of(|it| it.watch[0].pod.clear(), QUOTA), 1);
        assert_eq!(of(|it| it.leaks[0].per_restart = 2.0, QUOTA), 1);
        assert_eq!(of(|it| it.leaks[0].is_inferred = true, QUOTA), 1);
        assert_eq!(of(|it| it.leaks.clear(), QUOTA), 1);
        // The report of `leaks --watch` was at another time.
        assert_eq!(of(|_| (), Quota { used: 5, ..QUOTA }), 1);
    }

    #[test]
    fn a_trace_that_looks_on_has_to_tell_of_all() {
        let pod = pod(&[1, 2, 3], 2);
        let told = [verdict(1), verdict(2)];
        assert_eq!(onlooker(&pod, &told, 2), [""; 0]);
        assert_eq!(onlooker(&pod, &told[..1], 2), ["leaked by the trace's verdict: 1 of 2"]);
        assert_eq!(onlooker(&pod, &[], 0), [""; 0]);
        assert_eq!(onlooker(&pod, &told, 0).len(), 1);
        let wrong = [verdict(1), Verdict { ended: 3, ..verdict(2) }];
        assert_eq!(onlooker(&pod, &wrong, 2).len(), 1);
        let unknown = [verdict(1), Verdict { restarts_left: None, ..verdict(2) }];
        assert_eq!(onlooker(&pod, &unknown, 2).len(), 1);
    }
}
