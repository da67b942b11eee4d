//! The programs that machines have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::architecture::Architecture;
use xtask::programs::Tests;
use xtask::step;
use xtask::workspace::{Workspace, which};

use crate::initramfs::Program;

/// The package of the tests and of the programs that they use.
pub const PACKAGE: &str = "inotify-trace-tests";
/// The live tests' binary.
pub const LIVE: &str = "live";
/// The workload program that the tests control.
pub const WORKLOAD: &str = "workload";
/// The program that runs the tests.
pub const RUNNER: &str = "run-tests";

/// The live tests and the programs that they use.
pub fn tests(
    workspace: &Workspace,
    architecture: &Architecture,
    tests: &Tests,
) -> Result<Vec<Program>> {
    let directory = workspace.target.join("vm").join("programs").join(architecture.name);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let live = (LIVE, tests.binary(LIVE)?.path.clone());
    let others = [WORKLOAD, RUNNER].map(|name| Ok((name, tests.program(name)?)));
    let others: Vec<(&str, PathBuf)> = others.into_iter().collect::<Result<_>>()?;
    [live]
        .into_iter()
        .chain(others)
        .map(|(name, path)| lean(architecture, name, &path, &directory))
        .collect()
}

/// Without debug information, which would be most of a machine's memory. Where there is no `strip`
/// it is as it is.
fn lean(architecture: &Architecture, name: &str, path: &Path, directory: &Path) -> Result<Program> {
    let strip = architecture.compiler.0.replace("gcc", "strip");
    if which(&strip).is_none() {
        return Ok(Program::new(name, path.to_path_buf()));
    }
    let stripped = directory.join(name);
    let mut command = Command::new(strip);
    command.args(["--strip-debug", "-o"]).arg(&stripped).arg(path);
    step::output_of(&mut command)?;
    Ok(Program::new(name, stripped))
}
