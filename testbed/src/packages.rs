//! Packages of a release, installed in clean systems: `cargo xtask dist --test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, ensure};
use xtask::privilege;
use xtask::step;

use crate::scenario::rootfs;
use crate::scratch::Scratch;

const SCRIPT: &str = include_str!("packages.sh");

/// The supported releases of Debian.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// Which packages to try.
#[derive(clap::Args)]
pub struct Args {
    /// The directory with the files of a release.
    directory: PathBuf,
}

/// Tries the packages for this machine's architecture, with its kernel. The other's need a machine
/// of theirs.
pub fn run(args: &Args) -> Result<()> {
    let directory = fs::canonicalize(&args.directory)
        .with_context(|| format!("there is no {}", args.directory.display()))?;
    let debian = only(&directory, "_amd64.deb", "_arm64.deb")?;
    for suite in SUITES {
        try_out("deb", &debian, suite)?;
    }
    // Any system with a shell will do: the package asks for nothing else.
    try_out("rpm", &only(&directory, ".x86_64.rpm", ".aarch64.rpm")?, "trixie")
}

/// The file in `directory` that ends as one for this machine does.
fn only(directory: &Path, x86_64: &str, aarch64: &str) -> Result<PathBuf> {
    let end = if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 };
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    ensure!(files.len() == 1, "{} files in {} end with {end}", files.len(), directory.display());
    Ok(files[0].clone())
}

fn try_out(kind: &str, package: &Path, suite: &str) -> Result<()> {
    let archive = rootfs::archive("packages", suite, &["man-db"])?;
    let work = Scratch::new(std::env::temp_dir().join(format!("packages-{}", process::id())))?;
    let script = work.path.join("packages.sh");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    // Its mounts go with it.
    let mut command = privilege::as_root("unshare", "install packages in another root")?;
    command.args(["--mount", "sh"]).arg(&script).arg(kind).arg(package).arg(archive);
    step::run(&format!("trying the {kind} package in {suite}"), command.arg(&work.path))
}
