//! Writes docs/support.md: the tested kernels, and their missing features.

use super::kernels::BACKENDS;
use super::kernels::Kernel;
use super::report::{Report, Result};
use super::suite::Outcome;

/// Its path, from the root of the workspace.
pub const PATH: &str = "docs/support.md";

const HEAD: &str = "\
# Kernels

Made by `cargo xtask vm`, which boots these kernels of Debian in virtual machines and runs live
tests with each backend: change testbed/src/support.rs, not this file. With `fentry` these are the tests
that depend on the kernel or the backend (beginnings and ends of instances, holders, limits,
namespaces, containers, listings), with the others those that depend on the backend. The rest runs on
the developer's own kernel by `cargo xtask test`. Tests of events that a backend cannot see are skipped.

`inotify-trace` chooses the leftmost backend that the kernel offers; `--backend` chooses another.

";

const MIDDLE: &str = "
`fentry` and `kprobe` hook inotify's own functions: every end of an instance is seen when it
happens, with the process that caused it. `tracepoint` hooks system calls instead: it also sees
closes of descriptors, and notices an end by other means soon after it.

## Missing features

";

const FOOT: &str = "
From `inotify-trace check`, which lists the missing features of the running kernel.

Under the systemd of Debian 11, 12 and 13, each on its own kernel, `cargo xtask vm --scenario systemd` runs the Debian
package with the backend that the agent chooses: [install.md](install.md).

All of these are x86_64 machines. `cargo xtask vm --arch aarch64` boots Debian's 5.10, 6.1 and 6.12 for that
processor; the tests were not run there yet. Not tested: kernels before 5.10 (those before 5.8 have no
ring buffer, and can't work).
";

/// The document, or the reason why there is none: it needs the results of all kernels.
pub fn document(reports: &[Report], all: &[Kernel]) -> std::result::Result<String, String> {
    let unfinished = |kernel: &&Kernel| {
        !reports.iter().any(|report| {
            report.kernel == **kernel
                && matches!(report.result, Result::Ended(_) | Result::Lacks(_))
        })
    };
    let lacking: Vec<_> = all.iter().filter(unfinished).map(|kernel| kernel.series).collect();
    if !lacking.is_empty() {
        return Err(format!("these kernels did not run to the end: {}", lacking.join(", ")));
    }
    let mut text = HEAD.to_owned();
    text += &format!("| kernel | Debian | {} |\n", BACKENDS.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(BACKENDS.len()));
    for report in reports {
        let version = report.version.as_deref().unwrap_or(report.kernel.series);
        let outcomes = report.suite.clone().unwrap_or_default().outcomes;
        let cells = outcomes.map(Outcome::words).join(" | ");
        text += &format!("| {version} | {} | {cells} |\n", report.kernel.suite);
    }
    text += MIDDLE;
    for report in reports {
        let limitations = report.suite.clone().unwrap_or_default().limitations;
        let name = report.name();
        if limitations.is_empty() {
            text += &format!("- {name}: nothing\n");
        }
        for (subject, detail) in limitations {
            text += &format!("- {name}: {subject}: {detail}\n");
        }
    }
    Ok(text + FOOT)
}

#[cfg(test)]
mod tests {
    use super::document;
    use crate::kernels::ALL;
    use crate::report::{Report, Result};
    use crate::suite::{Outcome, Results};

    fn report(index: usize, result: Result) -> Report {
        let good = Outcome::Tested { passed: 40, skipped: 0, failed: 0, status: 0, seconds: 70 };
        let limitations = vec![("BTF".to_owned(), "not on this kernel: x".to_owned())];
        let outcomes = [good, Outcome::Missing, good];
        Report {
            kernel: ALL[index],
            version: Some(format!("{index}.1-1")),
            result,
            seconds: 1.0,
            retried: false,
            suite: Some(Results { outcomes, limitations, ..Results::default() }),
        }
    }

    #[test]
    fn kernels_have_a_row_and_their_limitations() {
        let text = document(&[report(0, Result::Ended(0))], &ALL[..1]).unwrap();
        let row = "| 0.1-1 | bullseye | 40 tests passed | not offered | 40 tests passed |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("- 0.1-1 (bullseye): BTF: not on this kernel: x\n"), "{text}");
    }

    #[test]
    fn there_is_none_of_some_kernels_only() {
        let lost = report(1, Result::Lost("a hang".to_owned()));
        let error = document(&[report(0, Result::Ended(0)), lost], &ALL[..2]).unwrap_err();
        assert!(error.ends_with(": 6.1"), "{error}");
    }
}
