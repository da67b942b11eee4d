//! The results of the live tests with every backend of a kernel.

use std::fs;
use std::path::Path;

use crate::failures::Failure;
use crate::kernels::{BACKENDS, Kernel};
use crate::results::{self, Test};

/// The machine's command.
pub const SCRIPT: &str = include_str!("suite.sh");

/// The result of one backend on a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The machine stopped before the backend's tests had ended.
    #[default]
    Unfinished,
    /// None of its tests was chosen.
    NotChosen,
    /// The agent does not start with this backend.
    Missing,
    Tested {
        passed: usize,
        skipped: usize,
        failed: usize,
        status: u8,
        seconds: u32,
    },
}

impl Outcome {
    /// In few words.
    pub fn words(self) -> String {
        match self {
            Self::Unfinished => "not finished".to_owned(),
            Self::NotChosen => "not chosen".to_owned(),
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

/// The live tests to run with each of [`BACKENDS`]: parts of their names, or whole names after `=`.
/// `None` runs no test, an empty list runs all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice([Option<Vec<String>>; BACKENDS.len()]);

impl Choice {
    /// Runs tests that depend on the kernel once, and tests that depend on the backend with each. Once is
    /// with the backend that the agent chooses on `kernel`.
    pub fn dependent(kernel: Kernel) -> Self {
        let preferred = kernel.backends.first();
        let tests = |backend| match Some(&backend) == preferred {
            true => vec!["each_kernel".to_owned(), "each_backend".to_owned()],
            false => vec!["each_backend".to_owned()],
        };
        Self(BACKENDS.map(|backend| Some(tests(backend))))
    }

    /// Everything, with each backend.
    pub fn all() -> Self {
        Self([const { Some(Vec::new()) }; BACKENDS.len()])
    }

    /// The tests that failed on a kernel; None if none did.
    pub fn again(failures: &[Failure], kernel: Kernel) -> Option<Self> {
        let suite = kernel.suite;
        let is_lost = Failure::Machine { suite: suite.to_owned() };
        if failures.contains(&is_lost) {
            return Some(Self::dependent(kernel));
        }
        let of = |name: &str| {
            let tests: Vec<_> = failures
                .iter()
                .filter_map(|failure| match failure {
                    Failure::Kernel { suite: on, backend, test }
                        if on == suite && backend == name =>
                    {
                        Some(format!("={test}"))
                    }
                    _ => None,
                })
                .collect();
            (!tests.is_empty()).then_some(tests)
        };
        let chosen = Self(BACKENDS.map(of));
        chosen.0.iter().any(Option::is_some).then_some(chosen)
    }

    /// The command of the machine.
    pub fn script(&self) -> String {
        let variable = |(name, filters): (&str, &Option<Vec<String>>)| {
            let value = match filters {
                None => "none".to_owned(),
                Some(filters) if filters.is_empty() => "all".to_owned(),
                Some(filters) => filters.join(" "),
            };
            format!("FILTERS_{name}='{value}'\n")
        };
        BACKENDS.into_iter().zip(&self.0).map(variable).collect::<String>() + SCRIPT
    }

    fn chooses(&self, backend: usize) -> bool {
        self.0[backend].is_some()
    }
}

/// The results of one kernel's machine.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// In the order of [`BACKENDS`].
    pub outcomes: [Outcome; BACKENDS.len()],
    /// The tests with each of them.
    pub tests: [Vec<Test>; BACKENDS.len()],
    /// The subject and the detail of each finding of `inotify-trace check` that is not `ok`.
    pub limitations: Vec<(String, String)>,
}

impl Results {
    /// Reads the files that the machine wrote. Missing files count as empty.
    pub fn read(files: &Path, choice: &Choice) -> Self {
        let text = |name: &str| fs::read_to_string(files.join(name)).unwrap_or_default();
        let lines = text("backends.txt");
        let tests = BACKENDS.map(|name| results::read(&files.join(name)));
        let mut outcomes = [const { Outcome::NotChosen }; BACKENDS.len()];
        for (index, name) in BACKENDS.into_iter().enumerate() {
            if choice.chooses(index) {
                outcomes[index] = outcome(&lines, name, &tests[index]);
            }
        }
        Self { outcomes, tests, limitations: limitations(&text("check.txt")) }
    }

    /// The backends of `expected` that the kernel does not offer.
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

/// Reads a backend's line of `backends.txt`, and counts the tests by result.
fn outcome(lines: &str, backend: &str, tests: &[Test]) -> Outcome {
    let mut words = lines.lines().map(str::split_whitespace);
    let Some(mut words) = words.find(|words| words.clone().next() == Some(backend)) else {
        return Outcome::Unfinished;
    };
    let (status, seconds) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
    if status == "missing" {
        return Outcome::Missing;
    }
    let Ok(status) = status.parse() else { return Outcome::Unfinished };
    let count =
        |of: fn(&results::Outcome) -> bool| tests.iter().filter(|test| of(&test.outcome)).count();
    Outcome::Tested {
        passed: count(|it| matches!(it, results::Outcome::Passed)),
        skipped: count(|it| matches!(it, results::Outcome::Skipped(_))),
        failed: count(|it| matches!(it, results::Outcome::Failed(_))),
        status,
        seconds: seconds.parse().unwrap_or_default(),
    }
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

#[cfg(test)]
mod tests {
    use super::{Choice, Outcome, Results, SCRIPT, limitations, outcome};
    use crate::failures::Failure;
    use crate::kernels::{ALL, Kernel};
    use crate::results::{self, Test};

    fn test(outcome: results::Outcome) -> Test {
        Test { outcome, seconds: 1.0, binary: "live".to_owned(), name: "a::here".to_owned() }
    }

    #[test]
    fn a_backend_without_a_line_was_not_finished() {
        let lines = "fentry 1 73\nkprobe missing 0\n";
        let tests = [
            test(results::Outcome::Passed),
            test(results::Outcome::Skipped("why".to_owned())),
            test(results::Outcome::Failed("how".to_owned())),
        ];
        let tested = Outcome::Tested { passed: 1, skipped: 1, failed: 1, status: 1, seconds: 73 };
        assert_eq!(outcome(lines, "fentry", &tests), tested);
        assert_eq!(tested.words(), "FAILED: 1 of 2");
        assert_eq!(outcome(lines, "kprobe", &[]), Outcome::Missing);
        assert_eq!(outcome(lines, "tracepoint", &[]), Outcome::Unfinished);
    }

    #[test]
    fn what_failed_is_chosen_with_its_backend() {
        let failed = Failure::Kernel {
            suite: "sid".to_owned(),
            backend: "kprobe".to_owned(),
            test: "a::here".to_owned(),
        };
        let [_, bookworm, _, sid] = ALL;
        let choice = Choice::again(std::slice::from_ref(&failed), sid).unwrap();
        let variables =
            "FILTERS_fentry='none'\nFILTERS_kprobe='=a::here'\nFILTERS_tracepoint='none'\n";
        assert!(choice.script().starts_with(variables), "{}", choice.script());
        assert_eq!(Choice::again(&[failed], bookworm), None);
        let lost = Failure::Machine { suite: "sid".to_owned() };
        assert_eq!(Choice::again(&[lost], sid), Some(Choice::dependent(sid)));
        assert!(Choice::all().script().starts_with("FILTERS_fentry='all'\n"));
    }

    #[test]
    fn what_depends_on_the_kernel_runs_with_the_backend_that_is_chosen_there() {
        let without = Kernel { backends: &["kprobe", "tracepoint"], ..ALL[0] };
        let variables = "FILTERS_fentry='each_backend'\n\
                         FILTERS_kprobe='each_kernel each_backend'\n\
                         FILTERS_tracepoint='each_backend'\n";
        assert!(Choice::dependent(without).script().starts_with(variables));
        let usual = Choice::dependent(ALL[0]).script();
        assert!(usual.starts_with("FILTERS_fentry='each_kernel each_backend'\n"), "{usual}");
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
        assert!(
            SCRIPT.contains(&format!("for backend in {};", crate::kernels::BACKENDS.join(" ")))
        );
    }
}
