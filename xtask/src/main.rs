//! The project's tasks: `cargo xtask run`, `cargo xtask test`, and what they are made of.
//!
//! Every task first sets up what it is missing, and says so before it does.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use xtask::workspace::Workspace;
use xtask::{agent, bench, fuzz, kernel, lint, step, test, vm};

/// Build, run, test and install inotify-trace.
///
/// Each task installs what it needs and does not find, after saying what that is.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const ENVIRONMENT: &str = "\
Environment:
  INOTIFY_TRACE_BPF_OBJECT     a ready-made object of the kernel programs: no compiler for them is
                               needed then
  INOTIFY_TRACE_BPF_TOOLCHAIN  rustup or system: take only that compiler for the kernel programs";

#[derive(Subcommand)]
enum Task {
    /// Build inotify-trace and start it, through sudo if not root.
    Run {
        /// Build without optimisation.
        #[arg(long)]
        debug: bool,
        /// Arguments of inotify-trace itself.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test; those that trace for real run as root.
    Test {
        /// Leave out the live tests on the kernels of virtual machines, which take minutes.
        #[arg(long)]
        no_vm: bool,
        /// A kernel that may be missing where it can't be fetched; may be repeated.
        #[arg(long, value_name = "NAME")]
        allow_missing: Vec<vm::Kernel>,
        /// Arguments of `cargo test`: a test's name, `-p PACKAGE`, `-- --nocapture`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Build the kernel programs' object and the agent that contains it.
    Build {
        /// Build the agent without optimisation (the kernel programs always have it).
        #[arg(long)]
        debug: bool,
    },
    /// Build and put inotify-trace into PREFIX/bin.
    Install {
        /// Where to install.
        #[arg(long, default_value = "/usr/local")]
        prefix: PathBuf,
    },
    /// Run the live tests, or a command, on the kernels of virtual machines.
    Vm(vm::Args),
    /// Only install what building and testing need.
    Setup,
    /// Check formatting, run clippy on everything, and check the documentation.
    Lint,
    /// Feed recordings that nobody wrote to what reads recordings.
    Fuzz {
        /// How long, for each target.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Only this one.
        #[arg(long)]
        target: Option<fuzz::Target>,
    },
    /// Measure what inotify-trace costs, and write docs/benchmarks.md. `bench --help` tells more.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            // A command's own status is handed on.
            let status = error.downcast_ref::<vm::Failed>().map(|failed| failed.status);
            status.map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Run { debug, args } => agent::run(&workspace, debug, &args),
        Task::Test { no_vm, allow_missing, args } => {
            let kernels = (!no_vm).then_some(allow_missing);
            test::run(&workspace, kernels, &args)
        }
        Task::Build { debug } => agent::build(&workspace, debug).map(drop),
        Task::Install { prefix } => agent::install(&workspace, &prefix),
        Task::Vm(args) => vm::run(&workspace, &args),
        Task::Setup => {
            kernel::setup(&workspace)?;
            lint::setup(&workspace)?;
            test::setup();
            test::python(&workspace);
            step::say("set up");
            Ok(())
        }
        Task::Fuzz { seconds, target } => fuzz::run(&workspace, seconds, target),
        Task::Lint => lint::run(&workspace),
        Task::Bench { args } => {
            // Becomes it: its exit status is handed on.
            let mut command = bench::command(&workspace);
            let error = command.args(args).exec();
            Err(error).with_context(|| format!("cannot start {}", step::shown(&command)))
        }
    }
}
