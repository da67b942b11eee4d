//! Programs of this machine that run virtual machines and make their file systems.

use std::path::Path;

use anyhow::{Result, bail};

use super::mirror::KEYRING;
use xtask::apt;
use xtask::architecture::Architecture;
use xtask::step;
use xtask::workspace::which;

/// A program or a file with its path, and the package it is in.
type Tool = (&'static str, &'static str);

const TO_RUN: [Tool; 3] =
    [("busybox", "busybox-static"), ("setpriv", "util-linux"), ("tar", "tar")];

const TO_FETCH: &[Tool] = &[
    ("curl", "curl"),
    ("gpgv", "gpgv"),
    (KEYRING, "debian-archive-keyring"),
    ("sha256sum", "coreutils"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
];

/// For the machines of scenarios, which have more of Debian than a kernel.
/// By path, because users' PATH may lack root's programs.
const TO_MAKE_ROOTS: &[Tool] = &[("/usr/sbin/debootstrap", "debootstrap"), ("cpio", "cpio")];

/// For disks of such machines, and packages to install on them.
const TO_MAKE_DISKS: &[Tool] = &[("/usr/sbin/mkfs.ext4", "e2fsprogs"), ("dpkg-deb", "dpkg")];

/// Whether the tests know kernels for this machine's processor.
pub fn is_possible() -> bool {
    std::env::consts::ARCH == "x86_64"
}

/// Installs missing packages for machines of `architecture`.
pub fn setup(architecture: &Architecture) -> Result<()> {
    let (emulator, packages) = architecture.machine;
    let emulator: Vec<_> = packages.iter().map(|package| (emulator, *package)).collect();
    install(&[&emulator, &TO_RUN[..]].concat(), TO_FETCH)
}

/// Installs missing packages for making root file systems.
pub fn setup_for_root_file_systems() -> Result<()> {
    install(TO_MAKE_ROOTS, &[])
}

/// Installs missing packages for making disks of root file systems.
pub fn setup_for_disks() -> Result<()> {
    install(TO_MAKE_DISKS, &[])
}

/// Installs tools. Those of `to_run` are required; without `to_fetch` only kernels from the cache
/// run.
fn install(to_run: &[Tool], to_fetch: &[Tool]) -> Result<()> {
    let (run, fetch) = (missing(to_run), missing(to_fetch));
    if run.is_empty() && fetch.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = run.iter().chain(&fetch).map(|(_, package)| *package).collect();
    let Err(error) = apt::update()
        .and_then(|()| apt::install(&packages, "that run kernels in virtual machines"))
    else {
        return Ok(());
    };
    let lacking = missing(to_run);
    if !lacking.is_empty() {
        bail!("{error:#}; virtual machines need {}", names(&lacking));
    }
    if to_fetch.is_empty() {
        return Ok(());
    }
    // Kernels in the cache run without these tools.
    let lacking = missing(to_fetch);
    step::say(&format!("{error:#}; without {} no kernel can be fetched", names(&lacking)));
    Ok(())
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    let is_missing = |tool: &Tool| match tool.0 {
        path if path.starts_with('/') => !Path::new(path).exists(),
        program => which(program).is_none(),
    };
    tools.iter().filter(|tool| is_missing(tool)).copied().collect()
}

fn names(tools: &[Tool]) -> String {
    tools.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
