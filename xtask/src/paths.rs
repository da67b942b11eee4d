//! What compilers are to write instead of the paths of this machine, so that the same sources lead to
//! the same bytes in any directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// rustc's flags. The later ones go first, and a checkout may be in the home directory.
pub fn flags(root: &Path, sysroot: &Path) -> Result<Vec<String>> {
    let replaced = replaced(root, sysroot)?;
    Ok(replaced.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect())
}

/// A C compiler's flags.
pub fn c_flags(root: &Path, sysroot: &Path) -> Result<Vec<String>> {
    let replaced = replaced(root, sysroot)?;
    Ok(replaced.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")).collect())
}

fn replaced(root: &Path, sysroot: &Path) -> Result<Vec<(String, &'static str)>> {
    let crates = home("CARGO_HOME", ".cargo")?;
    [(crates.as_path(), "/cargo"), (sysroot, "/rust"), (root, "/inotify-trace")]
        .into_iter()
        .map(|(path, name)| {
            let path = path.to_str();
            let path = path.with_context(|| format!("the path of {name} here is not UTF-8"))?;
            Ok((path.to_owned(), name))
        })
        .collect()
}

fn home(variable: &str, default: &str) -> Result<PathBuf> {
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named
        .or_else(|| env::home_dir().map(|home| home.join(default)))
        .with_context(|| format!("neither {variable} nor HOME is set"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::flags;

    #[test]
    fn the_checkout_goes_before_what_it_may_be_in() {
        let flags = flags(Path::new("/home/a/src"), Path::new("/home/a/rust")).unwrap();
        assert_eq!(flags.last().unwrap(), "--remap-path-prefix=/home/a/src=/inotify-trace");
    }
}
