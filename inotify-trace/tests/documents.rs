//! What the documents name exists: files, folders, and the parts of other documents.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Directories that are not in the repository, or not ours.
const LEFT_OUT: [&str; 3] = ["target", "node_modules", "corpus"];

/// All files and directories, from the root of the repository.
fn all() -> BTreeSet<String> {
    let root = workspace();
    let (mut found, mut directories) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if LEFT_OUT.contains(&&*name) || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            found.insert(path.strip_prefix(&root).expect("it is below").display().to_string());
            if path.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

/// The documents, with their texts.
fn documents(all: &BTreeSet<String>) -> Vec<(&str, String)> {
    let is_ours = |it: &&String| it.ends_with(".md") && !it.starts_with("fuzz/");
    let text = |it| fs::read_to_string(workspace().join(it)).expect("a document");
    let documents: Vec<_> = all.iter().filter(is_ours).map(|it| (&**it, text(it))).collect();
    assert!(documents.len() >= 15, "{} documents", documents.len());
    documents
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || "-_ ".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[test]
fn links_lead_somewhere() {
    let all = all();
    let (mut links, mut broken) = (0, Vec::new());
    for (document, text) in documents(&all) {
        for link in text.split("](").skip(1).filter_map(|it| it.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            let (path, part) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(document).parent().unwrap_or(Path::new(""));
            let target =
                if path.is_empty() { document.to_owned() } else { plain(&folder.join(path)) };
            let has_part = || {
                let text = fs::read_to_string(workspace().join(&target)).unwrap_or_default();
                text.lines().any(|line| line.starts_with('#') && anchor(line) == part)
            };
            if !all.contains(&target) || !(part.is_empty() || has_part()) {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(links >= 30, "{links} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Names of what is made, or is on other machines.
const NOT_HERE: [&str; 5] =
    ["vN/", "LICENSES.txt", "inotify-trace.cdx.json", "recording.proto", "vN.json"];

#[test]
fn files_that_are_named_exist() {
    const ENDS: [&str; 5] = [".rs", ".json", ".toml", ".md", "/"];
    let all = all();
    let (mut names, mut missing) = (0, Vec::new());
    for (document, text) in documents(&all) {
        // A code block has examples of other machines.
        let prose = text.split("```").step_by(2).collect::<String>();
        let prose: Vec<_> = prose.lines().filter(|line| !line.starts_with("    ")).collect();
        for name in prose.join("\n").split('`').skip(1).step_by(2) {
            let is_path = name.len() > 1 && name.chars().all(|it| it.is_ascii_graphic());
            let is_here =
                !name.starts_with(['/', '.', '-']) && !name.contains(['*', '<', '=', '$', ':']);
            let has_end = ENDS.iter().any(|end| name.ends_with(end));
            if !(is_path && is_here && has_end) || NOT_HERE.contains(&name) {
                continue;
            }
            names += 1;
            let path = name.trim_end_matches('/');
            let end = format!("/{path}");
            if !all.iter().any(|it| it == path || it.ends_with(&end)) {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(names >= 80, "{names} names");
    assert!(missing.is_empty(), "{missing:#?}");
}
