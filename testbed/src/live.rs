//! The live tests, or a command, on the kernels of virtual machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::step;
use xtask::workspace::Workspace;

use crate::boot::{Boot, End};
use crate::failures::Failure;
use crate::initramfs::{self, Program};
use crate::kernels::{BACKENDS, Cache, Kernel};
use crate::machine::{self, Outcome};
use crate::parallel::Job;
use crate::report::{self, Report};
use crate::results;
use crate::suite::{self, Choice};

/// About how long the tests of one kernel take on an idle machine, in seconds.
const SECONDS: u32 = 300;

/// The command of a machine.
pub enum Task {
    /// These live tests.
    Tests(Choice),
    /// The user's command, run for its output.
    Command(String),
}

/// State shared by all machines.
pub struct Plan<'a> {
    pub cache: &'a Cache,
    pub programs: &'a [Program],
    /// Files that machines have under the paths that they have here.
    pub files: &'a [PathBuf],
    /// The directory for the files of running machines.
    pub work: &'a Path,
    /// The directory for the files of machines that have ended.
    pub results: PathBuf,
    /// The machine's directory there, if it is not named after the kernel's suite.
    pub name: Option<&'a str>,
    /// In MiB.
    pub memory: u32,
    pub limit: Duration,
    pub allow_missing: &'a [Kernel],
    /// Whether to show the output while it comes.
    pub stream: bool,
    /// Held while showing a machine's output: several end at the same time.
    pub terminal: &'a Mutex<()>,
}

/// The directory for the results of machines.
pub fn results(workspace: &Workspace) -> PathBuf {
    workspace.target.join("vm")
}

impl Plan<'_> {
    /// A job for each kernel; its report comes to the same place in `reports`.
    pub fn jobs<'a>(
        &'a self,
        tasks: &'a [(Kernel, Task)],
        reports: &'a Mutex<Vec<Report>>,
    ) -> Vec<Job<'a>> {
        let job = |(kernel, task): &'a (Kernel, Task)| {
            Job::new(SECONDS, self.memory, move || {
                let report = self.run(*kernel, task);
                reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
            })
        };
        tasks.iter().map(job).collect()
    }

    fn run(&self, kernel: Kernel, task: &Task) -> Report {
        let mut report = Report::new(kernel, report::Result::Lost(String::new()));
        let started = Instant::now();
        if let Err(error) = self.boot(task, &mut report) {
            report.result = report::Result::Lost(format!("{error:#}"));
        }
        report.seconds = started.elapsed().as_secs_f32();
        report
    }

    fn boot(&self, task: &Task, report: &mut Report) -> Result<()> {
        let kernel = report.kernel;
        let image = match self.cache.image(kernel) {
            Ok(image) => image,
            Err(error) => {
                let allowed = self.allow_missing.contains(&kernel);
                let why = format!("{error:#}");
                step::say(&format!("{}: NOT RUN: {why}", report.name()));
                report.result = report::Result::NotRun { why, allowed };
                return Ok(());
            }
        };
        report.version = Some(image.version.clone());
        let label = kernel.label();
        let initramfs = self.work.join(format!("live-{label}.cpio"));
        let busybox = self.cache.busybox(kernel.architecture)?;
        let script = match task {
            Task::Tests(choice) => choice.script(),
            Task::Command(script) => script.clone(),
        };
        fs::write(&initramfs, initramfs::build(&busybox, self.programs, self.files, &script)?)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let boot = Boot {
            image: &image,
            suite: kernel.suite,
            name: report.name(),
            directory: self.name.unwrap_or(&label),
            initramfs: &initramfs,
            disk: None,
            own_time: false,
            memory: self.memory,
            limit: self.limit,
            stream: self.stream,
        };
        let End { outcome, retried, kept } = boot.run(self.work, &self.results)?;
        report.retried = retried;
        report.result = match outcome {
            Outcome::Ended(status) => report::Result::Ended(status),
            Outcome::Lost { why, .. } => report::Result::Lost(why),
        };
        match task {
            Task::Tests(choice) => self.read(choice, &kept, report),
            Task::Command(_) => self.show(&kept, report),
        }
    }

    /// Records the results of the tests, and shows those that failed.
    fn read(&self, choice: &Choice, kept: &Path, report: &mut Report) -> Result<()> {
        let files = kept.join("files");
        let suite = suite::Results::read(&files, choice);
        let withdrawn = suite.withdrawn(report.kernel.backends);
        let _alone = self.terminal.lock().unwrap_or_else(PoisonError::into_inner);
        for backend in &withdrawn {
            let why = machine::text(&files.join(format!("{backend}.txt")))?;
            step::say(&format!("{}: {backend} is not offered: {}", report.name(), why.trim()));
        }
        if matches!(report.result, report::Result::Ended(0)) && !withdrawn.is_empty() {
            report.result = report::Result::Lacks(withdrawn);
        }
        for (backend, tests) in BACKENDS.iter().zip(&suite.tests) {
            for test in tests {
                match &test.outcome {
                    results::Outcome::Passed => {}
                    results::Outcome::Skipped(why) => step::say(&format!(
                        "{}, {backend}: {} was skipped: {why}",
                        report.name(),
                        test.name
                    )),
                    results::Outcome::Failed(why) => {
                        let directory = files.join(backend).join("failed").join(&test.binary);
                        let directory = directory.join(test.name.replace("::", "."));
                        let output = machine::text(&directory.join("output.txt"));
                        step::say(&format!(
                            "FAILED on {}, {backend}: {} ({why})\n{}\nits output, and what its \
                             agents said and recorded, are in {}",
                            report.name(),
                            test.name,
                            output.unwrap_or_default().trim(),
                            directory.display()
                        ));
                    }
                }
            }
        }
        report.suite = Some(suite);
        Ok(())
    }

    /// Shows the output of a command, unless it was shown while it came.
    fn show(&self, kept: &Path, report: &Report) -> Result<()> {
        if !self.stream {
            let output = machine::text(&kept.join("output.txt"))?;
            let _alone = self.terminal.lock().unwrap_or_else(PoisonError::into_inner);
            step::say(&format!("output of {}:", report.name()));
            print!("{output}");
        }
        Ok(())
    }
}

/// The parts of these reports that can be run again.
pub fn failures(reports: &[Report]) -> Vec<Failure> {
    reports.iter().flat_map(failures_of).collect()
}

fn failures_of(report: &Report) -> Vec<Failure> {
    let suite = report.kernel.suite.to_owned();
    let mut failures = Vec::new();
    for (backend, tests) in report.suite.iter().flat_map(|it| BACKENDS.iter().zip(&it.tests)) {
        let failed = tests.iter().filter(|it| matches!(it.outcome, results::Outcome::Failed(_)));
        failures.extend(failed.map(|test| Failure::Kernel {
            suite: suite.clone(),
            backend: (*backend).to_owned(),
            test: test.name.clone(),
        }));
    }
    if failures.is_empty() && report.failure().is_some() {
        failures.push(Failure::Machine { suite });
    }
    failures
}
