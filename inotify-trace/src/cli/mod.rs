//! The command line: one file for each command.

mod check;
mod choice;
mod export;
mod kernel;
mod leaks;
mod limits;
mod list;
mod past;
mod progress;
mod record;
mod recorder;
mod recordings;
mod replay;
mod report;
mod session;
mod trace;
mod units;
mod view;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::host::runtimes::Registry;

/// Exit code for everything that kept a command from doing its work.
const EXIT_ERROR: u8 = 2;

/// Trace inotify instances, watches and failures to processes and containers.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = units::help(EXAMPLES, &[units::DURATION, units::SIZE]),
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    trace: trace::Args,
}

/// Where the machine's files are.
#[derive(Debug, clap::Args)]
struct Host {
    /// Where the machine's own root directory is, if not at /: in a container that mounts it
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    host_root: Option<std::path::PathBuf>,
    /// Where to ask for names that are not on disk: the socket of containerd, CRI-O or another
    /// runtime of Kubernetes [default: where theirs usually are]
    #[cfg(feature = "cri")]
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    cri_socket: Option<std::path::PathBuf>,
}

impl Host {
    fn root(&self) -> std::path::PathBuf {
        self.host_root.clone().unwrap_or_else(|| "/".into())
    }

    fn registry(&self) -> Registry {
        let registry = Registry::below(self.root());
        #[cfg(feature = "cri")]
        let registry = registry.asking_at(self.cri_socket.clone());
        registry
    }
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace                        what happens now, one line an event
  sudo inotify-trace -x                     only failures: who gets `too many open files`, and why
  sudo inotify-trace -e create,release -d 1m    instances that come and go within a minute
  sudo inotify-trace -c containerd-shim     what the shims do
  sudo inotify-trace --cgroup /kubepods.slice   what happens in pods
  sudo inotify-trace -o json | jq .path     for programs
  sudo inotify-trace list                   who holds how many instances now
  sudo inotify-trace limits                 how close everyone is to the limits, and what to set
  sudo inotify-trace leaks                  who keeps instances that serve nobody any more
  sudo inotify-trace record -o night.itrec  record everything, for later
  inotify-trace replay night.itrec          what happened then
  inotify-trace report night.itrec -o night.html    all of it on one page
  inotify-trace export night.itrec --format parquet -o night.parquet    for other tools
  sudo inotify-trace check                  what this machine allows, and what is missing";

#[derive(Debug, Subcommand)]
enum Command {
    /// Trace what happens now, one line an event (the default)
    Trace(trace::Args),
    /// List what exists now: who uses how many instances and watches, and how many are allowed
    List(list::Args),
    /// Show how close everyone is to the limits, where they are configured, and what they should be
    Limits(limits::Args),
    /// Find who leaks instances; the exit code says whether anyone does
    Leaks(leaks::Args),
    /// Record what happens, for later: survives kill -9, a loss of power, and a full disk
    Record(record::Args),
    /// Show what was recorded, as `trace` would have
    Replay(replay::Args),
    /// Make one page of what was recorded: what failed, who leaks, how close to the limits
    Report(report::Args),
    /// Write what was recorded for other tools: JSON lines, CSV, Parquet, Perfetto
    Export(export::Args),
    /// Show what this kernel allows, which backend is used, and what is missing
    Check,
}

/// Runs the command line; the exit code is for the shell.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => trace::run(&cli.trace),
        Some(Command::Trace(args)) => trace::run(&args),
        Some(Command::List(args)) => list::run(&args),
        Some(Command::Limits(args)) => limits::run(&args),
        Some(Command::Leaks(args)) => leaks::run(&args),
        Some(Command::Record(args)) => record::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Check) => check::run(),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where standard error is gone too.
            let _ = writeln!(std::io::stderr(), "inotify-trace: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// Whether the reader of our output has gone, as in `inotify-trace | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
