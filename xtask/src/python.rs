//! Python packages, each set in an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::apt;
use crate::step;
use crate::workspace::Workspace;

/// Tells the tests where the environment's Python is.
pub const VARIABLE: &str = "INOTIFY_TRACE_PYTHON";

/// How long fetching 100 MiB may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Like [`setup`]; says so if that does not work: tests that need it are skipped then.
pub fn setup_if_possible(workspace: &Workspace) -> Option<PathBuf> {
    setup(workspace)
        .inspect_err(|error| step::say(&format!("{error:#}; tests of exports will be skipped")))
        .ok()
}

/// Makes the environment unless it is there, and returns its Python.
pub fn setup(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root.join("tests/requirements.txt");
    environment(&workspace.target.join("python"), &requirements, "that the tests of exports need")
}

/// Makes an environment with packages in `directory` unless it is there, and returns its Python.
/// `purpose` completes "installing packages ...".
pub fn environment(directory: &Path, requirements: &Path, purpose: &str) -> Result<PathBuf> {
    install(directory, requirements, purpose, &[])
}

/// The same, with the listed packages alone, whatever these depend on.
pub fn environment_of_listed(
    directory: &Path,
    requirements: &Path,
    purpose: &str,
) -> Result<PathBuf> {
    install(directory, requirements, purpose, &["--no-deps"])
}

fn install(
    directory: &Path,
    requirements: &Path,
    purpose: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let python = directory.join("bin/python");
    // Written last: an environment without it is not complete.
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|it| it == wanted) {
        return Ok(python);
    }
    if make(directory).is_err() {
        // Debian's python3 comes without what makes environments.
        apt::update()?;
        apt::install(&["python3-venv"], purpose)?;
        make(directory)?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(options);
    pip.arg("--requirement");
    let what = format!("installing {} into {}", requirements.display(), directory.display());
    step::run_within(PATIENCE, &what, pip.arg(requirements))?;
    fs::write(&installed, wanted)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

fn make(directory: &Path) -> Result<()> {
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(directory);
    step::output_of(&mut command).map(drop)
}
