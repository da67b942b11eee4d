//! Programs that tasks use, installed by cargo: built once, and kept for other checkouts.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::environment;
use crate::step;
use crate::workspace::{Workspace, which};

/// A program, which its package is named after.
pub struct Tool {
    pub name: &'static str,
    /// Pinned: another may behave in another way.
    pub version: &'static str,
    /// Its purpose, and the time to build it.
    pub purpose: &'static str,
}

impl Tool {
    /// The program, installed if it was missing.
    pub fn setup(&self, workspace: &Workspace) -> Result<PathBuf> {
        if let Some(program) = self.existing(workspace) {
            return Ok(program);
        }
        let Self { name, version, purpose } = *self;
        let root = self.directory(workspace);
        let mut command = environment::cargo_elsewhere();
        command
            // Outside of the workspace, so that its configuration plays no role.
            .current_dir("/")
            .args(["install", "--locked", "--version", version, "--root"])
            .arg(&root)
            .arg(name);
        // Spares the user cargo's advice to put it there.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(env::split_paths(&path).chain([root.join("bin")]))
            .with_context(|| format!("cannot put {} in PATH", root.display()))?;
        command.env("PATH", path);
        step::say(purpose);
        step::run(&format!("installing {name} {version} in {}", root.display()), &mut command)?;
        Ok(self.own(workspace))
    }

    /// The program, if it is there: our own, or the user's in this version.
    pub fn existing(&self, workspace: &Workspace) -> Option<PathBuf> {
        let own = Some(self.own(workspace)).filter(|file| file.is_file());
        own.or_else(|| which(self.name).filter(|file| self.is_version(file)))
    }

    /// Where our own is installed, in `bin`.
    pub fn directory(&self, workspace: &Workspace) -> PathBuf {
        cache(workspace).join(format!("{}-{}", self.name, self.version))
    }

    fn own(&self, workspace: &Workspace) -> PathBuf {
        self.directory(workspace).join("bin").join(self.name)
    }

    fn is_version(&self, program: &Path) -> bool {
        step::output_of(Command::new(program).arg("--version"))
            .is_ok_and(|version| version.split_whitespace().last() == Some(self.version))
    }
}

/// Kept out of the target directory, for other checkouts and after `cargo clean`.
fn cache(workspace: &Workspace) -> PathBuf {
    let directory = |name| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    directory("XDG_CACHE_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".cache")))
        .map_or_else(|| workspace.target.join("tools"), |cache| cache.join("inotify-trace"))
}
