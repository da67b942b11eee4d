//! The tests on this machine's kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask::privilege;
use xtask::programs::{self as builds, Tests};
use xtask::python;
use xtask::step;
use xtask::workspace::Workspace;

use crate::failures::Failure;
use crate::programs::{LIVE, RUNNER, WORKLOAD};
use crate::results::{self, Outcome, Test};

/// Longer than any test waits for an event that never comes, in seconds, without the time of a soak.
const LIMIT: u32 = 600;

/// Requirements of the tests.
pub struct Here<'a> {
    pub workspace: &'a Workspace,
    pub agent: &'a Path,
    pub tests: &'a Tests,
    /// With packages that read exports, if it is installed.
    pub python: Option<&'a Path>,
    /// For how many seconds the load of each soak test goes on; None leaves these tests out.
    pub soak: Option<u32>,
}

impl Here<'_> {
    /// Runs all tests, or those of `failures`; returns their results.
    pub fn run(&self, failures: Option<&[Failure]>) -> Result<Vec<Test>> {
        let directory = directory(self.workspace);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let plan = self.plan(failures);
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let path = directory.join("plan.tsv");
        fs::write(&path, plan).with_context(|| format!("cannot write {}", path.display()))?;
        let results = directory.join("here");
        let runner = self.tests.program(RUNNER)?;
        let runner = runner.to_str().context("the target directory's name is not UTF-8")?;
        let mut command = privilege::as_root(runner, "run the live tests").or_else(|error| {
            step::say(&format!("{error:#}; tests that need root will be skipped"));
            anyhow::Ok(Command::new(runner))
        })?;
        let limit = LIMIT + self.soak.unwrap_or_default();
        command.arg(&path).arg(&results).arg(limit.to_string());
        command.env(builds::AGENT_VARIABLE, self.agent);
        command.env("INOTIFY_TRACE_WORKLOAD", self.tests.program(WORKLOAD)?);
        if let Some(python) = self.python {
            command.env(python::VARIABLE, python);
        }
        if let Some(seconds) = self.soak {
            command.env("INOTIFY_TRACE_SOAK", seconds.to_string());
        }
        step::say("running the tests");
        let status = command.stdin(Stdio::null()).status();
        let status = status.with_context(|| format!("cannot start {}", step::shown(&command)))?;
        // 1 is that a test failed.
        ensure!(
            matches!(status.code(), Some(0 | 1)),
            "the tests were not run to the end ({status})"
        );
        Ok(results::read(&results))
    }

    /// A line for each binary with tests to run.
    fn plan(&self, failures: Option<&[Failure]>) -> String {
        let mut plan = String::new();
        for binary in &self.tests.binaries {
            let mut filters = Vec::new();
            if let Some(failures) = failures {
                filters.extend(failures.iter().filter_map(|failure| match failure {
                    Failure::Here { binary: of, test } if *of == binary.name => {
                        Some(format!("={test}"))
                    }
                    _ => None,
                }));
                if filters.is_empty() {
                    continue;
                }
            }
            let order = if binary.name == LIVE { "alone" } else { "together" };
            let (path, directory) = (binary.path.display(), binary.directory.display());
            let filters = filters.join("\t");
            plan += &format!("{order}\t{}\t{path}\t{directory}\t{filters}\n", binary.name);
        }
        plan
    }
}

/// The directory for the results of tests.
pub fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tests")
}

pub fn is_failed(test: &Test) -> bool {
    matches!(test.outcome, Outcome::Failed(_))
}

pub fn failures(tests: &[Test]) -> Vec<Failure> {
    let failed = tests.iter().filter(|test| is_failed(test));
    failed
        .map(|test| Failure::Here { binary: test.binary.clone(), test: test.name.clone() })
        .collect()
}

/// How many of them there are, and which were skipped.
pub fn summary(tests: &[Test]) -> String {
    let count = |of: fn(&Test) -> bool| tests.iter().filter(|test| of(test)).count();
    let passed = count(|test| test.outcome == Outcome::Passed);
    let failed = count(is_failed);
    let mut text = format!("{passed} tests passed, {failed} failed");
    for test in tests {
        if let Outcome::Skipped(why) = &test.outcome {
            text += &format!("\nskipped: {} {}: {why}", test.binary, test.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{failures, summary};
    use crate::failures::Failure;
    use crate::results::{Outcome, Test};

    #[test]
    fn what_was_skipped_is_named_with_its_reason() {
        let test = |outcome, name: &str| Test {
            outcome,
            seconds: 1.0,
            binary: "live".to_owned(),
            name: name.to_owned(),
        };
        let tests = [
            test(Outcome::Passed, "a"),
            test(Outcome::Skipped("needs root".to_owned()), "b"),
            test(Outcome::Failed("exit status: 101".to_owned()), "c"),
        ];
        assert_eq!(summary(&tests), "1 tests passed, 1 failed\nskipped: live b: needs root");
        let failed = Failure::Here { binary: "live".to_owned(), test: "c".to_owned() };
        assert_eq!(failures(&tests), [failed]);
    }
}
