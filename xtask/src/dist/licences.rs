//! The licences of all that is linked into the program: those of most crates ask for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::sbom;
use crate::workspace::Workspace;

/// The project's own, which come first.
const OWN: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL2"];

/// How names of licences' files begin.
const NAMES: &[&str] = &["LICEN", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// All texts, each once, with the crates that have it.
pub fn text(workspace: &Workspace, target: &str) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for linked in sbom::linked(&workspace.root, target)? {
        for text in of_crate(&linked.directory)? {
            texts.entry(text).or_default().push(linked.name.clone());
        }
    }
    let mut all = String::from(
        "inotify-trace is licensed under MIT or Apache-2.0, at your option; its kernel programs\n\
         under GPL-2.0 as well. What else is in the program, and its licences, follow these. The C\n\
         library is musl (MIT), and the standard library is Rust's (MIT or Apache-2.0).\n",
    );
    for name in OWN {
        let path = workspace.root.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        all += &section(name, &text);
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, crates)| (crates, text)).collect();
    texts.sort();
    for (crates, text) in texts {
        all += &section(&crates.join(", "), &text);
    }
    Ok(all)
}

fn section(title: &str, text: &str) -> String {
    format!("\n{}\n{title}\n\n{}\n", "=".repeat(78), text.trim_end())
}

fn of_crate(directory: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut texts: Vec<_> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            NAMES.iter().any(|start| name.starts_with(start))
        })
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .map(|text| text.replace("\r\n", "\n"))
        .collect();
    texts.sort();
    texts.dedup();
    Ok(texts)
}
