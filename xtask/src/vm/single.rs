//! One machine on its own, for other tasks than tests.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::kernels::{Cache, Kernel};
use super::machine::{Machine, Outcome, Ports, text};
use super::{Work, console, initramfs, keep, programs, tools};
use crate::step;
use crate::workspace::Workspace;

/// What a machine is to have and to do.
pub struct Contents {
    /// What it is called below target/vm.
    pub name: &'static str,
    /// The kernel, by suite or series.
    pub kernel: &'static str,
    /// Files besides the agent and xtask, which are programs at hand.
    pub files: Vec<PathBuf>,
    pub script: String,
    /// As QEMU takes it.
    pub memory: &'static str,
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
    let programs = [programs::agent(workspace)?, programs::xtask(workspace)?];

    let results = workspace.target.join("vm");
    let work = Work::new(&results)?;
    let path = work.path.join("initramfs.cpio");
    fs::write(&path, initramfs::build(&programs, &contents.files, &contents.script)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let directory = work.path.join(contents.name);
    fs::create_dir(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let machine = Machine {
        kernel: &image.path,
        initramfs: &path,
        directory: &directory,
        memory: contents.memory,
        limit: contents.limit,
        stream: true,
    };
    let name = format!("{} ({})", image.version, kernel.suite);
    step::say(&format!("booting {name}"));
    let (outcome, _) = machine.run(&name)?;
    let ports = Ports::of(&directory);
    ports.unpack(&directory.join("files"))?;
    let console = text(&ports.console)?;
    let kept = results.join(contents.name);
    keep(&directory, &kept)?;
    match outcome {
        Outcome::Ended(0) => {
            Ok(Left { suite: kernel.suite, version: image.version, files: kept.join("files") })
        }
        Outcome::Ended(status) => {
            bail!("the virtual machine's command failed with status {status}; see {kept:?}")
        }
        Outcome::Lost { why, .. } => {
            step::say(&format!("{name}: {why}; its console ends with:"));
            eprintln!("{}", console::tail(&console));
            bail!("the virtual machine did not get to the end: {why}")
        }
    }
}
