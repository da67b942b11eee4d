//! Runs the tests of inotify-trace, and its virtual machines: `cargo xtask test` and `cargo xtask
//! vm` start it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::step;
use xtask::workspace::Workspace;

mod boot;
mod console;
mod cpio;
mod failures;
mod fuzzing;
mod here;
mod index;
mod initramfs;
mod kernels;
mod live;
mod machine;
mod mirror;
mod packages;
mod parallel;
mod programs;
mod report;
mod results;
mod scenario;
mod scratch;
mod stages;
mod suite;
mod support;
mod test;
mod tools;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the tests; live tests run as root.
    Test(test::Args),
    /// Run live tests, or a command, on other kernels in virtual machines.
    Vm(vm::Args),
    /// Install the packages of a release in clean systems, use them, and remove them.
    Packages(packages::Args),
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let result = Workspace::locate().and_then(|workspace| match task {
        Task::Test(args) => test::run(&workspace, &args),
        Task::Vm(args) => vm::run(&workspace, &args),
        Task::Packages(args) => packages::run(&args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            // A command's own status is handed on.
            let status = error.downcast_ref::<report::Failed>().map(|failed| failed.status);
            status.map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}
