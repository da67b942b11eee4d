//! The kernel programs' object.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::architecture::Architecture;
use crate::environment;
use crate::linker;
use crate::object;
use crate::paths;
use crate::step;
use crate::toolchain::{self, TARGET};
use crate::workspace::{OBJECT_VARIABLE, Workspace};

/// The kernel programs' package.
pub const PACKAGE: &str = "inotify-trace-ebpf";

/// Installs what [`build`] needs.
pub fn setup(workspace: &Workspace) -> Result<()> {
    if handed_in()?.is_none() {
        toolchain::setup()?;
        linker::setup(workspace)?;
    }
    Ok(())
}

/// Brings this machine's object up to date, and returns its path.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(object) = handed_in()? {
        return Ok(object);
    }
    let object = workspace.object();
    build_for(workspace, env::consts::ARCH, &object)?;
    Ok(object)
}

/// Builds the object for the kernels of `architecture`, and leaves it in `object`. Programs read
/// arguments from the registers of the traced processor.
pub fn build_for(workspace: &Workspace, architecture: &str, object: &Path) -> Result<()> {
    let toolchain = toolchain::setup()?;
    let linker = linker::setup(workspace)?;
    let linker = linker::script(workspace, &toolchain, &linker)?;

    let mut flags = [
        // The BTF that names types in the object is made of debug information.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "--cfg",
        &format!("bpf_target_arch=\"{architecture}\""),
    ]
    .map(str::to_owned)
    .to_vec();
    // Paths are in the object's BTF, which names lines.
    flags.extend(paths::flags(&workspace.root, &toolchain.sysroot()?)?);
    // Its own directory: cargo would otherwise lock out, and rebuild for, the other compiler.
    let target = workspace.target.join("bpf");
    let mut command = toolchain.command("cargo")?;
    command
        .current_dir(&workspace.root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // Not a flag: cargo makes names of symbols of those.
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .args(["build", "--package", PACKAGE, "--release", "--target", TARGET])
        .args(["-Z", "build-std=core"])
        // The agent's binary does without symbols and debug information; BTF is made of them.
        .args(["--config", "profile.release.strip=false"])
        .arg("--target-dir")
        .arg(&target);
    step::run("building the kernel programs", &mut command)?;

    let built = target.join(TARGET).join("release").join(PACKAGE);
    finish(&built, object)
}

/// A cargo command in the workspace whose builds of the agent contain the kernel programs.
pub fn cargo(workspace: &Workspace) -> Result<Command> {
    let object = build(workspace)?;
    let mut command = environment::cargo();
    command.current_dir(&workspace.root);
    // Where the agent's build script looks by itself it needs no variable; one that comes and goes
    // would make cargo build the agent again each time.
    if object == workspace.object() {
        command.env_remove(OBJECT_VARIABLE);
    } else {
        command.env(OBJECT_VARIABLE, object);
    }
    Ok(command)
}

/// The same for another architecture than this machine's.
pub fn cargo_for(workspace: &Workspace, architecture: &Architecture) -> Result<Command> {
    let object = workspace.target.join(format!("inotify-trace-{}.bpf.o", architecture.name));
    build_for(workspace, architecture.name, &object)?;
    let mut command = environment::cargo();
    command.current_dir(&workspace.root).env(OBJECT_VARIABLE, object);
    architecture.compile(&mut command);
    Ok(command)
}

/// The prebuilt object, if the user names one.
fn handed_in() -> Result<Option<PathBuf>> {
    let Some(object) = env::var_os(OBJECT_VARIABLE).filter(|object| !object.is_empty()) else {
        return Ok(None);
    };
    let object = PathBuf::from(object);
    match object.canonicalize() {
        Ok(object) => Ok(Some(object)),
        Err(error) => bail!("{OBJECT_VARIABLE} names {}: {error}", object.display()),
    }
}

/// Leaves in `to` what the agent includes of the linker's output.
///
/// An unchanged object keeps its time, so that the agent need not be built again.
fn finish(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let new = object::strip_debug_sections(&new)
        .and_then(object::make_names_valid)
        .with_context(|| format!("cannot finish {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
