//! The command line: one file for each command.

mod agent;
mod agent_state;
mod check;
mod choice;
mod completions;
mod destination;
mod export;
mod format;
mod kernel;
mod leaks;
mod limits;
mod list;
mod machines;
mod man;
mod memory;
mod past;
mod plugin;
mod progress;
mod range;
mod record;
mod recorder;
mod recordings;
mod replay;
mod report;
mod say;
mod select;
mod serve;
mod session;
mod settings;
#[cfg(feature = "top")]
mod top;
mod trace;
mod units;
mod version;
mod view;
mod why;

use std::{io, process::ExitCode};

use anyhow::bail;
use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind,
    parser::ValueSource,
};

use crate::{
    host::{self, runtimes::Registry, surroundings},
    output::{When, reader_has_left},
    zone,
};

/// Exit code of a command that failed.
const EXIT_ERROR: u8 = 2;

/// Trace inotify instances, watches and failures to processes and containers.
#[derive(Debug, Parser)]
#[command(
    version,
    long_version = version::long(),
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
    /// When to show in colour what is used up, leaked, lost or missing
    #[arg(long, global = true, value_parser = choice::one_of::<When>(), value_name = "WHEN", default_value = "auto")]
    color: When,
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

    /// Whether all is as usual: an agent of this machine can answer.
    fn is_default(&self) -> bool {
        #[cfg(feature = "cri")]
        if self.cri_socket.is_some() {
            return false;
        }
        self.host_root.is_none()
    }

    /// Takes the host's files from where the options say. Fails if a directory or a socket that was
    /// given is none.
    fn locate(&self) -> anyhow::Result<()> {
        if let Some(root) = self.host_root.as_deref().filter(|it| !it.is_dir()) {
            bail!("--host-root {}: there is no such directory", root.display());
        }
        #[cfg(feature = "cri")]
        if let Some(socket) = self.cri_socket.as_deref().filter(|it| !is_socket(it)) {
            bail!(
                "--cri-socket {}: there is no such socket; without the option, the usual ones of \
                 containerd and CRI-O are tried",
                socket.display()
            );
        }
        host::set_root(&self.root());
        Ok(())
    }

    fn registry(&self) -> Registry {
        let registry = Registry::below(self.root());
        #[cfg(feature = "cri")]
        let registry = registry.asking_at(self.cri_socket.clone());
        registry
    }
}

#[cfg(feature = "cri")]
fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.metadata().is_ok_and(|it| it.file_type().is_socket())
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace                        show events as they happen, one per line
  sudo inotify-trace -x                     show failures only: `too many open files` and its cause
  sudo inotify-trace -e create,release -d 1m    show instances created and released, for a minute
  sudo inotify-trace -c containerd-shim     show events of the shims
  sudo inotify-trace --cgroup /kubepods.slice   show events in pods
  sudo inotify-trace -o json | jq .path     write JSON for programs
  sudo inotify-trace why                    tell what is wrong, and what to do
  sudo inotify-trace list                   list processes and the instances they hold
  sudo inotify-trace limits                 show use of the limits, and recommended values
  sudo inotify-trace top                    show all that on a full screen, as it changes
  sudo inotify-trace leaks                  find leaked instances
  sudo inotify-trace record -o night.itrec  record all events
  inotify-trace replay night.itrec          show the events of a recording
  inotify-trace report night.itrec -o night.html    summarize a recording on one page
  inotify-trace export night.itrec --format parquet -o night.parquet    convert it for other tools
  sudo inotify-trace serve                  watch all the time, with metrics for Prometheus
  sudo inotify-trace check                  show the features this machine supports";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show events as they happen, one per line (the default)
    Trace(trace::Args),
    /// List the instances and watches that exist now, with their holders and the users' limits
    List(list::Args),
    /// Show each user's use of the limits, the files that set them, and recommended values
    Limits(limits::Args),
    /// Show the machine on a full screen, live or as recorded: containers, processes, users, failures,
    /// leaks
    #[cfg(feature = "top")]
    Top(top::Args),
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
    /// Watch all the time, and serve metrics for Prometheus
    Serve(serve::Args),
    /// Tell what is wrong, who is behind it and what to do: about the machine, a process, a pod, or
    /// an error message
    Why(why::Args),
    /// Show the features this kernel supports, those missing, and the backend in use
    Check(check::Args),
    /// Print a script that completes commands, options and their values in a shell
    #[command(visible_alias = "completion")]
    Completions(completions::Args),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Args),
}

/// Runs the command line; the exit code is for the shell.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(problem) = surroundings::prepare_stack() {
        // As below.
        let _ = say::say(format_args!("inotify-trace: {problem}"));
        return ExitCode::from(EXIT_ERROR);
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return plugin::refuse(&error),
    };
    cli.color.choose();
    if cli.utc {
        zone::show_utc();
    }
    let result = match cli.command {
        None => trace::run(&cli.trace),
        Some(Command::Trace(args)) => trace::run(&args),
        Some(Command::List(args)) => list::run(&args),
        Some(Command::Limits(args)) => limits::run(&args),
        #[cfg(feature = "top")]
        Some(Command::Top(args)) => top::run(&args),
        Some(Command::Leaks(args)) => leaks::run(&args),
        Some(Command::Record(args)) => record::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Why(args)) => why::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Man(args)) => man::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) if reader_has_left() || is_broken_pipe(&error) => ExitCode::SUCCESS,
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

/// Understands the command line. Before a command stands only what is for every command, such as
/// `--color`: an option of the traces, which need no command, would have no effect there.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    if let Some(name) = matches.subcommand_name() {
        let is_given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let mut of_traces = command.get_arguments().filter(|it| !it.is_global_set());
        let misplaced = of_traces.find(|it| is_given(it.get_id().as_str()));
        let said = misplaced.and_then(|it| it.get_long()).map(|option| {
            format!(
                "--{option} can't stand before a command: put it behind {name}, if it is an option \
                 of that"
            )
        });
        drop(of_traces);
        if let Some(said) = said {
            return Err(command.error(ErrorKind::ArgumentConflict, said));
        }
    }
    Cli::from_arg_matches(&matches)
}

/// Whether it is nothing but the system's error of a full disk.
fn is_full_output(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let is_full = matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
    is_full && error.chain().count() == 1
}

/// Whether the reader of standard error has closed it, as in `inotify-trace 2>&1 | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use inotify_trace_model::event::EventName;

    use super::Cli;

    #[test]
    fn the_readme_has_every_command() {
        let readme = include_str!("../../../README.md");
        let table = readme.split("\n## ").find(|it| it.starts_with("All commands")).unwrap();
        // Without a command, it traces.
        for command in Cli::command().get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = command.get_name();
            let row = format!("| `inotify-trace {name}");
            assert!(name == "trace" || table.contains(&row), "{name}");
        }
    }

    #[test]
    fn the_short_help_tells_which_events_are_shown() {
        let help = Cli::command().render_help().to_string();
        let help = help.split("--event").nth(1).and_then(|it| it.split(']').next()).unwrap();
        for event in EventName::ALL {
            let words = help.split([' ', ',', '\n']);
            let is_there = words.clone().any(|it| it == event.as_str());
            assert_eq!(is_there, event.is_shown_by_default(), "{event:?}: {help}");
        }
    }
}
