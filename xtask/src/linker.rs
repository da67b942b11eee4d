//! The linker of the kernel programs.
//!
//! bpf-linker does the work of LLVM's code generator with the library of the compiler that made its
//! input. Nothing else may give it one: it opens the first libLLVM it finds in LD_LIBRARY_PATH or
//! beside a directory of PATH, in the order in which the directory lists them, and an older one
//! cannot read the input. So it runs from a script with a directory that has just the right file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tool::Tool;
use crate::toolchain::Toolchain;
use crate::workspace::{OBJECT_VARIABLE, Workspace};

const LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.10.0",
    purpose: "the kernel programs are linked by bpf-linker: building it takes a minute or two, once",
};

/// bpf-linker, installed if it was missing.
pub fn setup(workspace: &Workspace) -> Result<PathBuf> {
    LINKER.setup(workspace).with_context(|| {
        let version = LINKER.version;
        format!(
            "the kernel programs need bpf-linker {version} (`cargo install --locked --version \
             {version} bpf-linker`), or set {OBJECT_VARIABLE} to an object built elsewhere"
        )
    })
}

/// Writes the script that starts `linker` with the LLVM of `toolchain`, and returns its path.
pub fn script(workspace: &Workspace, toolchain: &Toolchain, linker: &Path) -> Result<PathBuf> {
    let llvm = toolchain.llvm()?;
    let directory = workspace.target.join("bpf-linker");
    let libraries = directory.join("lib");
    // Anew each time: one LLVM too many is what it is there to prevent.
    if libraries.exists() {
        fs::remove_dir_all(&libraries)
            .with_context(|| format!("cannot empty {}", libraries.display()))?;
    }
    fs::create_dir_all(&libraries)
        .with_context(|| format!("cannot make {}", libraries.display()))?;
    let name = llvm.file_name().context("the compiler's LLVM library has no name")?;
    symlink(&llvm, libraries.join(name))
        .with_context(|| format!("cannot link {} into {}", llvm.display(), libraries.display()))?;

    // The compiler knows the kind of linker by this name.
    let script = directory.join("bpf-linker");
    let text = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        quoted(&libraries),
        quoted(linker)
    );
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", script.display()))?;
    Ok(script)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quoted;

    #[test]
    fn a_path_stays_one_word_for_the_shell() {
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
