//! Directories that go with what is in them.

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
        // What is left over costs space only.
        let _ = fs::remove_dir_all(&self.path);
    }
}
