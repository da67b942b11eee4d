//! The cost and the limits of inotify-trace, next to bpftrace and others: `cargo xtask bench`
//! starts it.
//!
//! Without a task it is the user's part, which writes docs/benchmarks.md. It starts itself for the
//! tasks: the measurements of root or of a virtual machine, and the loads to trace.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::step;
use xtask::workspace::Workspace;

mod backends;
mod calls;
mod check;
mod compare;
mod context;
mod here;
mod idle;
mod list;
mod load;
mod machine;
mod pace;
mod proc;
mod publish;
mod record;
mod report;
mod root;
mod scratch;
mod startup;
mod stats;
mod storm;
mod sys;
mod told;
mod tracer;
mod vm;

/// Measure the cost of inotify-trace and bpftrace, and write docs/benchmarks.md.
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    args: publish::Args,
    #[command(subcommand)]
    task: Option<Task>,
}

/// The parts that are processes of their own.
#[derive(Subcommand)]
enum Task {
    /// Measure on this machine, as root, and print the report.
    Here(here::Args),
    /// Measure the agent's backends, as root, and print a line for each measurement.
    Backends(backends::Args),
    /// Time looks at the machine, as root, and print a line for each.
    Looks(list::Rounds),
    /// Take the CPU time of two builds in turns, as root, and print a line for each pair.
    Pairs(check::PairsArgs),
    /// Look through /proc as a plain scanner does, to compare with.
    Scan,
    /// Run a load to be traced.
    #[command(subcommand)]
    Load(load::Load),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let (None, Some(builds)) = (&cli.task, &cli.args.check) {
        return match Workspace::locate().and_then(|workspace| check::run(&workspace, builds)) {
            Ok(is_slower) => u8::from(is_slower).into(),
            Err(error) => {
                step::say(&format!("error: {error:#}"));
                2.into()
            }
        };
    }
    let result = match cli.task {
        None => Workspace::locate().and_then(|workspace| publish::run(&workspace, &cli.args)),
        Some(Task::Here(args)) => here::measure(&args),
        Some(Task::Backends(args)) => backends::measure(&args),
        Some(Task::Looks(rounds)) => list::look(&rounds),
        Some(Task::Pairs(args)) => check::pairs(&args),
        Some(Task::Scan) => list::scan(),
        Some(Task::Load(load)) => load::run(&load),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
