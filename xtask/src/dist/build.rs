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
use crate::environment;
use crate::kernel;
use crate::paths;
use crate::step;
use crate::workspace::{OBJECT_VARIABLE, expect_built};

/// A processor, by the names that it has.
pub struct Architecture {
    /// Rust's and RPM's.
    pub name: &'static str,
    pub debian: &'static str,
    pub target: &'static str,
    /// Its C compiler on a machine of the other architecture, and the packages with it.
    compiler: &'static str,
    packages: &'static [(&'static str, &'static str)],
}

pub const X86_64: Architecture = Architecture {
    name: "x86_64",
    debian: "amd64",
    target: "x86_64-unknown-linux-musl",
    compiler: "x86_64-linux-gnu-gcc",
    packages: &[("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu libc6-dev-amd64-cross")],
};

pub const AARCH64: Architecture = Architecture {
    name: "aarch64",
    debian: "arm64",
    target: "aarch64-unknown-linux-musl",
    compiler: "aarch64-linux-gnu-gcc",
    packages: &[("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")],
};

/// Builds the agent with its kernel programs, and returns its path.
pub fn binary(release: &Release<'_>, architecture: &Architecture) -> Result<PathBuf> {
    let workspace = release.workspace;
    setup(architecture)?;
    // Its own directory: other builds have the same names and other flags.
    let target = workspace.target.join("dist-build");
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let object = target.join(format!("{}.bpf.o", architecture.name));
    kernel::build_for(workspace, architecture.name, &object)?;

    let sysroot = sysroot()?;
    let mut flags = paths::flags(&workspace.root, &sysroot)?;
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    let variable = |name: &str| format!("{name}_{}", architecture.target.replace('-', "_"));
    let linker = format!("CARGO_TARGET_{}_LINKER", architecture.target.replace('-', "_"));
    let mut command = environment::cargo();
    command
        .current_dir(&workspace.root)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .env(OBJECT_VARIABLE, &object)
        .env(variable("CC"), architecture.compiler)
        .env(variable("CFLAGS"), paths::c_flags(&workspace.root, &sysroot)?.join(" "))
        .env(linker.to_uppercase(), architecture.compiler)
        .args(["build", "--locked", "--profile", "dist", "--target", architecture.target])
        .args(["--package", agent::NAME, "--bin", agent::NAME, "--target-dir"])
        .arg(&target);
    step::run(&format!("building {} for {}", agent::NAME, architecture.target), &mut command)?;
    let binary = target.join(architecture.target).join("dist").join(agent::NAME);
    expect_built(agent::NAME, binary)
}

/// Installs the C compiler and the target's standard library.
fn setup(architecture: &Architecture) -> Result<()> {
    let packages: Vec<_> = architecture
        .packages
        .iter()
        .flat_map(|(program, packages)| packages.split(' ').map(|package| (*program, package)))
        .collect();
    super::install(&packages)?;
    let library = sysroot()?.join("lib/rustlib").join(architecture.target);
    if library.is_dir() {
        return Ok(());
    }
    if crate::workspace::which("rustup").is_none() {
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

fn sysroot() -> Result<PathBuf> {
    let mut rustc = Command::new(Path::new("rustc"));
    let sysroot = step::output_of(rustc.args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(sysroot.trim()))
}
