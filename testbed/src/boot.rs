//! One boot of a machine, whose directory is kept afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::step;

use crate::console;
use crate::kernels::Image;
use crate::machine::{Machine, Outcome, Ports, text};
use crate::scratch::Scratch;

/// The prefix of a run's directory, before its process id.
const RUN: &str = "run-";

/// A kernel and its initramfs.
pub struct Boot<'a> {
    pub image: &'a Image,
    /// The suite of the kernel.
    pub suite: &'a str,
    /// For people.
    pub name: String,
    /// The directory for its results.
    pub directory: &'a str,
    pub initramfs: &'a Path,
    /// See [`Machine::disk`].
    pub disk: Option<&'a Path>,
    /// See [`Machine::own_time`].
    pub own_time: bool,
    /// In MiB.
    pub memory: u32,
    pub limit: Duration,
    /// Whether to show the output while it comes.
    pub stream: bool,
}

/// The end of a boot.
pub struct End {
    pub outcome: Outcome,
    /// Whether the first try failed as the emulator makes them fail.
    pub retried: bool,
    /// The directory with everything the machine wrote.
    pub kept: PathBuf,
}

impl End {
    /// Where the files are that the machine left in its /out.
    pub fn files(&self) -> PathBuf {
        self.kept.join("files")
    }

    /// What a file says that the machine left.
    pub fn text(&self, name: &str) -> Result<String> {
        left(&self.files(), name)
    }
}

/// What one of the files says that a machine left.
pub fn left(files: &Path, name: &str) -> Result<String> {
    fs::read_to_string(files.join(name)).with_context(|| format!("the machine left no {name}"))
}

impl Boot<'_> {
    /// Boots, working in `work`, and keeps below `results` what the machine wrote.
    pub fn run(&self, work: &Path, results: &Path) -> Result<End> {
        let directory = work.join(self.directory);
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let machine = Machine {
            image: self.image,
            initramfs: self.initramfs,
            disk: self.disk,
            own_time: self.own_time,
            directory: &directory,
            memory: self.memory,
            limit: self.limit,
            stream: self.stream,
        };
        step::say(&format!("booting {}", self.name));
        let (outcome, retried) = machine.run(&self.name)?;
        let ports = Ports::of(&directory);
        ports.unpack(&directory.join("files"))?;
        let console = text(&ports.console)?;
        self.write_kernel(&directory)?;
        let kept = results.join(self.directory);
        keep(&directory, &kept)?;
        if let Outcome::Lost { why, .. } = &outcome {
            step::say(&format!("{}: {why}; its console ends with:", self.name));
            eprintln!("{}", console::tail(&console));
        }
        Ok(End { outcome, retried, kept })
    }

    /// Writes the kernel's name into the directory, for readers of the results.
    fn write_kernel(&self, directory: &Path) -> Result<()> {
        let text = format!("{} {}\n", self.suite, self.image.version);
        fs::write(directory.join("kernel.txt"), text)
            .with_context(|| format!("cannot write {}", directory.display()))
    }
}

/// Puts a machine's directory where the last one's was.
fn keep(directory: &Path, kept: &Path) -> Result<()> {
    if kept.exists() {
        fs::remove_dir_all(kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    }
    fs::rename(directory, kept).with_context(|| format!("cannot write {}", kept.display()))
}

/// A directory of this run alone: several people may run kernels in one checkout.
pub fn of_this_run(parent: &Path) -> Result<Scratch> {
    forget_interrupted(parent);
    Scratch::new(parent.join(format!("{RUN}{}", process::id())))
}

/// Removes the directories of interrupted runs, some 20 MB each.
fn forget_interrupted(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(RUN));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
