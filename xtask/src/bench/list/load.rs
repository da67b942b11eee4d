//! What the looks find: processes that do nothing but hold instances, watches and other
//! descriptors.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::bench::load::TASK;
use crate::bench::sys;

/// Above those of people and services, and below those that are no users: each process has one of
/// its own, so that no user comes near a limit.
const FIRST_UID: u32 = 2_000_000;

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

/// Processes that live until this is dropped.
pub struct Held {
    each: Hold,
    children: Vec<Child>,
    /// What they wait for the end of, and its other end.
    end: Option<io::PipeWriter>,
    input: io::PipeReader,
}

impl Held {
    /// No process yet. `each` says what one is to hold; its user is set here.
    pub fn new(mut each: Hold, directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for index in 0..each.watches {
            File::create(target(&directory, index)).context("cannot make what is watched")?;
        }
        each.directory = directory;
        let (input, end) = io::pipe().context("cannot make a pipe")?;
        Ok(Self { each, children: Vec::new(), end: Some(end), input })
    }

    /// Adds processes until there are so many, and waits until each holds everything.
    pub fn grow(&mut self, processes: usize) -> Result<()> {
        let program = env::current_exe().context("cannot find the program that is running")?;
        let (output, ready) = io::pipe().context("cannot make a pipe")?;
        let missing = processes.saturating_sub(self.children.len());
        let each = self.each.clone();
        for _ in 0..missing {
            let uid = FIRST_UID + u32::try_from(self.children.len())?;
            let mut command = Command::new(&program);
            command.args([TASK, "hold"]);
            for (name, number) in [
                ("--threads", each.threads),
                ("--instances", each.instances),
                ("--watches", each.watches),
                ("--others", each.others),
            ] {
                command.arg(name).arg(number.to_string());
            }
            command.arg("--directory").arg(&each.directory).arg("--uid").arg(uid.to_string());
            command.stdin(self.input.try_clone()?).stdout(Stdio::from(ready.try_clone()?));
            self.children.push(command.spawn().context("cannot start a load")?);
        }
        drop(ready);
        let told = BufReader::new(output).lines().map_while(Result::ok).count();
        ensure!(told == missing, "only {told} of {missing} loads came up; the reason is above");
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // They read the end of it, and go.
        self.end = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn target(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("watched-{index}"))
}

/// The body of the hidden task: holds everything until standard input ends.
pub fn hold(hold: &Hold) -> Result<()> {
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
        // All they do is to exist.
        thread::Builder::new().stack_size(16 * 1024).spawn(sleep).context("cannot have threads")?;
    }
    writeln!(io::stdout(), "ready").context("cannot say that all is held")?;
    // Whoever started it reads until the last of its kind has said so, or has failed.
    sys::close_output().context("cannot close the output")?;
    io::stdin().read(&mut [0]).context("cannot wait for the end")?;
    drop(held);
    Ok(())
}
