//! Python packages that tests use, in an environment of their own below the target directory.

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

/// How long fetching 25 MiB may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Like [`setup`]; says so if that does not work: tests that need it are skipped then.
pub fn setup_if_possible(workspace: &Workspace) -> Option<PathBuf> {
    setup(workspace)
        .inspect_err(|error| step::say(&format!("{error:#}; tests of exports will be skipped")))
        .ok()
}

/// Makes the environment unless it is there, and returns its Python.
pub fn setup(workspace: &Workspace) -> Result<PathBuf> {
    let wanted = workspace.root.join("tests/requirements.txt");
    let wanted =
        fs::read_to_string(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let directory = workspace.target.join("python");
    let python = directory.join("bin/python");
    // Written last: an environment without it is not complete.
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|it| it == wanted) {
        return Ok(python);
    }
    if make(&directory).is_err() {
        // Debian's python3 comes without what makes environments.
        apt::update()?;
        apt::install(&["python3-venv"], "that the tests of exports need")?;
        make(&directory)?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .arg("--requirement")
        .arg(workspace.root.join("tests/requirements.txt"));
    step::run_within(PATIENCE, "installing tests/requirements.txt into target/python", &mut pip)?;
    fs::write(&installed, wanted)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

fn make(directory: &Path) -> Result<()> {
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(directory);
    step::output_of(&mut command).map(drop)
}
