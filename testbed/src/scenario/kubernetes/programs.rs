//! kubelet and the API server: built once, and kept.

use std::fs;
use std::path::PathBuf;
use std::process;

use anyhow::{Context, Result};
use xtask::privilege;
use xtask::step;

use super::NAME;
use crate::kernels::cache_directory;
use crate::mirror::{KEYRING, Mirror};
use crate::scenario::rootfs::{forget_interrupted, forget_older, hash};
use crate::scratch::Scratch;
use crate::tools;

const SCRIPT: &str = include_str!("programs.sh");

/// What the kept directory's name begins with.
const KIND: &str = "programs";

/// The names of the programs.
pub const PROGRAMS: [&str; 2] = ["kubelet", "kube-apiserver"];

/// The directory with the programs.
pub fn directory() -> Result<PathBuf> {
    let kept = cache_directory("scenarios")?.join(NAME);
    fs::create_dir_all(&kept)
        .with_context(|| format!("cannot make the directory {}", kept.display()))?;
    let name = format!("{KIND}-{:016x}", hash(&[SCRIPT]));
    let path = kept.join(&name);
    if path.is_dir() {
        return Ok(path);
    }
    tools::setup_for_root_file_systems()?;
    forget_interrupted(&kept)?;
    let mirror = Mirror::find()?;
    let work = Scratch::new(kept.join(format!(".{KIND}.{}", process::id())))?;
    let script = work.path.join("programs.sh");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let made = work.path.join("made");
    let mut command = privilege::as_root("sh", "build Kubernetes in a system of its own")?;
    command.arg(&script).args([mirror.root(), KEYRING]).arg(&work.path).arg(&made);
    step::say("building kubelet and the API server, once: this takes 10 to 30 minutes");
    step::output_of(&mut command)?;
    // By renaming: another run must not find half of them.
    fs::rename(&made, &path).with_context(|| format!("cannot keep {}", path.display()))?;
    forget_older(&kept, KIND, &name);
    Ok(path)
}
