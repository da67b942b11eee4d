//! Whether what inotify-trace says of the shims is what /proc says, and what should be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::story::{Trace, judged, listed};
use super::truth::{Pod, Truth};

/// What a machine left, for one backend.
#[derive(Debug, PartialEq, Eq)]
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
    /// By `leaks`, which was asked afterwards too.
    pub leaks: usize,
    /// What the trace says it lost. That is no problem as long as nothing is missing: an agent
    /// that says so is one that works.
    pub lost: Vec<String>,
    /// What is not as it should be.
    pub problems: Vec<String>,
}

/// What is expected of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub restarts: usize,
    /// Whether each of them leaks an instance.
    pub leaks: bool,
    /// The backends that the kernel offers.
    pub backends: &'a [&'a str],
}

/// One row for each backend, from the files that came out of the machine.
pub fn read(files: &Path, expected: Expected<'_>) -> Result<Vec<Row>> {
    let text = |name: &str| {
        fs::read_to_string(files.join(name)).with_context(|| format!("the machine left no {name}"))
    };
    let truth = Truth::parse(&text("truth.txt")?).context("truth.txt")?;
    for backend in expected.backends {
        ensure!(
            truth.pods.iter().any(|pod| pod.backend == *backend),
            "the agent does not start with {backend}, which this kernel offers"
        );
    }
    ensure!(!truth.pods.is_empty(), "no backend was tried");
    truth
        .pods
        .iter()
        .map(|pod| {
            let (trace, list) =
                (format!("trace-{}.json", pod.backend), format!("list-{}.json", pod.backend));
            let trace = Trace::read(&text(&trace)?, pod.shim).context(trace)?;
            let list = listed(&text(&list)?, pod.shim).context(list)?;
            let leaks = judged(&text("leaks.json")?, pod.shim).context("leaks.json")?;
            let mut row = row(&truth.containerd, pod, &trace, [list, leaks], expected);
            let status = text("leaks.status")?;
            if status.trim() != if expected.leaks { "1" } else { "0" } {
                row.problems.push(format!("leaks ended with {}", status.trim()));
            }
            Ok(row)
        })
        .collect()
}

fn row(
    containerd: &str,
    pod: &Pod,
    trace: &Trace,
    [list, judged]: [usize; 2],
    expected: Expected<'_>,
) -> Row {
    let mut problems = Vec::new();
    let mut is = |what: &str, is: usize, should: usize| {
        if is != should {
            problems.push(format!("{what}: {is} instead of {should}"));
        }
    };
    let leaks = if expected.leaks { expected.restarts } else { 0 };
    let truth = pod.leaked();
    is("restarts", pod.restarts(), expected.restarts);
    is("leaked by /proc", truth.unwrap_or_default(), leaks);
    is("leaked by /proc that can hear of nothing", pod.deaf(), leaks);
    is("leaked by the trace", trace.leaked, leaks);
    is("leaked by the list", list, leaks);
    is("leaked by leaks", judged, leaks);
    is("open by the trace, on cgroups that exist", trace.open, 0);
    // Without them nothing could have leaked, and that nothing has would mean nothing.
    if trace.made < expected.restarts {
        problems.push(format!("the shim made {} instances by the trace", trace.made));
    }
    if truth.is_none() {
        problems.push("the shim has fewer instances than before".to_owned());
    }
    Row {
        containerd: containerd.to_owned(),
        backend: pod.backend.clone(),
        restarts: pod.restarts(),
        truth: truth.unwrap_or_default(),
        trace: trace.leaked,
        list,
        leaks: judged,
        lost: trace.lost.clone(),
        problems,
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Row, row};
    use crate::vm::scenario::story::Trace;
    use crate::vm::scenario::truth::{Descriptor, Pod};

    fn pod(counts: &[usize], deaf: usize) -> Pod {
        let descriptor = |gone| Descriptor { watches: 1, gone };
        let descriptors = std::iter::once(descriptor(0))
            .chain(std::iter::repeat_with(|| descriptor(1)).take(deaf))
            .collect();
        Pod { backend: "kprobe".to_owned(), shim: 7, counts: counts.to_vec(), descriptors }
    }

    fn of(pod: &Pod, leaked: usize, list: usize, leaks: bool) -> Row {
        let expected = Expected { restarts: 2, leaks, backends: &["kprobe"] };
        row("1.4", pod, &Trace { leaked, made: 2, ..Trace::default() }, [list; 2], expected)
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
            ["leaked by the list: 3 instead of 2", "leaked by leaks: 3 instead of 2"]
        );
        assert_eq!(problems(&pod(&[1, 2], 2), 2, 2, true).len(), 2);
        // A control that leaks, and a leak that does not.
        assert_eq!(problems(&pod(&[1, 2, 3], 2), 2, 2, false).len(), 5);
        assert_eq!(problems(&pod(&[1, 1, 1], 0), 0, 0, true).len(), 5);
        let expected = Expected { restarts: 2, leaks: false, backends: &["kprobe"] };
        let idle = row("1.6", &pod(&[1, 1, 1], 0), &Trace::default(), [0; 2], expected).problems;
        assert_eq!(idle, ["the shim made 0 instances by the trace"]);
        // An instance less than before is no leak of zero.
        let fewer = problems(&pod(&[2, 2, 1], 0), 0, 0, false);
        assert_eq!(fewer, ["the shim has fewer instances than before"]);
    }
}
