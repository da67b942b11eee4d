//! Packages of a release, installed in clean systems: `cargo xtask dist --test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, ensure};
use xtask::architecture;
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
    let here = architecture::here()?;
    let debian = only(&directory, &format!("_{}.deb", here.debian))?;
    for suite in SUITES {
        try_out("deb", &debian, suite)?;
    }
    // In any system with a shell: the package asks for nothing else.
    try_out("rpm", &only(&directory, &format!(".{}.rpm", here.name))?, "trixie")
}

/// The file in `directory` whose name ends like this.
fn only(directory: &Path, end: &str) -> Result<PathBuf> {
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
