//! What is installed, and where: the same in all packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::agent;
use crate::sbom;
use crate::workspace::Workspace;

/// What is made for each architecture.
pub struct Contents<'a> {
    pub binary: &'a Path,
    pub bill: &'a Path,
    /// The licences of all that is in the program.
    pub licences: &'a str,
}

/// The units in the checkout.
pub const UNITS: [&str; 2] =
    ["deploy/systemd/inotify-trace.service", "deploy/systemd/inotify-trace.socket"];

/// Where units go.
pub const UNITS_PLACE: &str = "usr/lib/systemd/system";

/// Documents of the checkout that users get.
pub const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md"];

/// Places what every package has below `root`, which may be a system's root.
pub fn install(workspace: &Workspace, contents: &Contents<'_>, root: &Path) -> Result<()> {
    let documents = root.join("usr/share/doc").join(agent::NAME);
    let source = |name: &str| workspace.root.join(name);
    copy(contents.binary, &root.join("usr/bin").join(agent::NAME), 0o755)?;
    copy_units(workspace, &root.join(UNITS_PLACE))?;
    copy(&source("README.md"), &documents.join("README.md"), 0o644)?;
    copy(contents.bill, &documents.join(sbom::FILE), 0o644)?;
    write(&documents.join("LICENSES.txt"), contents.licences, 0o644)
}

/// Copies the units into a directory.
pub fn copy_units(workspace: &Workspace, directory: &Path) -> Result<()> {
    for unit in UNITS.map(Path::new) {
        let name = unit.file_name().unwrap_or_default();
        copy(&workspace.root.join(unit), &directory.join(name), 0o644)?;
    }
    Ok(())
}

/// Copies a file, with the directories above.
pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, content, mode)
}

/// Writes a file, with the directories above. Modes don't depend on the umask.
pub fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An empty directory for a package's files.
pub fn empty(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}
