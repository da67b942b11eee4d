//! Starting a load.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::step;

/// This program's task that is a load.
const TASK: &str = "load";

/// The command that is the load of this name.
pub fn of(load: &str) -> Result<Command> {
    let program = env::current_exe().context("cannot find the program that is running")?;
    let mut command = Command::new(program);
    command.args([TASK, load]);
    Ok(command)
}

/// Waits for a load; its process id and the numbers it printed.
pub fn finish(command: &mut Command) -> Result<(u32, Vec<f64>)> {
    let shown = step::shown(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let pid = child.id();
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed ({}); its reason is above", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    Ok((pid, words.with_context(|| format!("{shown} printed {text:?} instead of numbers"))?))
}
