//! The project's tasks: `cargo xtask run`, `cargo xtask test`, and what they are made of.
//!
//! Every task first installs the packages it needs, and lists them before.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use xtask::workspace::Workspace;
use xtask::{
    agent, bench, deny, dist, fuzz, image, kernel, kubernetes, lint, packages, python, sbom, step,
    testbed,
};

/// Build, run, test and install inotify-trace.
///
/// Each task lists and installs the packages it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const ENVIRONMENT: &str = "\
Environment:
  INOTIFY_TRACE_COMMIT         the commit that `inotify-trace --version` tells [default: git's]
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
    /// Run the tests; live tests run as root. See `test --help`.
    Test(Handed),
    /// Build the kernel programs' object and the agent that contains it.
    Build {
        /// Build the agent without optimisation (the kernel programs always have it).
        #[arg(long)]
        debug: bool,
    },
    /// Build and put inotify-trace into PREFIX/bin, and its bill of materials, manual pages and
    /// completions into PREFIX/share.
    Install {
        /// The directory to install to.
        #[arg(long, default_value = "/usr/local")]
        prefix: PathBuf,
    },
    /// Make the files of a release: static programs for both architectures, in archives and packages.
    Dist(dist::Args),
    /// Run live tests, or a command, on other kernels in virtual machines. See `vm --help`.
    Vm(Handed),
    /// Install the packages that building and testing need.
    Setup,
    /// Check formatting, dependencies and documentation, and run clippy on everything.
    Lint,
    /// List the crates in inotify-trace and its kernel programs, as CycloneDX JSON.
    Sbom {
        /// The file to write [default: inotify-trace.cdx.json in the target directory]
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Render the manifest of deploy/kubernetes from the chart of deploy/helm.
    Manifests,
    /// Write a container image of static programs, as an OCI archive.
    Image {
        /// A program, and its architecture as in images: amd64=FILE, arm64=FILE. Several make an
        /// index [default: this machine's, which is built]
        #[arg(long, value_name = "ARCH=FILE")]
        binary: Vec<image::Program>,
        /// The file to write
        #[arg(long, default_value = "inotify-trace.oci.tar")]
        out: PathBuf,
    },
    /// Write manual pages and shell completions below DIR, which is as PREFIX/share is.
    Man {
        /// The directory to write to.
        directory: PathBuf,
        /// Ask an unoptimised agent for them.
        #[arg(long)]
        debug: bool,
    },
    /// Fuzz the code that reads recordings.
    Fuzz {
        /// The time for each target.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Run only this target.
        #[arg(long)]
        target: Option<fuzz::Target>,
    },
    /// Measure the cost of inotify-trace, and write docs/benchmarks.md. See `bench --help`.
    Bench(Handed),
}

/// The arguments of `testbed` or `bench`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct Handed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let result = match handed_on() {
        Some((task, args)) => become_program(&task, &args),
        None => perform(Cli::parse().task),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A task of another program with its arguments as they are: clap would take the first `--` away.
fn handed_on() -> Option<(String, Vec<String>)> {
    let mut args = env::args().skip(1);
    let task = args.next().filter(|task| ["test", "vm", "bench"].contains(&task.as_str()))?;
    Some((task, args.collect()))
}

/// Executes `testbed` or `bench`, whose exit status becomes this program's.
fn become_program(task: &str, args: &[String]) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let mut command = match task {
        "bench" => bench::command(&workspace),
        task => testbed::command(&workspace, task),
    };
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", step::shown(&command)))
}

fn perform(task: Task) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Run { debug, args } => agent::run(&workspace, debug, &args),
        Task::Test(Handed { args }) => become_program("test", &args),
        Task::Build { debug } => agent::build(&workspace, debug).map(drop),
        Task::Install { prefix } => agent::install(&workspace, &prefix),
        Task::Vm(Handed { args }) => become_program("vm", &args),
        Task::Dist(args) => dist::run(&workspace, &args),
        Task::Setup => {
            kernel::setup(&workspace)?;
            lint::setup(&workspace)?;
            deny::setup(&workspace)?;
            packages::setup();
            python::setup_if_possible(&workspace);
            kubernetes::setup_if_possible(&workspace);
            step::say("set up");
            Ok(())
        }
        Task::Fuzz { seconds, target } => fuzz::run(&workspace, seconds, target),
        Task::Manifests => kubernetes::write_manifest(&workspace),
        Task::Image { binary, out } => image::run(&workspace, binary, &out),
        Task::Man { directory, debug } => {
            let binary = agent::build(&workspace, debug)?;
            let files = agent::manual(&|| Command::new(&binary), &directory)?;
            step::say(&format!("wrote {} files below {}", files.len(), directory.display()));
            Ok(())
        }
        Task::Lint => lint::run(&workspace),
        Task::Sbom { output } => sbom::run(&workspace, output).map(drop),
        Task::Bench(Handed { args }) => become_program("bench", &args),
    }
}
