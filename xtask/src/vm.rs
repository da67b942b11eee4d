//! One virtual machine, for measurements: `testbed` runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::programs;
use crate::step;
use crate::testbed;
use crate::workspace::Workspace;

/// What a machine has and does.
pub struct Contents {
    /// What it is called below target/vm.
    pub name: &'static str,
    /// The kernel, by suite or series.
    pub kernel: &'static str,
    /// A program of the workspace to have at hand besides the agent.
    pub program: &'static str,
    /// Files that it has under the paths that they have here.
    pub files: Vec<PathBuf>,
    /// What its shell runs.
    pub script: String,
    /// In MiB.
    pub memory: u32,
    /// How long the script may take.
    pub limit: Duration,
}

/// What it left.
pub struct Left {
    /// The suite of Debian that the kernel is from.
    pub suite: String,
    /// The version of the kernel's package.
    pub version: String,
    /// What was in the machine's /out.
    pub files: PathBuf,
}

/// Boots the kernel and runs the script; an error if that does not end well.
pub fn run_single(workspace: &Workspace, contents: &Contents) -> Result<Left> {
    let program = programs::program(workspace, contents.program, false)?;
    let mut command = testbed::command(workspace, "vm");
    command.args(["--kernel", contents.kernel, "--name", contents.name]);
    command.args(["--memory", &contents.memory.to_string()]);
    command.args(["--limit", &contents.limit.as_secs().to_string()]);
    command.arg("--file").arg(program);
    for file in &contents.files {
        command.arg("--same-path").arg(file);
    }
    command.args(["--", "sh", "-c", &contents.script]);
    step::run("measuring in a virtual machine", &mut command)?;
    let kept = workspace.target.join("vm").join(contents.name);
    let (suite, version) = kernel(&kept)?;
    Ok(Left { suite, version, files: kept.join("files") })
}

/// Which kernel a machine had, from its directory.
fn kernel(kept: &Path) -> Result<(String, String)> {
    let path = kept.join("kernel.txt");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (suite, version) =
        text.trim().split_once(' ').context("kernel.txt has no suite and version")?;
    Ok((suite.to_owned(), version.to_owned()))
}
