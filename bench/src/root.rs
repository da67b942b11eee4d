//! Starting this program once more, as root.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask::{privilege, step};

/// One of this program's tasks as root; `purpose` completes "root is needed to ...".
pub fn command(task: &str, purpose: &str) -> Result<Command> {
    let program = env::current_exe().context("cannot find the program that is running")?;
    let program = program.to_str().context("the target directory's name is not UTF-8")?;
    let mut command = privilege::as_root(program, purpose)?;
    command.arg(task);
    Ok(command)
}

/// The output of root's part. Root measures, the user writes the report.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", step::shown(command)))?;
    ensure!(output.status.success(), "measuring failed ({}); the reason is above", output.status);
    String::from_utf8(output.stdout).context("what was measured is not UTF-8")
}
