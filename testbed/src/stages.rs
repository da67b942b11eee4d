//! How long each stage took.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::step;

/// The stages of a run, in the order of their ends. Some go on at the same time.
pub struct Stages {
    started: Instant,
    stages: Mutex<Vec<(&'static str, Duration)>>,
}

impl Stages {
    pub fn new() -> Self {
        Self { started: Instant::now(), stages: Mutex::default() }
    }

    /// Does a part of the work, and takes its time.
    pub fn run<T>(&self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        step::say(&format!("== {name} ({} s since the start)", self.started.elapsed().as_secs()));
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).push((name, took));
        result
    }

    /// A line for each, and for all.
    pub fn table(&self) -> String {
        let all = ("all", self.started.elapsed());
        let line = |(name, took): &(&str, Duration)| {
            let seconds = took.as_secs();
            format!("{:3} min {:02} s  {name}\n", seconds / 60, seconds % 60)
        };
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.iter().chain([&all]).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Stages;

    #[test]
    fn a_stage_that_fails_is_in_the_table_too() {
        let stages = Stages::new();
        assert_eq!(stages.run("one", || Ok(1)).unwrap(), 1);
        assert!(stages.run("two", || anyhow::bail!("no") as anyhow::Result<()>).is_err());
        let table = stages.table();
        let names: Vec<_> = table.lines().filter_map(|line| line.split("s  ").nth(1)).collect();
        assert_eq!(names, ["one", "two", "all"]);
    }
}
