//! The archive for any distribution, which is unpacked into /usr/local.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Release;
use super::contents::{self, Contents};
use crate::agent;
use crate::architecture::Architecture;
use crate::step;

/// Makes the archive in `out`, and returns its path.
pub fn make(
    release: &Release<'_>,
    architecture: &Architecture,
    contents: &Contents,
    out: &Path,
) -> Result<PathBuf> {
    let workspace = release.workspace;
    let name = format!("{}-{}-{}", agent::NAME, release.version, architecture.name);
    let work = workspace.target.join("dist-build/tar");
    contents::empty(&work)?;
    let root = work.join(&name);
    contents::install(workspace, contents, &root, "/usr/local")?;
    contents::settings(workspace, &contents::documents(&root).join("inotify-trace.toml"))?;
    let archive = out.join(format!("{name}.tar.xz"));
    let mut tar = release.command("tar");
    tar.args(["--create", "--xz", "--format=gnu", "--owner=root:0", "--group=root:0"]);
    tar.args(["--mode=u=rwX,go=rX"]).arg(format!("--mtime=@{}", release.time));
    // Without threads: their number would be seen in the result.
    tar.env("XZ_OPT", "-9 --threads=1").arg("--file").arg(&archive);
    // Files only: unpacked, they leave owners and modes of directories that are there as they are.
    tar.arg("--directory").arg(&work).args(contents::files(&work)?);
    step::output_of(&mut tar)?;
    Ok(archive)
}
