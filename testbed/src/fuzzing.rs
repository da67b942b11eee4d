//! Fuzzing beside the machines.

use std::sync::{Mutex, PoisonError};

use xtask::fuzz::{Fuzzer, Target};
use xtask::step;
use xtask::workspace::Workspace;

use crate::here;
use crate::parallel::Job;

/// With the address sanitizer's, in MiB.
const MEMORY: u32 = 1024;

/// Some targets, each for so many seconds.
pub struct Fuzzing<'a> {
    pub workspace: &'a Workspace,
    pub fuzzer: Fuzzer<'a>,
    pub targets: Vec<Target>,
    pub seconds: u32,
    /// The targets that failed on an input.
    pub failed: Mutex<Vec<Target>>,
}

impl Fuzzing<'_> {
    pub fn jobs(&self) -> Vec<Job<'_>> {
        let job = |target: &Target| {
            let target = *target;
            Job::new(self.seconds, MEMORY, move || {
                let name = format!("fuzz-{}.txt", target.name());
                let output = here::directory(self.workspace).join(name);
                if let Err(error) = self.fuzzer.fuzz(target, self.seconds, &output) {
                    step::say(&format!("{error:#}"));
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(target);
                }
            })
        };
        self.targets.iter().map(job).collect()
    }

    pub fn failed(&self) -> Vec<Target> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
