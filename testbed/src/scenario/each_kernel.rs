//! Scenarios with one machine, and one result, for each kernel.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;

use super::Run;
use crate::kernels::Kernel;
use crate::parallel::Job;
use crate::report::{self, Report};

/// What happens on each kernel's machine.
pub trait Story: Sync {
    /// Memory in MiB.
    const MEMORY: u32;

    /// About how long a machine takes that does nothing else, in seconds.
    const SECONDS: u32;

    /// Boots the machine of the report's kernel; an error is what went wrong there.
    fn run(&self, report: &mut Report) -> Result<()>;
}

/// A story on some kernels.
pub struct EachKernel<S> {
    story: S,
    kernels: Vec<Kernel>,
    reports: Mutex<Vec<Report>>,
}

impl<S> EachKernel<S> {
    pub fn new(story: S, kernels: Vec<Kernel>) -> Self {
        Self { story, kernels, reports: Mutex::default() }
    }
}

impl<S: Story> Run for EachKernel<S> {
    fn jobs(&self) -> Vec<Job<'_>> {
        let job = |kernel: &Kernel| {
            let kernel = *kernel;
            Job::new(S::SECONDS, S::MEMORY, move || {
                let mut report = Report::new(kernel, report::Result::Ended(0));
                let started = Instant::now();
                if let Err(error) = self.story.run(&mut report) {
                    report.result = report::Result::Wrong(format!("{error:#}"));
                }
                report.seconds = started.elapsed().as_secs_f32();
                self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
            })
        };
        self.kernels.iter().map(job).collect()
    }

    fn conclude(&self) -> Vec<Report> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        report::sort(&mut reports);
        std::mem::take(&mut *reports)
    }
}
