//! Static programs for both architectures, whichever this machine has.
//!
//! They are linked with musl, which comes with Rust's targets: glibc is not made for static
//! programs. zstd's C is compiled by Debian's cross compilers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Release;
use crate::agent;
use crate::architecture::Architecture;
use crate::environment;
use crate::kernel;
use crate::paths;
use crate::programs::{COMMIT_VARIABLE, commit};
use crate::step;
use crate::toolchain::Toolchain;
use crate::workspace::{OBJECT_VARIABLE, expect_built, which};

/// Builds the agent with its kernel programs, and returns its path.
pub fn binary(release: &Release<'_>, architecture: &Architecture) -> Result<PathBuf> {
    let workspace = release.workspace;
    let sysroot = Toolchain::of_cargo()?.sysroot()?;
    setup(architecture, &sysroot)?;
    // Its own directory: other builds have the same names and other flags.
    let target = workspace.target.join("dist-build");
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let object = target.join(format!("{}.bpf.o", architecture.name));
    kernel::build_for(workspace, architecture.name, &object)?;

    let mut flags = paths::flags(&workspace.root, &sysroot)?;
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    // The program can be loaded anywhere, and tables of what depends on that are 4 % of it otherwise.
    flags.push("-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned());
    let c_flags = format!("CFLAGS_{}", architecture.target.replace('-', "_"));
    let mut command = environment::cargo();
    command
        .current_dir(&workspace.root)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .env(OBJECT_VARIABLE, &object)
        .env(c_flags, paths::c_flags(&workspace.root, &sysroot)?.join(" "))
        .args(["build", "--locked", "--profile", "dist", "--target", architecture.target])
        .args(["--package", agent::NAME, "--bin", agent::NAME, "--target-dir"])
        .arg(&target);
    architecture.compile(&mut command);
    if let (None, Some(commit)) = (env::var_os(COMMIT_VARIABLE), commit(workspace)) {
        command.env(COMMIT_VARIABLE, commit);
    }
    step::run(&format!("building {} for {}", agent::NAME, architecture.target), &mut command)?;
    let binary = target.join(architecture.target).join("dist").join(agent::NAME);
    expect_built(agent::NAME, binary)
}

/// Installs the C compiler, the target's standard library, and what starts the program.
pub fn setup(architecture: &Architecture, sysroot: &Path) -> Result<()> {
    let tools = architecture.tools();
    let packages: Vec<_> = tools
        .iter()
        .flat_map(|(program, packages)| packages.iter().map(move |package| (*program, *package)))
        .collect();
    super::install(&packages)?;
    let library = sysroot.join("lib/rustlib").join(architecture.target);
    if library.is_dir() {
        return Ok(());
    }
    if which("rustup").is_none() {
        bail!(
            "{} is missing: releases are made with rustup's compilers, which come with it",
            library.display()
        );
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", architecture.target]);
    // That of the cargo that started this.
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        rustup.arg("--toolchain").arg(toolchain);
    }
    step::run(&format!("installing Rust's library for {}", architecture.target), &mut rustup)
}
