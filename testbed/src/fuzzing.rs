//! Fuzzing beside the other tests.

use anyhow::{Context, Result};
use xtask::fuzz::{Fuzzer, Target};
use xtask::step;
use xtask::workspace::Workspace;

use crate::here;

/// Some targets, each for so many seconds.
pub struct Fuzzing<'a> {
    workspace: &'a Workspace,
    targets: Vec<Target>,
    seconds: u32,
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
        Self { workspace, targets, seconds }
    }

    /// Builds the targets and runs them.
    pub fn run(&self) -> Told {
        self.try_to_run().unwrap_or_else(|error| {
            step::say(&format!("{error:#}"));
            Told { failed: self.targets.clone(), not_built: Some(format!("{error:#}")) }
        })
    }

    fn try_to_run(&self) -> Result<Told> {
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
}
