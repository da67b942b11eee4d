//! Becoming root where that is needed.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::which;

/// Whether this process is root's.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command that runs `program` as root; `purpose` completes "root is needed to ...".
pub fn as_root(program: &str, purpose: &str) -> Result<Command> {
    let mut words = prefix(purpose)?.into_iter().chain([program.to_owned()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    Ok(command)
}

/// The words to put before a command line to run it as root with this environment: none for root.
pub fn prefix(purpose: &str) -> Result<Vec<String>> {
    if is_root() {
        return Ok(Vec::new());
    }
    if which("sudo").is_none() {
        bail!(
            "root is needed to {purpose}, and there is no sudo: run the same command as root, or \
             install sudo"
        );
    }
    // sudo replaces PATH even when told to keep the environment.
    let path = env::var("PATH").unwrap_or_default();
    Ok(["sudo", "-E", "env"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("PATH={path}")])
        .collect())
}
