//! A directory for output.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::step;

/// A directory that is removed at the end: in memory, if possible, so that no disk is measured.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one for this process.
    pub fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = parent.join(format!("inotify-trace-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            step::say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
