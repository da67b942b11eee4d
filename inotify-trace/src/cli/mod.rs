//! The command line: one file for each command.

mod check;
mod choice;
mod export;
mod kernel;
mod leaks;
mod limits;
mod list;
mod memory;
mod past;
mod progress;
mod record;
mod recorder;
mod recordings;
mod replay;
mod report;
mod say;
mod session;
mod trace;
mod units;
mod view;

use std::{io::ErrorKind, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    host::{runtimes::Registry, surroundings},
    zone,
};

/// Exit code of a command that failed.
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
    /// Show times in UTC, and take times of day in UTC, instead of this machine's time zone
    #[arg(long, global = true)]
    utc: bool,
}

/// Options that locate the host's files and sockets.
#[derive(Debug, clap::Args)]
struct Host {
    /// Root directory of the host, for use in a container that mounts it [default: /]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    host_root: Option<std::path::PathBuf>,
    /// Socket of containerd, CRI-O or another CRI runtime, which is asked for names that are not on
    /// disk [default: the usual sockets of these runtimes]
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
  sudo inotify-trace                        show events as they happen, one per line
  sudo inotify-trace -x                     show failures only: `too many open files` and its cause
  sudo inotify-trace -e create,release -d 1m    show instances created and released, for a minute
  sudo inotify-trace -c containerd-shim     show events of the shims
  sudo inotify-trace --cgroup /kubepods.slice   show events in pods
  sudo inotify-trace -o json | jq .path     write JSON for programs
  sudo inotify-trace list                   list processes and the instances they hold
  sudo inotify-trace limits                 show use of the limits, and recommended values
  sudo inotify-trace leaks                  find leaked instances
  sudo inotify-trace record -o night.itrec  record all events
  inotify-trace replay night.itrec          show the events of a recording
  inotify-trace report night.itrec -o night.html    summarize a recording on one page
  inotify-trace export night.itrec --format parquet -o night.parquet    convert it for other tools
  sudo inotify-trace check                  show the features this machine supports";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show events as they happen, one per line (the default)
    Trace(trace::Args),
    /// List the instances and watches that exist now, with their holders and the users' limits
    List(list::Args),
    /// Show each user's use of the limits, the files that set them, and recommended values
    Limits(limits::Args),
    /// Find leaked instances and their holders; exits with 1 if there are any
    Leaks(leaks::Args),
    /// Record all events; a recording survives kill -9, a power failure and a full disk
    Record(record::Args),
    /// Show the events of a recording, as `trace` showed them live
    Replay(replay::Args),
    /// Summarize recordings on one page: failures, leaks, use of the limits
    Report(report::Args),
    /// Convert recordings for other tools: JSON lines, CSV, Parquet, Perfetto
    Export(export::Args),
    /// Show the features this kernel supports, those missing, and the backend in use
    Check,
}

/// Runs the command line; the exit code is for the shell.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(problem) = surroundings::prepare_stack() {
        // As below.
        let _ = say::say(format_args!("inotify-trace: {problem}"));
        return ExitCode::from(EXIT_ERROR);
    }
    let cli = Cli::parse();
    if cli.utc {
        zone::show_utc();
    }
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
            // Whatever has a path names it in its error.
            let place =
                if is_full_output(&error) { "cannot write to standard output: " } else { "" };
            // If standard error is closed too, there is no place left to report to.
            let _ = say::say(format_args!("inotify-trace: {place}{error:#}"));
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// Whether it is nothing but the system's error of a full disk.
fn is_full_output(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let is_full = matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    is_full && error.chain().count() == 1
}

/// Whether the reader of standard output has closed it, as in `inotify-trace | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
    })
}
