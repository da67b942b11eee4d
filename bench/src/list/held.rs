//! Processes for the looks to find: they do nothing but hold instances, watches and other
//! descriptors.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use crate::load::hold::{self, Hold};

/// Above the user ids of people and services, and below the reserved ones: each process has a user
/// of its own, so that no user comes near a limit.
const FIRST_UID: u32 = 2_000_000;

/// Processes that live until this is dropped.
pub struct Held {
    each: Hold,
    children: Vec<Child>,
    /// The pipe whose end the processes wait for.
    end: Option<io::PipeWriter>,
    input: io::PipeReader,
}

impl Held {
    /// Starts no process yet. `each` describes one process; its user is set here.
    pub fn new(mut each: Hold, directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for index in 0..each.watches {
            File::create(hold::target(&directory, index)).context("cannot make what is watched")?;
        }
        each.directory = directory;
        let (input, end) = io::pipe().context("cannot make a pipe")?;
        Ok(Self { each, children: Vec::new(), end: Some(end), input })
    }

    /// Adds processes up to this number, and waits until each holds everything.
    pub fn grow(&mut self, processes: usize) -> Result<()> {
        let (output, ready) = io::pipe().context("cannot make a pipe")?;
        let missing = processes.saturating_sub(self.children.len());
        for _ in 0..missing {
            let uid = FIRST_UID + u32::try_from(self.children.len())?;
            let mut command = Hold { uid, ..self.each.clone() }.command()?;
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
        // The processes read the end of the pipe, and exit.
        self.end = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
