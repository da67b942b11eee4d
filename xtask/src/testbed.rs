//! The program that runs tests and virtual machines.

use std::process::Command;

use crate::environment;
use crate::workspace::Workspace;

/// A command for one of its tasks: `test` or `vm`. It builds the program if that is not up to date.
#[must_use]
pub fn command(workspace: &Workspace, task: &str) -> Command {
    let mut command = environment::cargo();
    command.current_dir(&workspace.root);
    command.args(["run", "--quiet", "--package", "testbed", "--", task]);
    command
}
