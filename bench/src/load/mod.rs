//! The loads to trace: loops that do nothing but make system calls, and processes that hold
//! instances and watches. Each is a process of its own, so that its events can be separated from
//! all others.

use anyhow::Result;
use clap::Subcommand;

mod calls;
mod command;
pub mod hold;
mod storm;

pub use calls::{BATCH, Calls, Cost, calls};
pub use hold::Hold;
pub use storm::{Storm, storm, storm_command};

#[derive(Subcommand)]
pub enum Load {
    /// Make and close an instance, again and again.
    Storm(Storm),
    /// Time `close(-1)` and `getppid()`.
    Calls(Calls),
    /// Read what comes on standard input, and rest 1 ms after each time.
    Reader,
    /// Hold instances, watches and other descriptors.
    Hold(Hold),
}

/// Runs that load until its end.
pub fn run(load: &Load) -> Result<()> {
    match load {
        Load::Storm(storm) => storm::run(storm),
        Load::Calls(calls) => {
            calls::run(calls);
            Ok(())
        }
        Load::Reader => storm::read_slowly(),
        Load::Hold(hold) => hold::run(hold),
    }
}
