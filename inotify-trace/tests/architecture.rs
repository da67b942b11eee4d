//! The invariants of ARCHITECTURE.md that the compiler does not check.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source files below a directory: their relative paths, and their text without comments.
fn sources(below: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![below.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let name = path.strip_prefix(below).expect("it is below").display().to_string();
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(!found.is_empty(), "{}", below.display());
    found
}

/// Fails if a source file outside `allowed` contains one of these words.
fn only(below: &str, allowed: &[&str], words: &[&str]) {
    for (name, code) in sources(&workspace().join(below)) {
        let is_allowed = allowed.iter().any(|place| name.starts_with(place));
        for word in words.iter().filter(|_| !is_allowed) {
            assert!(!code.contains(word), "{below}/{name} has {word}");
        }
    }
}

#[test]
fn the_model_has_no_way_to_the_outside() {
    let manifest = fs::read_to_string(workspace().join("inotify-trace-model/Cargo.toml"));
    let manifest = manifest.expect("the model's manifest");
    let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
    let dependencies = dependencies.split("[dev-dependencies]").next().unwrap_or_default();
    let names = dependencies.lines().filter_map(|line| line.split_once(['=', '.']));
    let names: Vec<_> = names
        .map(|(name, _)| name.trim())
        .filter(|name| !name.is_empty() && !name.starts_with(['#', '[']))
        .collect();
    assert_eq!(names, ["foldhash", "jiff", "serde", "serde_json"]);
    let outside =
        ["std::fs", "std::io", "std::net", "std::env", "std::process", "Instant", "::now()"];
    only("inotify-trace-model/src", &[], &outside);
}

#[test]
fn only_the_kernel_side_knows_aya() {
    only("inotify-trace/src", &["kernel/"], &["aya::", "aya_log::"]);
}

#[test]
fn only_procfs_reads_proc_of_processes() {
    let words = ["\"/proc/{", "\"/proc/self/fd"];
    only("inotify-trace/src", &["host/procfs/", "kernel/"], &words);
}

#[test]
fn paths_that_others_choose_are_opened_in_one_place() {
    only("inotify-trace/src", &["host/confined.rs"], &["openat2("]);
}

#[test]
fn nothing_imports_upwards() {
    only("inotify-trace/src", &["cli/", "main.rs"], &["clap::", "crate::cli", "cli::"]);
    let views = ["crate::output", "crate::report", "crate::export"];
    for (place, forbidden) in [
        ("kernel", &["crate::feed", "crate::recording"][..]),
        ("host", &["crate::feed"]),
        ("recording", &["crate::host", "crate::kernel"]),
        ("feed", &[]),
    ] {
        let below = format!("inotify-trace/src/{place}");
        only(&below, &["tests/"], &[&views[..], forbidden].concat());
    }
}

#[test]
fn nothing_takes_sentences_apart() {
    let words = ["strip_prefix(\"", "trim_start_matches(\"", "split_once(\""];
    for (place, tests) in
        [("output", "fields/tests.rs"), ("report", "tests/"), ("export", "tests/")]
    {
        only(&format!("inotify-trace/src/{place}"), &[tests], &words);
    }
    only("inotify-trace/src/output", &[], &["crate::report", "crate::export"]);
}
