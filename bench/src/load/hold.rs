//! A process that does nothing but hold instances, watches and other descriptors.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

use super::command;
use crate::sys;

/// What one process holds.
#[derive(Args, Clone, Debug)]
pub struct Hold {
    #[arg(long)]
    pub threads: usize,
    #[arg(long)]
    pub instances: usize,
    /// On all instances together.
    #[arg(long)]
    pub watches: usize,
    /// Descriptors that are no inotify instances, besides the standard ones.
    #[arg(long)]
    pub others: usize,
    /// What is watched is in there.
    #[arg(long)]
    pub directory: PathBuf,
    /// Whose the process is.
    #[arg(long)]
    pub uid: u32,
}

impl Hold {
    /// The command that is such a process.
    pub fn command(&self) -> Result<Command> {
        let mut command = command::of("hold")?;
        for (name, number) in [
            ("--threads", self.threads),
            ("--instances", self.instances),
            ("--watches", self.watches),
            ("--others", self.others),
        ] {
            command.arg(name).arg(number.to_string());
        }
        command.arg("--directory").arg(&self.directory).arg("--uid").arg(self.uid.to_string());
        Ok(command)
    }
}

/// The path of a watched file in `directory`, by number.
pub fn target(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("watched-{index}"))
}

/// Holds everything until standard input ends.
pub fn run(hold: &Hold) -> Result<()> {
    let mut held: Vec<OwnedFd> = Vec::new();
    sys::allow_descriptors().context("cannot raise the limit of open files")?;
    // Opened as root, watched as the user: quotas are the user's.
    sys::become_user(hold.uid).context("cannot become a user of its own")?;
    for index in 0..hold.instances {
        let instance = sys::inotify().context("cannot make an inotify instance")?;
        for watch in (index..hold.watches).step_by(hold.instances) {
            let path = target(&hold.directory, watch);
            let path = CString::new(path.into_os_string().into_encoded_bytes())?;
            sys::watch(&instance, &path).with_context(|| format!("cannot watch {path:?}"))?;
        }
        held.push(instance);
    }
    for _ in 0..hold.others {
        held.push(File::open("/dev/null").context("cannot open /dev/null")?.into());
    }
    for _ in 1..hold.threads {
        let sleep = || {
            loop {
                thread::park();
            }
        };
        // These threads only exist.
        thread::Builder::new().stack_size(16 * 1024).spawn(sleep).context("cannot have threads")?;
    }
    writeln!(io::stdout(), "ready").context("cannot say that all is held")?;
    // The parent reads until the last load has printed "ready", or has failed.
    sys::close_output().context("cannot close the output")?;
    io::stdin().read(&mut [0]).context("cannot wait for the end")?;
    drop(held);
    Ok(())
}
