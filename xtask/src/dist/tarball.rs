//! The archive for any distribution.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Release;
use super::build::Architecture;
use super::contents::{self, Contents, DOCUMENTS};
use crate::agent;
use crate::sbom;
use crate::step;

/// Makes the archive in `out`, and returns its path.
pub fn make(
    release: &Release<'_>,
    architecture: &Architecture,
    contents: &Contents<'_>,
    out: &Path,
) -> Result<PathBuf> {
    let workspace = release.workspace;
    let name = format!("{}-{}-{}", agent::NAME, release.version, architecture.name);
    let work = workspace.target.join("dist-build/tar");
    contents::empty(&work)?;
    let tree = work.join(&name);
    contents::copy(contents.binary, &tree.join(agent::NAME), 0o755)?;
    contents::write(&tree.join("LICENSES.txt"), contents.licences, 0o644)?;
    contents::copy(contents.bill, &tree.join(sbom::FILE), 0o644)?;
    contents::copy_units(workspace, &tree)?;
    for document in DOCUMENTS {
        contents::copy(&workspace.root.join(document), &tree.join(document), 0o644)?;
    }
    let archive = out.join(format!("{name}.tar.xz"));
    let mut tar = release.command("tar");
    tar.args(["--create", "--xz", "--sort=name", "--format=gnu", "--owner=root:0"]);
    tar.args(["--group=root:0", "--mode=u=rwX,go=rX"]);
    tar.arg(format!("--mtime=@{}", release.time));
    // Without threads: their number would be seen in the result.
    tar.env("XZ_OPT", "-9 --threads=1").arg("--file").arg(&archive);
    tar.arg("--directory").arg(&work).arg(&name);
    step::output_of(&mut tar)?;
    Ok(archive)
}
