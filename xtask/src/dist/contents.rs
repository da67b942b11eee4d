//! What is installed, and where: the same in all packages.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use super::licences;
use crate::agent;
use crate::architecture::Architecture;
use crate::sbom;
use crate::step;
use crate::workspace::Workspace;

/// What is made for each architecture.
pub struct Contents {
    pub binary: PathBuf,
    pub bill: PathBuf,
    /// The licences of all that is in the program.
    pub licences: String,
    /// Manual pages and completions, as [`agent::manual`] leaves them.
    pub manual: PathBuf,
}

impl Contents {
    /// What belongs to a program that is built; its bill of materials is left in `out`.
    pub fn of(
        workspace: &Workspace,
        architecture: &Architecture,
        binary: PathBuf,
        out: &Path,
    ) -> Result<Self> {
        let bill = out.join(format!("{}-{}.cdx.json", agent::NAME, architecture.name));
        sbom::write(workspace, architecture.target, &bill)?;
        let licences = licences::text(workspace, architecture.target)?;
        let manual = workspace.target.join("dist-build/manual");
        empty(&manual)?;
        agent::manual(&|| architecture.command(&binary), &manual)?;
        Ok(Self { binary, bill, licences, manual })
    }
}

/// The units, and the directory that they expect the program in.
const UNITS: [&str; 2] = ["inotify-trace.service", "inotify-trace.socket"];
const UNIT_PROGRAMS: &str = "/usr/bin/";

/// The place of the service's settings, in a package that has such.
pub const SETTINGS: &str = "etc/inotify-trace.toml";

/// Places the service's settings.
pub fn settings(workspace: &Workspace, place: &Path) -> Result<()> {
    write(place, read(&workspace.root.join("deploy/inotify-trace.toml"))?, 0o644)
}

/// Where documents go below a prefix.
pub fn documents(root: &Path) -> PathBuf {
    root.join("share/doc").join(agent::NAME)
}

/// Places what every package has in `root`, which is to become `prefix`.
pub fn install(
    workspace: &Workspace,
    contents: &Contents,
    root: &Path,
    prefix: &str,
) -> Result<()> {
    let documents = documents(root);
    write(&root.join("bin").join(agent::NAME), read(&contents.binary)?, 0o755)?;
    for name in UNITS {
        let unit = read(&workspace.root.join("deploy/systemd").join(name))?;
        let unit = String::from_utf8(unit).with_context(|| format!("{name} is not UTF-8"))?;
        let unit = unit.replace(UNIT_PROGRAMS, &format!("{prefix}/bin/"));
        write(&root.join("lib/systemd/system").join(name), unit, 0o644)?;
    }
    for name in ["README.md", "CHANGELOG.md"] {
        write(&documents.join(name), read(&workspace.root.join(name))?, 0o644)?;
    }
    write(&documents.join(sbom::FILE), read(&contents.bill)?, 0o644)?;
    write(&documents.join("LICENSES.txt"), &contents.licences, 0o644)?;
    for file in files(&contents.manual)? {
        let content = read(&contents.manual.join(&file))?;
        let place = root.join("share").join(&file);
        if file.starts_with("man/") {
            compressed(&place, &content)?;
        } else {
            write(&place, content, 0o644)?;
        }
    }
    Ok(())
}

/// The files of a tree, by their paths in it, in order.
pub fn files(tree: &Path) -> Result<Vec<String>> {
    let mut find = Command::new("find");
    find.current_dir(tree).args([".", "-type", "f", "-printf", "%P\\n"]);
    let list = step::output_of(&mut find)?;
    let mut files: Vec<_> = list.lines().map(str::to_owned).collect();
    files.sort();
    Ok(files)
}

/// Writes a file, to whose name `.gz` is added, compressed: with neither name nor time in it.
pub fn compressed(path: &Path, content: &[u8]) -> Result<()> {
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packed.write_all(content)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    write(Path::new(&name), packed.finish()?, 0o644)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
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
