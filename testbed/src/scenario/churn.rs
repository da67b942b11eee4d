//! Pods that start and end without a leak: checks that inotify-trace reports none.

use std::path::Path;

use anyhow::{Context, Result};

use super::truth::Truth;
use crate::boot;

/// A pod lives for as long as this at most, in seconds, on a machine that does little else.
const POD: u64 = 90;

/// The results of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Churned {
    pub containerd: String,
    pub pods: usize,
    pub containers: usize,
    /// Instances that were made meanwhile.
    pub made: usize,
    /// The reports of `leaks --watch`; none are expected.
    pub verdicts: Vec<String>,
    /// The failures.
    pub problems: Vec<String>,
}

/// Reads the files that the machine wrote, where pods came and went for `seconds`.
pub fn read(files: &Path, seconds: u64) -> Result<Churned> {
    let text = |name: &str| boot::left(files, name);
    let truth = Truth::parse(&text("truth.txt")?).context("truth.txt")?;
    let trace = text("trace.json")?;
    let made = trace.lines().filter(|line| line.contains(r#""event":"create""#)).count();
    let verdicts = text("churn.json")?.lines().map(str::to_owned).collect();
    judge(truth, made, verdicts, seconds)
}

fn judge(truth: Truth, made: usize, verdicts: Vec<String>, seconds: u64) -> Result<Churned> {
    let churn = truth.churn.context("the machine does not say what came and went")?;
    let mut problems = Vec::new();
    if !verdicts.is_empty() || churn.status != 0 {
        problems.push(format!("{} verdicts, status {}", verdicts.len(), churn.status));
    }
    // Without pods and instances, a result without verdicts would prove nothing.
    let least = usize::try_from(seconds / POD)?.max(1);
    if churn.pods < least || churn.containers < churn.pods || made < churn.containers {
        problems.push(format!("too little happened: {churn:?}, {made} instances made"));
    }
    Ok(Churned {
        containerd: truth.containerd,
        pods: churn.pods,
        containers: churn.containers,
        made,
        verdicts,
        problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_has_to_happen_and_nothing_to_be_said() {
        let problems = |text: &str, made, verdicts: &[&str]| {
            let verdicts = verdicts.iter().map(|it| (*it).to_owned()).collect();
            judge(Truth::parse(text).unwrap(), made, verdicts, 600).unwrap().problems.len()
        };
        assert_eq!(problems("churn 20 60 0\n", 80, &[]), 0);
        assert_eq!(problems("churn 20 60 1\n", 80, &["{}"]), 1);
        assert_eq!(problems("churn 20 60 1\n", 80, &[]), 1);
        assert_eq!(problems("churn 5 60 0\n", 80, &[]), 1);
        assert_eq!(problems("churn 20 60 0\n", 10, &[]), 1);
        assert!(judge(Truth::default(), 80, Vec::new(), 600).is_err());
    }
}
