//! The programs of this machine that it takes to run others.

use std::path::Path;

use anyhow::{Result, bail};

use super::machine::QEMU;
use super::mirror::KEYRING;
use crate::apt;
use crate::step;
use crate::workspace::which;

/// A program or a file with its path, and the package it is in.
type Tool = (&'static str, &'static str);

const TO_RUN: &[Tool] = &[
    (QEMU, "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
];

const TO_FETCH: &[Tool] = &[
    ("curl", "curl"),
    ("gpgv", "gpgv"),
    (KEYRING, "debian-archive-keyring"),
    ("sha256sum", "coreutils"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
];

/// Installs what is missing.
pub fn setup() -> Result<()> {
    let (to_run, to_fetch) = (missing(TO_RUN), missing(TO_FETCH));
    if to_run.is_empty() && to_fetch.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = to_run.iter().chain(&to_fetch).map(|(_, package)| *package).collect();
    let Err(error) = apt::update()
        .and_then(|()| apt::install(&packages, "that run kernels in virtual machines"))
    else {
        return Ok(());
    };
    let lacking = missing(TO_RUN);
    if !lacking.is_empty() {
        bail!("{error:#}; virtual machines need {}", names(&lacking));
    }
    // Kernels that were fetched before do without the others.
    let lacking = missing(TO_FETCH);
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
