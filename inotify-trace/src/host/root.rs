//! Where the machine's files are: `/`, or the directory at which a container has them.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Set once, before anything is looked at.
static ROOT: OnceLock<PathBuf> = OnceLock::new();

/// Takes `path` as the root of the machine's files.
pub fn set_root(path: &Path) {
    // Each command does so once.
    let _ = ROOT.set(path.to_owned());
}

/// The root of the machine's files.
#[must_use]
pub fn root() -> &'static Path {
    ROOT.get().map_or(Path::new("/"), PathBuf::as_path)
}

/// The path on the machine of a file that this process sees at `path`.
pub(super) fn on_machine(path: String) -> String {
    below(root(), path)
}

fn below(root: &Path, path: String) -> String {
    match root.to_str().and_then(|root| path.strip_prefix(root.trim_end_matches('/'))) {
        Some("") => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_on_the_machine_don_t_show_where_a_container_has_it() {
        for (root, path, expected) in [
            ("/host", "/host/etc/passwd", "/etc/passwd"),
            ("/host/", "/host", "/"),
            ("/host", "/hosts", "/hosts"),
            ("/host", "/etc/hosts", "/etc/hosts"),
            ("/", "/etc/passwd", "/etc/passwd"),
            ("/", "/", "/"),
        ] {
            assert_eq!(below(Path::new(root), path.to_owned()), expected, "{root} {path}");
        }
    }
}
