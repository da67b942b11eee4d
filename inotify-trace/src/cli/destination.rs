//! Where `report` and `export` write: the same options with the same meaning.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::export::Existing;

#[derive(Debug, clap::Args)]
pub(super) struct Destination {
    /// File to write, or `-` for standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
}

impl Destination {
    /// The file; None for standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// The same.
    ///
    /// # Errors
    /// If it exists, and may not be replaced.
    pub(super) fn file(&self) -> anyhow::Result<Option<&Path>> {
        let file = self.path();
        if let Some(path) = file.filter(|path| !self.force && path.symlink_metadata().is_ok()) {
            if path.is_dir() {
                // What is written there may still have a name of its own.
                return Ok(file);
            }
            bail!("{} exists: give another path, or --force to replace it", path.display());
        }
        Ok(file)
    }

    /// What happens to a file that exists.
    pub(super) fn existing(&self) -> Existing {
        if self.force { Existing::Replaced } else { Existing::Kept }
    }
}

/// The format that the end of a file's name stands for.
///
/// # Errors
/// If it stands for none.
pub(super) fn format_of<T: Copy>(path: &Path, formats: &[(&str, T)]) -> anyhow::Result<T> {
    let end = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    let found = formats.iter().find(|(name, _)| *name == end).map(|(_, format)| *format);
    found.with_context(|| {
        let names: Vec<_> = formats.iter().map(|(name, _)| format!(".{name}")).collect();
        format!(
            "{}: its name does not say the format: give it with --format, or a name that ends in {}",
            path.display(),
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_formats() {
        let formats = [("html", 1), ("txt", 2)];
        assert_eq!(format_of(Path::new("a/b.txt"), &formats).unwrap(), 2);
        for path in ["json", "out.pdf", "html", "a.TXT/b"] {
            let error = format_of(Path::new(path), &formats).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(".html, .txt"), "{error}");
        }
    }
}
