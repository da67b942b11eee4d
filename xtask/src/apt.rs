//! Debian and Ubuntu packages.

use std::process::Command;

use anyhow::{Result, bail};

use crate::privilege;
use crate::step;
use crate::workspace::which;

/// Installs `packages` for the reason `purpose`, after saying so.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    if !available() {
        bail!("{list} cannot be installed for you: this machine has no apt-get");
    }
    step::run(&format!("installing packages {purpose}: {list}"), &mut {
        let mut command = privilege::as_root("apt-get", "install packages")?;
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A package that would push out one of the user's must not do so unasked.
            .args(["install", "--yes", "--no-install-recommends", "--no-remove", "-qq"])
            .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"])
            .args(packages);
        command
    })
}

/// Fetches the package lists. A repository that does not answer is no reason to stop: the packages
/// wanted may be in another one.
pub fn update() -> Result<()> {
    if !available() {
        bail!("this machine has no apt-get");
    }
    let mut command = privilege::as_root("apt-get", "fetch the package lists")?;
    command.args(["update", "-qq"]);
    if let Err(error) = step::run("fetching the package lists (apt-get update)", &mut command) {
        step::say(&format!("{error:#}; going on with the lists that are there"));
    }
    Ok(())
}

/// The version of `package` that would be installed.
pub fn candidate(package: &str) -> Option<String> {
    let mut command = Command::new("apt-cache");
    command.args(["policy", package]).env("LC_ALL", "C");
    let policy = step::output_of(&mut command).ok()?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)").then(|| version.to_owned())
}

fn available() -> bool {
    which("apt-get").is_some()
}
