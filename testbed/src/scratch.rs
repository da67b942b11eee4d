//! Temporary directories, removed with their content.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A directory that is removed at the end.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failure costs only disk space.
        let _ = fs::remove_dir_all(&self.path);
    }
}
