//! Fuzzing beside the machines.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use xtask::fuzz::{Fuzzer, Target};
use xtask::step;
use xtask::workspace::Workspace;

use crate::here;
use crate::parallel::Job;

/// What the compiler takes, which is more than the targets do with the address sanitizer, in MiB.
const MEMORY: u32 = 2048;

/// About how long building takes, in seconds: on one processor, since all but the last crates are
/// one unit each.
const BUILDING: u32 = 240;

/// Some targets, each for so many seconds.
pub struct Fuzzing<'a> {
    workspace: &'a Workspace,
    targets: Vec<Target>,
    seconds: u32,
    told: Mutex<Told>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The targets that failed on an input.
    pub failed: Vec<Target>,
    /// Why there was nothing to run.
    pub not_built: Option<String>,
}

impl<'a> Fuzzing<'a> {
    pub fn new(workspace: &'a Workspace, targets: Vec<Target>, seconds: u32) -> Self {
        Self { workspace, targets, seconds, told: Mutex::default() }
    }

    /// One job: the targets need a program that is built first.
    pub fn job(&self) -> Option<Job<'_>> {
        let targets = u32::try_from(self.targets.len()).ok().filter(|count| *count > 0)?;
        Some(Job::new(BUILDING + targets * self.seconds, MEMORY, || {
            let told = self.run().unwrap_or_else(|error| {
                step::say(&format!("{error:#}"));
                Told { failed: self.targets.clone(), not_built: Some(format!("{error:#}")) }
            });
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }))
    }

    fn run(&self) -> Result<Told> {
        let fuzzer = Fuzzer::build(self.workspace).context("cannot build what is fuzzed")?;
        let mut told = Told::default();
        for target in &self.targets {
            let name = format!("fuzz-{}.txt", target.name());
            let output = here::directory(self.workspace).join(name);
            if let Err(error) = fuzzer.fuzz(*target, self.seconds, &output) {
                step::say(&format!("{error:#}"));
                told.failed.push(*target);
            }
        }
        Ok(told)
    }

    pub fn conclude(self) -> Told {
        self.told.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
