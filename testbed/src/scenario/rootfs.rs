//! Debian's userland for virtual machines: made of packages once, and kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::kernels::cache_directory;
use crate::mirror::{KEYRING, Mirror};
use crate::scratch::Scratch;
use crate::tools;
use xtask::privilege;
use xtask::step;

const SCRIPT: &str = include_str!("rootfs.sh");

/// The suffix of archives.
const ARCHIVE: &str = "cpio";

/// The archive with the root file system of `suite` below /debian. It is not made again when
/// packages get newer versions: scenarios test the old ones.
pub fn archive(scenario: &str, suite: &str, packages: &[&str]) -> Result<PathBuf> {
    let directory = cache_directory("scenarios")?.join(scenario);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let packages = packages.join(",");
    let name = format!("{suite}-{:016x}.{ARCHIVE}", hash(&[&packages, SCRIPT]));
    let path = directory.join(&name);
    let making = lock_of(&path);
    let _alone = making.lock().unwrap_or_else(PoisonError::into_inner);
    if path.is_file() {
        return Ok(path);
    }
    tools::setup_for_root_file_systems()?;
    forget_interrupted(&directory)?;
    let mirror = Mirror::find()?;
    let work = Scratch::new(directory.join(format!(".{suite}.{}", process::id())))?;
    let made = work.path.join(ARCHIVE);
    let script = work.path.join("rootfs.sh");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let mut command = privilege::as_root("sh", "install Debian into a directory")?;
    command.arg(&script).args([suite, mirror.root(), KEYRING, &packages]);
    command.arg(&work.path).arg(&made);
    step::say(&format!("installing Debian {suite} for a virtual machine: {packages}"));
    step::output_of(&mut command)?;
    // By renaming: another run must not find half an archive.
    fs::rename(&made, &path).with_context(|| format!("cannot keep {}", path.display()))?;
    forget_older(&directory, suite, &name);
    Ok(path)
}

/// Held while an archive is made: several machines may want it.
fn lock_of(path: &Path) -> Arc<Mutex<()>> {
    static LOCKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(locks.entry(path.to_path_buf()).or_default())
}

/// Removes what is unused since the packages or the script changed.
pub fn forget_older(directory: &Path, suite: &str, current: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&format!("{suite}-")) && name != current {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// Removes the files of killed runs.
pub fn forget_interrupted(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some((_, process)) = name.strip_prefix('.').and_then(|name| name.split_once('.'))
        else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            // It belongs to root.
            let mut command = privilege::as_root("rm", "remove what an interrupted run left")?;
            step::output_of(command.args(["-rf", "--one-file-system"]).arg(entry.path()))?;
        }
    }
    Ok(())
}

/// FNV-1a: the standard library's own hashes may differ from one compiler to the next.
pub fn hash(texts: &[&str]) -> u64 {
    texts
        .iter()
        .flat_map(|text| text.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_hash_is_the_same_for_ever_and_tells_texts_apart() {
        assert_eq!(hash(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(&["a"]), 0x089b_e207_b544_f1e4);
        assert_ne!(hash(&["a", "b"]), hash(&["ab"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
    }
}
