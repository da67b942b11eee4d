//! Reads sysctls from files below `/etc` and the like, and from `/proc/sys`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::regular;

use super::{LimitsError, Source, Sysctl, Sysctls, in_order};

/// The directories of settings; a file in an earlier one overrides later ones (sysctl.d(5)).
const DIRECTORIES: [&str; 5] = [
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    // On most systems the same directory as the one before.
    "lib/sysctl.d",
];

/// The files of pam_limits, which knows no limit of inotify's: limits.conf(5).
const PAM: [&str; 2] = ["etc/security/limits.conf", "etc/security/limits.d"];

/// The file that sysctl(8) reads after all others.
const SYSCTL_CONF: &str = "etc/sysctl.conf";

/// The recommended drop-in file.
const DROP_IN: &str = "etc/sysctl.d/99-inotify.conf";

/// The most bytes of a file of settings.
const LONGEST: u64 = 1 << 20;

/// The directory that paths start from: `/`, except in tests.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// Paths start from `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// The drop-in file to write settings to.
    #[must_use]
    pub fn drop_in(&self) -> PathBuf {
        self.0.join(DROP_IN)
    }

    /// The kernel's file of a sysctl.
    #[must_use]
    pub fn live_file(&self, sysctl: Sysctl) -> PathBuf {
        self.0.join("proc/sys").join(sysctl.path())
    }

    /// The live value of a sysctl.
    ///
    /// # Errors
    /// If the kernel's file cannot be read, or holds no number.
    pub fn live(&self, sysctl: Sysctl) -> Result<u64, LimitsError> {
        let path = self.live_file(sysctl);
        let text = match regular::read(&path, LONGEST) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(source) => return Err(LimitsError::Read { path, source }),
        };
        let text = text.trim();
        text.parse().map_err(|_| LimitsError::NotANumber { path, text: text.to_owned() })
    }

    /// All three sysctls, live and in files, and the errors of those that cannot be read.
    #[must_use]
    pub fn sysctls(&self) -> (Sysctls, Vec<LimitsError>) {
        let mut errors = Vec::new();
        let sysctls = self.read(None, &mut errors);
        (sysctls, errors)
    }

    /// The same, as if the file `planned` existed.
    #[must_use]
    pub fn sysctls_with(&self, planned: &Source) -> Sysctls {
        // Errors are reported by `sysctls`.
        self.read(Some(planned), &mut Vec::new())
    }

    fn read(&self, planned: Option<&Source>, errors: &mut Vec<LimitsError>) -> Sysctls {
        let (files, ends_with_sysctl_conf) = self.sources(planned, errors);
        let live =
            Sysctl::ALL.map(|sysctl| self.live(sysctl).map_err(|error| errors.push(error)).ok());
        Sysctls { live, files, ends_with_sysctl_conf }
    }

    /// Lines for pam_limits that are meant for inotify, and have no effect: the file and the number
    /// of each.
    #[must_use]
    pub fn futile_lines(&self) -> Vec<(PathBuf, usize)> {
        let [file, directory] = PAM.map(|path| self.0.join(path));
        let mut names = names(&directory).unwrap_or_default();
        names.sort_unstable();
        let more = names.iter().filter(|name| name.ends_with(".conf"));
        let files = std::iter::once(file).chain(more.map(|name| directory.join(name)));
        let is_futile = |line: &str| {
            let line = line.trim_start();
            let words = ["inotify", "max_user_watches", "max_user_instances"];
            !line.starts_with('#') && words.iter().any(|word| line.contains(word))
        };
        files
            // Files that cannot be read set nothing that is known.
            .filter_map(|path| source(path, &mut Vec::new()))
            .flat_map(|Source { path, text }| {
                let lines = text.lines().enumerate().filter(|(_, line)| is_futile(line));
                lines.map(|(at, _)| (path.clone(), at + 1)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// A path below this one.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The files that `sysctl --system` reads, in its order, and whether the last of them is
    /// `/etc/sysctl.conf`. systemd-sysctl reads the same files without that one, unless a link in one
    /// of the directories points to it, as in Debian up to 12.
    fn sources(
        &self,
        planned: Option<&Source>,
        errors: &mut Vec<LimitsError>,
    ) -> (Vec<Source>, bool) {
        let mut directories = Vec::new();
        for directory in DIRECTORIES.map(|directory| self.0.join(directory)) {
            let mut found = match names(&directory) {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(source) => {
                    errors.push(LimitsError::Read { path: directory.clone(), source });
                    Vec::new()
                }
            };
            // A name that exists already counts once.
            let planned = planned.filter(|it| it.path.parent() == Some(&directory));
            let name = planned.and_then(|it| it.path.file_name()?.to_str());
            found.extend(name.map(str::to_owned));
            directories.push((directory, found));
        }
        let read = |path: PathBuf| match planned.filter(|it| it.path == path) {
            Some(planned) => Some(planned.clone()),
            None => source(path, errors),
        };
        let mut sources: Vec<_> = in_order(&directories).into_iter().filter_map(read).collect();
        let last = source(self.0.join(SYSCTL_CONF), errors);
        let has_last = last.is_some();
        sources.extend(last);
        (sources, has_last)
    }
}

/// A file; None if it does not exist, or cannot be read.
fn source(path: PathBuf, errors: &mut Vec<LimitsError>) -> Option<Source> {
    // A link to /dev/null masks files of its name (sysctl.d(5)).
    if fs::canonicalize(&path).is_ok_and(|it| it == Path::new("/dev/null")) {
        return Some(Source { path, text: String::new() });
    }
    match regular::read(&path, LONGEST) {
        Ok(bytes) => Some(Source { path, text: String::from_utf8_lossy(&bytes).into_owned() }),
        // Also a dangling link.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            errors.push(LimitsError::Read { path, source });
            None
        }
    }
}

/// The names in a directory, without those that are not UTF-8, which no tool uses for settings.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
