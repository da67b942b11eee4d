//! Writes docs/support.md: the tested kernels, and their missing features.

use xtask::architecture::{ALL, Architecture};

use super::kernels::{self, BACKENDS, Kernel};
use super::report::{Report, Result};
use super::suite::Outcome;

/// Its path, from the root of the workspace.
pub const PATH: &str = "docs/support.md";

const HEAD: &str = "\
# Kernels

Made by `cargo xtask vm` and `cargo xtask vm --arch aarch64`, which boot these kernels of Debian in virtual
machines and run live tests with each backend: change testbed/src/support.rs, not this file. With the first
backend of a row these are the tests that depend on the kernel or the backend (beginnings and ends of instances,
holders, limits, namespaces, containers, listings), with the others those that depend on the backend. The rest
runs on the developer's own kernel by `cargo xtask test`. Tests of events that a backend cannot see are skipped.

`inotify-trace` chooses the leftmost backend that the kernel offers; `--backend` chooses another.

`fentry` and `kprobe` hook inotify's own functions: every end of an instance is seen when it
happens, with the process that caused it. `tracepoint` hooks system calls instead: it also sees
closes of descriptors, and notices an end by other means soon after it.

";

const FOOT: &str = "\
## Beyond these

Missing features are from `inotify-trace check`, which lists those of the running kernel.

Under the systemd of Debian 11, 12 and 13, each on its own kernel, `cargo xtask vm --scenario systemd` runs the Debian
package for x86_64 with the backend that the agent chooses: [install.md](install.md).

Not tested: kernels before 5.10 (those before 5.8 have no ring buffer, and can't work).
";

/// The heading of an architecture's part.
fn heading(architecture: &Architecture) -> String {
    format!("## {}\n", architecture.name)
}

/// The part of an architecture in a document that was written before.
fn part<'a>(document: &'a str, architecture: &Architecture) -> Option<&'a str> {
    let start = document.find(&heading(architecture))?;
    let rest = &document[start..];
    let end = rest.find("\n## ").map_or(rest.len(), |end| end + 1);
    Some(&rest[..end])
}

/// The document with the results of an architecture's kernels, and what `before` has of the other
/// architectures. Or the reason why there is none: it needs the results of all of its kernels.
pub fn document(
    before: &str,
    reports: &[Report],
    architecture: &Architecture,
) -> std::result::Result<String, String> {
    let new = of_architecture(reports, architecture, kernels::of(architecture))?;
    let parts = ALL.iter().map(|it| match part(before, it) {
        _ if *it == architecture => new.clone(),
        Some(part) => part.to_owned(),
        None => heading(it) + NOT_RUN,
    });
    Ok(HEAD.to_owned() + &parts.collect::<String>() + FOOT)
}

/// In place of results.
const NOT_RUN: &str = "\nThese tests were not all run on its kernels yet.\n\n";

/// The part of an architecture.
fn of_architecture(
    reports: &[Report],
    architecture: &Architecture,
    all: &[Kernel],
) -> std::result::Result<String, String> {
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
    let mut text = heading(architecture);
    text += &format!("\n| kernel | Debian | {} |\n", BACKENDS.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(BACKENDS.len()));
    for report in reports {
        let version = report.version.as_deref().unwrap_or(report.kernel.series);
        let outcomes = report.suite.clone().unwrap_or_default().outcomes;
        let cells = outcomes.map(Outcome::words).join(" | ");
        text += &format!("| {version} | {} | {cells} |\n", report.kernel.suite);
    }
    text += "\nMissing features:\n\n";
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
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use xtask::architecture::{AARCH64, X86_64};

    use super::{FOOT, HEAD, document, of_architecture, part};
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
        let text = of_architecture(&[report(0, Result::Ended(0))], &X86_64, &ALL[..1]).unwrap();
        let row = "| 0.1-1 | bullseye | 40 tests passed | not offered | 40 tests passed |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("- 0.1-1 (bullseye): BTF: not on this kernel: x\n"), "{text}");
    }

    #[test]
    fn there_is_none_of_some_kernels_only() {
        let lost = report(1, Result::Lost("a hang".to_owned()));
        let reports = [report(0, Result::Ended(0)), lost];
        let error = of_architecture(&reports, &X86_64, &ALL[..2]).unwrap_err();
        assert!(error.ends_with(": 6.1"), "{error}");
    }

    #[test]
    fn the_other_architecture_keeps_its_part() {
        let reports = [0, 1, 2, 3].map(|index| report(index, Result::Ended(0)));
        let other = "## aarch64\n\n| as it was |\n\n";
        let before = format!("{HEAD}## x86_64\n\n| stale |\n\n{other}{FOOT}");
        let text = document(&before, &reports, &X86_64).unwrap();
        assert!(text.starts_with(HEAD) && text.ends_with(&format!("{other}{FOOT}")), "{text}");
        assert!(!text.contains("stale"), "{text}");
        assert_eq!(part(&text, &AARCH64), Some(other));
    }
}
