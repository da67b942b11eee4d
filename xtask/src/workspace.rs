//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Names a ready-made object of the kernel programs; inotify-trace's build script reads it too.
pub const OBJECT_VARIABLE: &str = "INOTIFY_TRACE_BPF_OBJECT";

/// The checkout and its target directory.
pub struct Workspace {
    /// Where Cargo.toml is.
    pub root: PathBuf,
    /// Where builds go.
    pub target: PathBuf,
}

impl Workspace {
    /// The one whose package cargo runs.
    pub fn locate() -> Result<Self> {
        // Cargo sets it at run time. The value at compile time would be wrong in a checkout that
        // was moved or that shares its target directory with another one.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: start this program with `cargo xtask`")?;
        let root = Path::new(&manifest)
            .parent()
            .context("xtask's manifest has no parent directory")?
            .to_path_buf();
        let target = target_directory().unwrap_or_else(|| root.join("target"));
        Ok(Self { root, target })
    }

    /// Where the kernel programs' object goes, and where inotify-trace's build script looks.
    pub fn object(&self) -> PathBuf {
        self.target.join("inotify-trace.bpf.o")
    }
}

/// The program that cargo has just built, if it is where it should be. `what` begins the error.
pub fn expect_built(what: &str, program: PathBuf) -> Result<PathBuf> {
    if !program.is_file() {
        bail!(
            "{what} was built, but not as {}: build.target (CARGO_BUILD_TARGET) in cargo's \
             configuration would explain that, and must be unset here",
            program.display()
        );
    }
    Ok(program)
}

/// The directory this program was built in, which covers every way to configure it.
fn target_directory() -> Option<PathBuf> {
    outermost_marked(&env::current_exe().ok()?)
}

/// Cargo marks its directory, and in it that of each target that is built for by name.
fn outermost_marked(program: &Path) -> Option<PathBuf> {
    let is_marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    let inner = program.ancestors().find(is_marked)?;
    Some(inner.parent().filter(is_marked).unwrap_or(inner).to_path_buf())
}

/// The first of PATH's directories that has `program`.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_target_s_directory_is_not_the_whole() {
        let root = env::temp_dir().join(format!("inotify-trace-marked-{}", std::process::id()));
        let target = root.join("target");
        let named = target.join("x86_64-unknown-linux-gnu");
        fs::create_dir_all(named.join("debug")).expect("directories");
        for marked in [&target, &named] {
            fs::write(marked.join("CACHEDIR.TAG"), "").expect("a mark");
        }
        assert_eq!(outermost_marked(&named.join("debug/program")), Some(target.clone()));
        assert_eq!(outermost_marked(&target.join("debug/program")), Some(target));
        fs::remove_dir_all(root).expect("removed");
    }
}
