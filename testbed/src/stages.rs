//! How long each stage took.

use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::step;

/// The stages of a run, in order.
pub struct Stages {
    started: Instant,
    stages: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub fn new() -> Self {
        Self { started: Instant::now(), stages: Vec::new() }
    }

    /// Does a part of the work, and takes its time.
    pub fn run<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        step::say(&format!("== {name} ({} s since the start)", self.started.elapsed().as_secs()));
        let started = Instant::now();
        let result = work();
        self.stages.push((name, started.elapsed()));
        result
    }

    /// A line for each, and for all.
    pub fn table(&self) -> String {
        let all = ("all", self.started.elapsed());
        let line = |(name, took): &(&str, Duration)| {
            let seconds = took.as_secs();
            format!("{:3} min {:02} s  {name}\n", seconds / 60, seconds % 60)
        };
        self.stages.iter().chain([&all]).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Stages;

    #[test]
    fn a_stage_that_fails_is_in_the_table_too() {
        let mut stages = Stages::new();
        assert_eq!(stages.run("one", || Ok(1)).unwrap(), 1);
        assert!(stages.run("two", || anyhow::bail!("no") as anyhow::Result<()>).is_err());
        let table = stages.table();
        let names: Vec<_> = table.lines().filter_map(|line| line.split("s  ").nth(1)).collect();
        assert_eq!(names, ["one", "two", "all"]);
    }
}
