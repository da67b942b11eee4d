//! Formatting, dependencies, clippy and documentation.

use std::process::Command;

use anyhow::Result;

use crate::agent;
use crate::deny;
use crate::environment;
use crate::kernel;
use crate::step;
use crate::workspace::Workspace;

/// Installs the formatter and the linter, which rustup's minimal profile lacks.
pub fn setup(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let mut command = environment::cargo();
        command.current_dir(&workspace.root).args([subcommand, "--version"]);
        if step::output_of(&mut command).is_ok() {
            continue;
        }
        let mut rustup = Command::new("rustup");
        rustup.current_dir(&workspace.root).args(["component", "add", component]);
        step::run(&format!("installing rustup's component {component}"), &mut rustup)?;
    }
    Ok(())
}

/// Everything a reviewer should not have to look for.
pub fn run(workspace: &Workspace) -> Result<()> {
    setup(workspace)?;

    let mut format = environment::cargo();
    format.current_dir(&workspace.root).args(["fmt", "--all", "--check"]);
    step::run("checking the formatting (`cargo fmt --all` repairs it)", &mut format)?;

    let mut format = environment::cargo();
    format.current_dir(workspace.root.join("fuzz")).args(["fmt", "--check"]);
    step::run("checking the formatting of fuzz/ (`cargo fmt` there repairs it)", &mut format)?;

    deny::run(workspace)?;

    let mut clippy = kernel::cargo(workspace)?;
    clippy.args(["clippy", "--workspace", "--exclude", kernel::PACKAGE, "--all-targets"]);
    clippy.args(["--", "-D", "warnings"]);
    step::run("clippy", &mut clippy)?;
    // What is only for a feature must be left out with it.
    let mut clippy = kernel::cargo(workspace)?;
    clippy.args(["clippy", "--package", agent::NAME, "--no-default-features"]);
    clippy.args(["--", "-D", "warnings"]);
    step::run("clippy without optional features", &mut clippy)?;

    // For this machine instead of BPF, which spares a second clippy for the other compiler. The
    // kernel programs can't unwind, and their panic handler excludes the test harness.
    let mut clippy = environment::cargo();
    clippy.current_dir(&workspace.root).env("CARGO_PROFILE_DEV_PANIC", "abort");
    clippy.args(["clippy", "--package", kernel::PACKAGE, "--bins"]);
    clippy.arg("--target-dir").arg(workspace.target.join("bpf-clippy"));
    clippy.args(["--", "-D", "warnings"]);
    step::run("clippy for the kernel programs", &mut clippy)?;

    let mut doc = kernel::cargo(workspace)?;
    doc.env("RUSTDOCFLAGS", "-D warnings");
    doc.args(["doc", "--workspace", "--exclude", kernel::PACKAGE, "--no-deps"]);
    step::run("checking the documentation", &mut doc)
}
