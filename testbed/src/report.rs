//! The result of each kernel, as text and as exit status.

use std::fmt::{self, Display};

use crate::kernels::{self, BACKENDS, Kernel};
use crate::suite::{Outcome, Results};

/// The status for a command that has none of its own.
const NO_STATUS: u8 = 125;

#[derive(Clone, Debug)]
pub enum Result {
    /// The command's status.
    Ended(u8),
    /// The command did not end by itself.
    Lost(String),
    /// All passed, but not with these backends, which the kernel no longer offers.
    Lacks(Vec<&'static str>),
    /// The command succeeded, but its results are wrong.
    Wrong(String),
    /// There was nothing to boot.
    NotRun { why: String, allowed: bool },
}

#[derive(Clone, Debug)]
pub struct Report {
    pub kernel: Kernel,
    /// The package's version, once known.
    pub version: Option<String>,
    pub result: Result,
    pub seconds: f32,
    pub retried: bool,
    /// The results of the live tests, if they ran.
    pub suite: Option<Results>,
}

impl Report {
    /// The report of a machine without details: `result` holds until it is replaced.
    pub fn new(kernel: Kernel, result: Result) -> Self {
        Self { kernel, version: None, result, seconds: 0.0, retried: false, suite: None }
    }

    pub fn name(&self) -> String {
        let version = self.version.as_deref().unwrap_or(self.kernel.series);
        format!("{version} ({})", self.kernel.label())
    }

    /// The failure, if there is one.
    pub fn failure(&self) -> Option<u8> {
        match &self.result {
            Result::Ended(0) | Result::NotRun { allowed: true, .. } => None,
            Result::Ended(status) => Some(*status),
            Result::Lacks(_) | Result::Wrong(_) => Some(1),
            Result::Lost(_) | Result::NotRun { .. } => Some(NO_STATUS),
        }
    }

    /// Whether there was nothing to boot, which was not allowed.
    pub fn is_missing(&self) -> bool {
        matches!(self.result, Result::NotRun { allowed: false, .. })
    }

    fn outcome(&self) -> String {
        let outcome = match &self.result {
            Result::Ended(0) => "ok".to_owned(),
            Result::Ended(status) => format!("FAILED with status {status}"),
            Result::Lost(why) | Result::Wrong(why) => format!("FAILED: {why}"),
            Result::Lacks(backends) => format!(
                "FAILED: the agent no longer starts with {}, which this kernel used to offer",
                backends.join(", ")
            ),
            Result::NotRun { why, allowed: true } => format!("NOT RUN (allowed): {why}"),
            Result::NotRun { why, .. } => format!("NOT RUN: {why}"),
        };
        if self.retried { format!("{outcome} (second try)") } else { outcome }
    }
}

/// One line for each kernel and backend, under a heading.
pub fn backends(reports: &[Report]) -> String {
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

/// Sorts reports in the order of kernels: machines end in any order.
pub fn sort(reports: &mut [Report]) {
    let all = |report: &Report| kernels::of(report.kernel.architecture).iter();
    reports.sort_by_key(|report| all(report).position(|kernel| *kernel == report.kernel));
}

/// One line for each kernel, under a heading.
pub fn table(reports: &[Report]) -> String {
    let width = reports.iter().map(|report| report.name().len()).max().unwrap_or(0).max(6);
    let mut table = format!("{:width$}  seconds  result\n", "kernel");
    for report in reports {
        let seconds = match report.result {
            Result::NotRun { .. } => "-".to_owned(),
            _ => format!("{:.1}", report.seconds),
        };
        table.push_str(&format!("{:width$}  {seconds:>7}  {}\n", report.name(), report.outcome()));
    }
    table
}

/// A failure with its exit status.
#[derive(Debug)]
pub struct Failed {
    /// The command's.
    pub status: u8,
    message: String,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// An error if a kernel failed, with the status of the first one that did.
pub fn conclude(what: &str, reports: &[Report]) -> std::result::Result<(), Failed> {
    let failed: Vec<_> =
        reports.iter().filter_map(|report| Some((report, report.failure()?))).collect();
    let Some((_, status)) = failed.first() else { return Ok(()) };
    let list: Vec<_> = failed
        .iter()
        .map(|(report, _)| format!("{}: {}", report.name(), report.outcome()))
        .collect();
    let mut message = format!("{what}: {}", list.join("; "));
    if let Some(report) =
        reports.iter().find(|report| matches!(report.result, Result::NotRun { allowed: false, .. }))
    {
        message += &format!(" (--allow-missing {} would let that pass)", report.kernel.suite);
    }
    Err(Failed { status: *status, message })
}

#[cfg(test)]
mod tests {
    use super::{Report, Result, conclude, table};
    use crate::kernels::ALL;

    fn report(index: usize, result: Result) -> Report {
        let version = (index < 3).then(|| "5.10.223-1".to_owned());
        let (seconds, retried) = (3.21, index == 1);
        Report { kernel: ALL[index], version, result, seconds, retried, suite: None }
    }

    #[test]
    fn the_table_names_every_kernel() {
        let missing = Result::NotRun { why: "no mirror".to_owned(), allowed: false };
        let reports =
            [report(0, Result::Ended(0)), report(1, Result::Ended(2)), report(3, missing)];
        assert_eq!(
            table(&reports),
            "kernel                 seconds  result\n\
             5.10.223-1 (bullseye)      3.2  ok\n\
             5.10.223-1 (bookworm)      3.2  FAILED with status 2 (second try)\n\
             7 (sid)                      -  NOT RUN: no mirror\n"
        );
    }

    #[test]
    fn the_first_failure_gives_the_status() {
        let ok = || report(0, Result::Ended(0));
        assert!(conclude("x", &[ok()]).is_ok());
        let failed =
            conclude("x", &[ok(), report(1, Result::Ended(7)), report(2, Result::Ended(8))]);
        assert_eq!(failed.unwrap_err().status, 7);
        let lost = conclude("x", &[report(2, Result::Lost("a hang".to_owned()))]).unwrap_err();
        assert_eq!(lost.status, 125);
        assert!(lost.to_string().contains("a hang"), "{lost}");
    }

    #[test]
    fn what_was_not_run_fails_unless_allowed() {
        let missing = |allowed| report(3, Result::NotRun { why: "no mirror".to_owned(), allowed });
        assert!(conclude("x", &[missing(true)]).is_ok());
        let error = conclude("x", &[missing(false)]).unwrap_err().to_string();
        assert!(error.contains("--allow-missing sid"), "{error}");
    }
}
