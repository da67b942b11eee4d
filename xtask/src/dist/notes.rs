//! The notes of a release, out of the changelog.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Release;

/// Writes the section of this version, or of what is not released yet.
pub fn write(release: &Release<'_>, out: &Path) -> Result<PathBuf> {
    let path = release.workspace.root.join("CHANGELOG.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let section = section(&text, &release.version)
        .or_else(|| section(&text, "Unreleased"))
        .with_context(|| format!("{} has nothing on {}", path.display(), release.version))?;
    let notes = out.join("RELEASE-NOTES.md");
    fs::write(&notes, format!("# inotify-trace {}\n\n{section}\n", release.version))
        .with_context(|| format!("cannot write {}", notes.display()))?;
    Ok(notes)
}

/// What is below the heading that begins with `name`.
fn section<'a>(changelog: &'a str, name: &str) -> Option<&'a str> {
    changelog.split("\n## ").skip(1).find_map(|section| {
        let (title, rest) = section.split_once('\n')?;
        (title.split_whitespace().next()? == name).then(|| rest.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn notes_are_those_of_one_version() {
        let text = "# Changelog\n\n## Unreleased\n\n- a\n\n## 0.1.0 (2026-01-31)\n\n- b\n- c\n";
        assert_eq!(section(text, "Unreleased"), Some("- a"));
        assert_eq!(section(text, "0.1.0"), Some("- b\n- c"));
        assert_eq!(section(text, "0.1"), None);
    }
}
