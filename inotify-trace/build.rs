//! Puts the kernel programs' object where the agent includes it from.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

/// A ready-made object, for packagers.
const VARIABLE: &str = "INOTIFY_TRACE_BPF_OBJECT";
const NAME: &str = "inotify-trace.bpf.o";

/// The commit that is built, which `cargo xtask build` and packagers set. This script asks no git: the
/// same sources and variables make the same program, wherever they are.
const COMMIT: &str = "INOTIFY_TRACE_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let commit = env::var(COMMIT).unwrap_or_default();
    let is_printable = !commit.is_empty() && commit.chars().all(|it| it.is_ascii_graphic());
    println!("cargo::rustc-env={COMMIT}={}", if is_printable { &commit } else { "unknown" });
    if let Err(message) = place_object() {
        println!("cargo::error={message}");
        exit(1);
    }
}

fn place_object() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    let object = match env::var_os(VARIABLE).filter(|object| !object.is_empty()) {
        Some(object) => PathBuf::from(object),
        None => built_object(&out).ok_or_else(|| {
            format!(
                "the kernel programs are not built yet: run `cargo xtask build`, or set {VARIABLE} \
                 to the absolute path of an {NAME}"
            )
        })?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    fs::copy(&object, out.join(NAME)).map(drop).map_err(|error| {
        format!(
            "cannot copy the kernel programs from {}: {error}; run `cargo xtask build`, or set \
             {VARIABLE} to the absolute path of an {NAME}",
            object.display()
        )
    })
}

/// The object that `cargo xtask build` left in the target directory: the one this build is in,
/// however it was chosen, or the workspace's own.
fn built_object(out: &Path) -> Option<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let workspace = package.parent()?;
    // What an earlier run of this script copied to `out` is not meant.
    out.ancestors()
        .skip(1)
        .chain([workspace.join("target").as_path()])
        .map(|directory| directory.join(NAME))
        .find(|object| object.is_file())
}
