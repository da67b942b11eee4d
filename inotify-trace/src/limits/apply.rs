//! Writes the recommended values: to a drop-in file, for the next boot, and to the kernel, for now.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{LimitsError, Recommendation, Setting, Source, Sysctl, files::Root, sysctl::is_about};

/// The planned changes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The drop-in file.
    pub file: PathBuf,
    /// Its present text; None if it does not exist.
    pub before: Option<String>,
    /// Its planned text.
    pub text: String,
    /// The planned live values.
    pub values: [(Sysctl, u64); 2],
}

/// The changes made, read back.
#[derive(Clone, Debug)]
pub struct Done {
    /// Sysctls with their old and new live values.
    pub live: Vec<(Sysctl, u64, u64)>,
    /// The settings afterwards, in all files.
    pub settings: Vec<Setting>,
    /// Whether the drop-in file was written; it may have had this text before.
    pub is_file_written: bool,
}

impl Plan {
    /// Makes a plan; changes nothing.
    ///
    /// # Errors
    /// If the drop-in file exists, and cannot be read or is no plain file.
    pub fn new(root: &Root, recommendation: &Recommendation) -> Result<Self, LimitsError> {
        let file = root.drop_in();
        let before = existing(&file)?;
        let values = recommendation.values();
        let text = drop_in(before.as_deref(), &values);
        Ok(Self { file, before, text, values })
    }

    /// Writes the file and the live values, and reads back both.
    ///
    /// # Errors
    /// If one of them cannot be written, or differs when read back. Earlier changes stay.
    pub fn carry_out(&self, root: &Root) -> Result<Done, LimitsError> {
        // Read first: if that fails, nothing has been changed.
        let mut planned = Vec::new();
        for (sysctl, wanted) in self.values {
            planned.push((sysctl, root.live(sysctl)?, wanted));
        }
        // A correct file is left alone, with its modification time.
        let is_file_written = self.before.as_deref() != Some(&self.text);
        if is_file_written {
            write_file(&self.file, &self.text)
                .map_err(|source| LimitsError::Write { path: self.file.clone(), source })?;
        }
        if existing(&self.file)?.as_deref() != Some(&self.text) {
            let source = io::Error::other("it reads differently afterwards");
            return Err(LimitsError::Write { path: self.file.clone(), source });
        }
        let mut live = Vec::new();
        for (sysctl, before, wanted) in planned {
            let path = root.live_file(sysctl);
            if before != wanted
                && let Err(source) = write_live(&path, wanted)
            {
                return Err(LimitsError::Write { path, source });
            }
            let found = root.live(sysctl)?;
            if found != wanted {
                return Err(LimitsError::NotKept { path, wanted, found });
            }
            live.push((sysctl, before, found));
        }
        Ok(Done { live, settings: root.sysctls().0.settings(), is_file_written })
    }

    /// Whether the drop-in file has the planned text now, and had another one before.
    #[must_use]
    pub fn is_file_written(&self) -> bool {
        let is_there = existing(&self.file).is_ok_and(|text| text.as_deref() == Some(&self.text));
        is_there && self.before.as_deref() != Some(&self.text)
    }

    /// The settings in files if this plan were carried out.
    #[must_use]
    pub fn foreseen(&self, root: &Root) -> Vec<Setting> {
        root.sysctls_with(&Source { path: self.file.clone(), text: self.text.clone() }).settings()
    }

    /// The settings of this plan that another file overrides.
    pub fn overridden<'a>(&'a self, settings: &'a [Setting]) -> impl Iterator<Item = &'a Setting> {
        settings.iter().filter(|setting| {
            let planned = self.values.iter().find(|(sysctl, _)| *sysctl == setting.sysctl);
            planned.is_some_and(|(_, value)| setting.configured.value() != Some(*value))
        })
    }
}

/// The text of a drop-in file that sets `values`, and keeps all else of its old text.
#[must_use]
pub fn drop_in(existing: Option<&str>, values: &[(Sysctl, u64)]) -> String {
    let assignment = |sysctl: Sysctl, value| format!("{} = {value}\n", sysctl.key());
    let Some(existing) = existing else {
        let mut text =
            "# Limits of inotify, for each user. Written by `inotify-trace limits`, which \
                        explains them.\n"
                .to_owned();
        text.extend(values.iter().map(|&(sysctl, value)| assignment(sysctl, value)));
        return text;
    };
    let mut text = String::new();
    let mut written = Vec::new();
    for line in existing.lines() {
        match values.iter().find(|(sysctl, _)| is_about(line, *sysctl)) {
            None => {
                text.push_str(line);
                text.push('\n');
            }
            Some((sysctl, _)) if written.contains(sysctl) => {}
            Some(&(sysctl, value)) => {
                text += &assignment(sysctl, value);
                written.push(sysctl);
            }
        }
    }
    let missing = values.iter().filter(|(sysctl, _)| !written.contains(sysctl));
    text.extend(missing.map(|&(sysctl, value)| assignment(sysctl, value)));
    text
}

/// The text of a file; None if it does not exist.
fn existing(path: &Path) -> Result<Option<String>, LimitsError> {
    let not_a_file = |what| LimitsError::NotAFile { path: path.to_path_buf(), what };
    match fs::symlink_metadata(path) {
        // A link may point to a file with other users, or to /dev/null, which masks the file.
        Ok(metadata) if metadata.is_symlink() => return Err(not_a_file("a symbolic link")),
        Ok(metadata) if !metadata.is_file() => return Err(not_a_file("no plain file")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LimitsError::Read { path: path.to_path_buf(), source }),
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(not_a_file("not UTF-8")),
        Err(source) => Err(LimitsError::Read { path: path.to_path_buf(), source }),
    }
}

/// Replaces a file in one step: readers get the old or the new text, also after a crash.
fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    // Not *.conf, so that no program reads it before it is complete.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        if let Ok(metadata) = fs::metadata(path) {
            file.set_permissions(metadata.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // It may not exist.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Sets a sysctl.
fn write_live(path: &Path, value: u64) -> io::Result<()> {
    // One write: the kernel takes each as a value of its own.
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)?
        .write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [(Sysctl, u64); 2] = [(Sysctl::Instances, 512), (Sysctl::Watches, 65536)];
    const INSTANCES: &str = "fs.inotify.max_user_instances = 512\n";
    const WATCHES: &str = "fs.inotify.max_user_watches = 65536\n";

    #[test]
    fn a_new_file_explains_itself() {
        let text = drop_in(None, &VALUES);
        let (comment, rest) = text.split_once('\n').unwrap();
        assert!(comment.starts_with("# ") && comment.contains("inotify-trace limits"));
        assert_eq!(rest, format!("{INSTANCES}{WATCHES}"));
    }

    #[test]
    fn other_settings_are_kept() {
        for (existing, expected) in [
            (String::new(), format!("{INSTANCES}{WATCHES}")),
            ("vm.swappiness = 1".into(), format!("vm.swappiness = 1\n{INSTANCES}{WATCHES}")),
            // In place, whatever their form; a second assignment of the same key is removed.
            (
                "# mine\nfs/inotify/max_user_watches=1\n\nfs.inotify.max_queued_events = 9\n\
                 -fs.inotify.max_user_watches = 2\nnonsense\n"
                    .into(),
                format!(
                    "# mine\n{WATCHES}\nfs.inotify.max_queued_events = 9\nnonsense\n{INSTANCES}"
                ),
            ),
            // A comment is no setting, and a pattern may match other sysctls.
            (
                "#fs.inotify.max_user_instances=1\nfs.inotify.* = 7\n".into(),
                format!("#fs.inotify.max_user_instances=1\nfs.inotify.* = 7\n{INSTANCES}{WATCHES}"),
            ),
            // A line that would reset it.
            ("-fs.inotify.max_user_instances\n".into(), format!("{INSTANCES}{WATCHES}")),
        ] {
            let text = drop_in(Some(&existing), &VALUES);
            assert_eq!(text, expected, "{existing:?}");
            assert_eq!(drop_in(Some(&text), &VALUES), text, "a second time changes nothing");
        }
    }
}
