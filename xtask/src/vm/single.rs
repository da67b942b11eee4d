//! One machine on its own, for other tasks than tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::kernels::{Cache, Image, Kernel};
use super::machine::{Machine, Outcome, Ports, text};
use super::{console, initramfs, keep, of_this_run, programs, tools};
use crate::step;
use crate::workspace::Workspace;

/// What a machine is to have and to do.
pub struct Contents {
    /// What it is called below target/vm.
    pub name: &'static str,
    /// The kernel, by suite or series.
    pub kernel: &'static str,
    /// A program of the workspace that is at hand besides the agent.
    pub program: &'static str,
    /// Other files, under the paths that they have here.
    pub files: Vec<PathBuf>,
    /// What its shell runs.
    pub script: String,
    /// In MiB.
    pub memory: u32,
    /// How long the script may take.
    pub limit: Duration,
}

/// What it left.
pub struct Left {
    /// The kernel, by suite, and its package's version.
    pub suite: &'static str,
    pub version: String,
    /// What was in the machine's /out.
    pub files: PathBuf,
}

/// Boots the kernel and runs the script; an error if that does not end well.
pub fn run(workspace: &Workspace, contents: &Contents) -> Result<Left> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the virtual machines' kernels are for x86_64 only"
    );
    tools::setup()?;
    let kernel: Kernel = contents.kernel.parse().map_err(anyhow::Error::msg)?;
    let image = Cache::open()?
        .image(kernel)
        .with_context(|| format!("cannot have the kernel of Debian {}", kernel.suite))?;
    let programs = [programs::agent(workspace)?, programs::program(workspace, contents.program)?];

    let results = workspace.target.join("vm");
    let work = of_this_run(&results)?;
    let path = work.path.join("initramfs.cpio");
    fs::write(&path, initramfs::build(&programs, &contents.files, &contents.script)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let boot = Boot {
        image: &image,
        name: format!("{} ({})", image.version, kernel.suite),
        directory: contents.name,
        initramfs: &path,
        memory: &format!("{}M", contents.memory),
        limit: contents.limit,
        stream: true,
    };
    let End { outcome, kept, .. } = boot.run(&work.path, &results)?;
    match outcome {
        Outcome::Ended(0) => {
            Ok(Left { suite: kernel.suite, version: image.version, files: kept.join("files") })
        }
        Outcome::Ended(status) => {
            bail!("the virtual machine's command failed with status {status}; see {kept:?}")
        }
        Outcome::Lost { why, .. } => {
            bail!("the virtual machine did not get to the end: {why}")
        }
    }
}

/// A kernel with what it boots into.
pub struct Boot<'a> {
    pub image: &'a Image,
    /// For people.
    pub name: String,
    /// Where to keep what it leaves.
    pub directory: &'a str,
    pub initramfs: &'a Path,
    pub memory: &'a str,
    pub limit: Duration,
    /// Whether to show the output while it comes.
    pub stream: bool,
}

/// How that ended.
pub struct End {
    pub outcome: Outcome,
    /// Whether the first try failed as the emulator makes them fail.
    pub retried: bool,
    /// The directory with everything the machine wrote.
    pub kept: PathBuf,
}

impl Boot<'_> {
    /// Boots, working in `work`, and keeps below `results` what the machine wrote.
    pub fn run(&self, work: &Path, results: &Path) -> Result<End> {
        let directory = work.join(self.directory);
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let machine = Machine {
            kernel: &self.image.path,
            initramfs: self.initramfs,
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
        let kept = results.join(self.directory);
        keep(&directory, &kept)?;
        if let Outcome::Lost { why, .. } = &outcome {
            step::say(&format!("{}: {why}; its console ends with:", self.name));
            eprintln!("{}", console::tail(&console));
        }
        Ok(End { outcome, retried, kept })
    }
}
