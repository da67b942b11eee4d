//! The live tests with every backend of a kernel: what became of them.

use std::fs;
use std::path::Path;

use super::report::Report;

/// What the machine runs.
pub const SCRIPT: &str = include_str!("suite.sh");

/// In the order in which the agent prefers them.
pub const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// What a kernel makes of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The machine did not get to the end of it.
    #[default]
    Unfinished,
    /// The agent does not start with it.
    Missing,
    Tested {
        passed: u32,
        /// Tests that found nothing to do, which the harness takes for passed.
        skipped: u32,
        failed: u32,
        status: u8,
        seconds: u32,
    },
}

impl Outcome {
    /// In few words.
    pub fn words(self) -> String {
        match self {
            Self::Unfinished => "not finished".to_owned(),
            Self::Missing => "not offered".to_owned(),
            Self::Tested { status: 0, passed, skipped: 0, .. } => format!("{passed} tests passed"),
            Self::Tested { status: 0, passed, skipped, .. } => {
                format!("{passed} tests passed, {skipped} skipped")
            }
            Self::Tested { passed, failed: 0, status, .. } => {
                format!("FAILED with status {status} ({passed} tests passed)")
            }
            Self::Tested { passed, failed, .. } => {
                format!("FAILED: {failed} of {}", passed + failed)
            }
        }
    }
}

/// What one kernel's machine left.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// In the order of [`BACKENDS`].
    pub outcomes: [Outcome; BACKENDS.len()],
    /// What `inotify-trace check` found to be less than good: subject and detail.
    pub limitations: Vec<(String, String)>,
}

impl Results {
    /// From the files that came out of the machine. Those it never wrote count as empty.
    pub fn read(files: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(files.join(name)).unwrap_or_default();
        let lines = text("backends.txt");
        Self {
            outcomes: BACKENDS.map(|name| {
                let (output, skipped) = (format!("{name}.txt"), format!("{name}-skipped.txt"));
                outcome(&lines, name, &text(&output), &text(&skipped))
            }),
            limitations: limitations(&text("check.txt")),
        }
    }

    /// Those of `expected` that the kernel does not offer.
    pub fn withdrawn(&self, expected: &[&'static str]) -> Vec<&'static str> {
        let missing = |name: &&str| {
            BACKENDS
                .iter()
                .zip(self.outcomes)
                .any(|(backend, outcome)| backend == name && outcome == Outcome::Missing)
        };
        expected.iter().copied().filter(missing).collect()
    }
}

/// From a line of `backends.txt`, what the tests said, and the list of those that were skipped.
fn outcome(lines: &str, backend: &str, output: &str, skipped: &str) -> Outcome {
    let mut words = lines.lines().map(str::split_whitespace);
    let Some(mut words) = words.find(|words| words.clone().next() == Some(backend)) else {
        return Outcome::Unfinished;
    };
    let (status, seconds) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
    if status == "missing" {
        return Outcome::Missing;
    }
    let Ok(status) = status.parse() else { return Outcome::Unfinished };
    let skipped = u32::try_from(skipped.lines().count()).unwrap_or(u32::MAX);
    Outcome::Tested {
        passed: count(output, "passed").saturating_sub(skipped),
        skipped,
        failed: count(output, "failed"),
        status,
        seconds: seconds.parse().unwrap_or_default(),
    }
}

/// A number in the test harness's last line, as in `test result: ok. 40 passed; 0 failed; ...`.
fn count(output: &str, what: &str) -> u32 {
    let result = output.lines().rfind(|line| line.starts_with("test result:"));
    let mut parts = result.unwrap_or_default().split([';', '.']);
    let number = parts.find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok());
    number.unwrap_or_default()
}

/// The lines of `inotify-trace check` that do not say `ok`.
fn limitations(check: &str) -> Vec<(String, String)> {
    let parts = |line: &str| {
        // The subject is padded to this width, and may consist of several words.
        let (subject, rest) = line.split_at_checked(18)?;
        let (state, detail) = rest.trim_start().split_once(' ')?;
        (state != "ok").then(|| (subject.trim().to_owned(), detail.trim().to_owned()))
    };
    check.lines().filter_map(parts).collect()
}

/// One line for each kernel and backend, under a heading.
pub fn table(reports: &[Report]) -> String {
    let width = reports.iter().map(|report| report.name().len()).max().unwrap_or(0).max(6);
    let mut table = format!("{:width$}  {:10}  seconds  result\n", "kernel", "backend");
    for report in reports {
        let name = report.name();
        let Some(results) = &report.suite else {
            table.push_str(&format!("{name:width$}  {:10}  {:>7}  NOT RUN\n", "-", "-"));
            continue;
        };
        for (backend, outcome) in BACKENDS.iter().zip(results.outcomes) {
            let seconds = match outcome {
                Outcome::Tested { seconds, .. } => seconds.to_string(),
                _ => "-".to_owned(),
            };
            let words = outcome.words();
            table.push_str(&format!("{name:width$}  {backend:10}  {seconds:>7}  {words}\n"));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Results, SCRIPT, count, limitations, outcome};

    const OUTPUT: &str = "running 3 tests\ntest result: FAILED. 38 passed; 2 failed; 0 ignored; 0 \
                          measured; 24 filtered out; finished in 72.94s\n";

    #[test]
    fn numbers_come_from_the_harness_s_last_line() {
        assert_eq!((count(OUTPUT, "passed"), count(OUTPUT, "failed")), (38, 2));
        assert_eq!(count("test result: ok. 40 passed; 0 failed;", "passed"), 40);
        assert_eq!(count("killed\n", "passed"), 0);
    }

    #[test]
    fn a_backend_without_a_line_was_not_finished() {
        let lines = "fentry 101 73\nkprobe missing 0\n";
        let tested =
            Outcome::Tested { passed: 37, skipped: 1, failed: 2, status: 101, seconds: 73 };
        assert_eq!(outcome(lines, "fentry", OUTPUT, "a: b\n"), tested);
        assert!(tested.words() == "FAILED: 2 of 39");
        assert_eq!(outcome(lines, "kprobe", "", ""), Outcome::Missing);
        assert_eq!(outcome(lines, "tracepoint", "", ""), Outcome::Unfinished);
    }

    #[test]
    fn a_backend_that_is_no_longer_offered_is_named() {
        let outcomes = [Outcome::Missing, Outcome::Unfinished, Outcome::Missing];
        let results = Results { outcomes, ..Results::default() };
        assert_eq!(results.withdrawn(&["fentry", "kprobe"]), ["fentry"]);
        assert!(results.withdrawn(&["kprobe"]).is_empty());
    }

    #[test]
    fn what_is_not_ok_is_a_limitation() {
        let check = "kernel             ok       Linux 5.10\n\
                     BTF                limited  not on this kernel: how much\n\
                     backend tracepoint limited  no such thing\n";
        let expected =
            [("BTF", "not on this kernel: how much"), ("backend tracepoint", "no such thing")];
        let expected = expected.map(|(subject, detail)| (subject.to_owned(), detail.to_owned()));
        assert_eq!(limitations(check), expected);
    }

    #[test]
    fn the_script_knows_every_backend() {
        assert!(SCRIPT.contains(&format!("for backend in {};", super::BACKENDS.join(" "))));
    }
}
