//! The program that measures.

use std::process::Command;

use crate::environment;
use crate::workspace::Workspace;

/// A command for it. It builds the program if that is not up to date: optimised, because the loads
/// are loops, and output is read by the gigabyte.
#[must_use]
pub fn command(workspace: &Workspace) -> Command {
    let mut command = environment::cargo();
    command.current_dir(&workspace.root);
    command.args(["run", "--quiet", "--release", "--package", "bench", "--"]);
    command
}
