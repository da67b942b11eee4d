//! Running the agent and its live tests on the kernels of virtual machines.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::step;
use crate::workspace::Workspace;

mod console;
mod cpio;
mod index;
mod initramfs;
mod kernels;
mod machine;
mod mirror;
mod parallel;
mod programs;
mod report;
mod scenario;
mod scratch;
mod single;
mod suite;
mod support;
mod tools;

use initramfs::Program;
use kernels::{Cache, Image};
use machine::{Machine, Outcome, Ports, text as read};
use report::Report;
use scenario::Scenario;
use scratch::Scratch;

pub use kernels::Kernel;
pub use machine::QEMU;
pub use report::Failed;
pub use single::{Contents, run as run_single};

/// Which kernels to run, and what to run on them.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A kernel to run, as 6.1 or bookworm; may be repeated. All if none is given.
    #[arg(long = "kernel", value_name = "NAME")]
    kernels: Vec<Kernel>,
    /// A kernel that may be missing where it can't be fetched; may be repeated.
    #[arg(long, value_name = "NAME")]
    allow_missing: Vec<Kernel>,
    /// A static program, or a file, to put beside the agent; may be repeated.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The real world instead of the live tests: containerd-5670, a leak; runtimes, containers.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "command"])]
    scenario: Option<Scenario>,
    /// How often the scenario's container is restarted with each backend.
    #[arg(long, value_name = "N", default_value_t = scenario::RESTARTS, requires = "scenario")]
    restarts: u32,
    /// Instead of leaks, have pods come and go that leave nothing, for this long.
    #[arg(long, value_name = "SECONDS", requires = "scenario", value_parser = clap::value_parser!(u64).range(1..))]
    churn: Option<u64>,
    /// How long the command may take.
    #[arg(long, value_name = "SECONDS", default_value_t = LIMIT)]
    limit: u64,
    /// A command to run instead of the live tests. Without one, and if every kernel is run,
    /// docs/support.md is written anew.
    #[arg(last = true)]
    command: Vec<String>,
}

const HELP: &str = "\
Examples:
  cargo xtask vm                                     the live tests on every kernel, with each of
                                                     its backends
  cargo xtask vm --kernel 6.1 -- inotify-trace check
  cargo xtask vm --kernel 7 -- live filters          live tests with `filters` in their name
  cargo xtask vm -- sh -c 'inotify-trace -d 3 & sleep 1; inotifyd true /tmp'
  cargo xtask vm --scenario containerd-5670 --kernel bullseye
                                                     a pod whose container crashes again and again,
                                                     with Debian 11's containerd, which leaks an
                                                     instance each time

The command's exit status is handed on, or 125 if the kernel did not let it end. The live tests
(`live`, `workload`) are at hand if the command names them. Anything left in the machine's /out
comes to target/vm/SUITE/files, next to the machine's output and console; of a scenario, to
target/vm/SCENARIO-SUITE.

The scenario containerd-5670 runs containerd and runc of Debian 11, 12 and 13 on their own kernels,
and of Debian 11 on sid's. What inotify-trace says is compared with /proc, for each backend. With
--churn SECONDS pods come and go on Debian 12 and 13 instead, of which it must say nothing.
The scenario runtimes runs a container each with runc, crun, containerd, Podman and Docker of Debian
12. What inotify-trace calls them is compared with what their runtimes do.

Environment:
  MIRROR          a Debian mirror's address, instead of the one apt uses
  XDG_CACHE_HOME  where to keep kernels and Debian's packages, instead of ~/.cache";

/// The live tests take a minute or two with each backend on a machine with nothing else to do.
const LIMIT: u64 = 1200;

/// What a run's own directory is called, before its process id.
const RUN: &str = "run-";

/// What all machines share.
struct Plan<'a> {
    cache: Cache,
    initramfs: PathBuf,
    /// Where machines write while they run.
    work: &'a Path,
    /// Where that is put when they have ended.
    results: PathBuf,
    limit: Duration,
    allow_missing: &'a [Kernel],
    /// Whether the command is the user's, whose output is what they want to see.
    is_command: bool,
    is_single: bool,
    /// Held while showing a machine's output: several end at the same time.
    terminal: Mutex<()>,
}

/// Boots the kernels and runs the command, or else the live tests, on each. Those show in the
/// documentation which kernels work.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if let Some(scenario) = args.scenario {
        return scenario.run(workspace, args);
    }
    let reports = boot(workspace, args)?;
    if args.command.is_empty() && args.kernels.is_empty() {
        match support::document(&reports, &kernels::ALL) {
            Ok(document) => {
                let path = workspace.root.join(support::PATH);
                fs::write(&path, document)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            Err(why) => step::say(&format!("{} is left as it is: {why}", support::PATH)),
        }
    }
    let what = if args.command.is_empty() { "the live tests" } else { "the command" };
    Ok(report::conclude(what, &reports)?)
}

/// Runs the live tests on every kernel, and the scenarios; kernels that can't be had are a failure, unless they may be
/// missing.
pub fn test(workspace: &Workspace, allow_missing: Vec<Kernel>) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        step::say("NOT RUN: tests on other kernels, whose virtual machines are for x86_64");
        return Ok(());
    }
    let (kernels, files, command) = (Vec::new(), Vec::new(), Vec::new());
    let (scenario, restarts, churn, limit) = (None, scenario::RESTARTS, None, LIMIT);
    let args = Args { kernels, allow_missing, files, scenario, restarts, churn, limit, command };
    let reports = boot(workspace, &args)?;
    // What is missing was said, and its absence is one failure, not two.
    let live_tests = report::conclude("the live tests on other kernels", &reports);
    step::say("a leak of real containerd, and versions that do not leak");
    Scenario::Containerd5670.run(workspace, &args)?;
    step::say("what containers of real runtimes are called");
    Scenario::Runtimes.run(workspace, &args)?;
    Ok(live_tests?)
}

fn boot(workspace: &Workspace, args: &Args) -> Result<Vec<Report>> {
    ensure!(
        env::consts::ARCH == "x86_64",
        "the virtual machines' kernels are for x86_64, and programs for them can't be built on {}",
        env::consts::ARCH
    );
    tools::setup()?;
    let kernels: Vec<_> = kernels::ALL
        .into_iter()
        .filter(|kernel| args.kernels.is_empty() || args.kernels.contains(kernel))
        .collect();
    let cache = Cache::open()?;

    let is_command = !args.command.is_empty();
    let script =
        if is_command { initramfs::script(&args.command) } else { suite::SCRIPT.to_owned() };
    let mut contents = vec![programs::agent(workspace)?];
    if !is_command || names_tests(&args.command) {
        contents.extend(programs::tests(workspace)?);
    }
    for file in &args.files {
        contents.push(Program::from_path(file)?);
    }

    let results = workspace.target.join("vm");
    let work = of_this_run(&results)?;
    let initramfs = work.path.join("initramfs.cpio");
    fs::write(&initramfs, initramfs::build(&contents, &[], &script)?)
        .with_context(|| format!("cannot write {}", initramfs.display()))?;
    let plan = Plan {
        cache,
        initramfs,
        work: &work.path,
        results,
        limit: Duration::from_secs(args.limit),
        allow_missing: &args.allow_missing,
        is_command,
        is_single: kernels.len() == 1,
        terminal: Mutex::new(()),
    };
    let reports = parallel::map(&kernels, |kernel| plan.run(*kernel));

    if !is_command {
        println!("{}", suite::table(&reports));
    }
    if !plan.is_single || !is_command {
        print!("{}", report::table(&reports));
    }
    Ok(reports)
}

/// Whether a command uses the live tests' binaries, which take long to build.
fn names_tests(command: &[String]) -> bool {
    command
        .iter()
        .flat_map(|argument| argument.split(|c: char| c.is_whitespace() || "/;&|()".contains(c)))
        .any(|word| word == programs::LIVE || word == programs::WORKLOAD)
}

impl Plan<'_> {
    fn run(&self, kernel: Kernel) -> Report {
        let mut report = Report::new(kernel, report::Result::Lost(String::new()));
        let image = match self.cache.image(kernel) {
            Ok(image) => image,
            Err(error) => {
                let allowed = self.allow_missing.contains(&kernel);
                let why = format!("{error:#}");
                step::say(&format!("{}: NOT RUN: {why}", report.name()));
                report.result = report::Result::NotRun { why, allowed };
                return report;
            }
        };
        report.version = Some(image.version.clone());
        step::say(&format!("booting {}", report.name()));
        let started = Instant::now();
        report.result = match self.boot(&image, &mut report) {
            Ok(Outcome::Ended(status)) => report::Result::Ended(status),
            Ok(Outcome::Lost { why, .. }) => report::Result::Lost(why),
            Err(error) => report::Result::Lost(format!("{error:#}")),
        };
        report.seconds = started.elapsed().as_secs_f32();
        if let Err(error) = self.finish(&mut report) {
            step::say(&format!("{}: {error:#}", report.name()));
        }
        report
    }

    fn boot(&self, image: &Image, report: &mut Report) -> Result<Outcome> {
        let directory = self.work.join(report.kernel.suite);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let machine = Machine {
            kernel: &image.path,
            initramfs: &self.initramfs,
            directory: &directory,
            memory: machine::MEMORY,
            limit: self.limit,
            stream: self.is_single,
        };
        let (outcome, retried) = machine.run(&report.name())?;
        report.retried = retried;
        Ok(outcome)
    }

    /// Shows what a machine wrote, and keeps it.
    fn finish(&self, report: &mut Report) -> Result<()> {
        let kernel = report.kernel;
        let directory = self.work.join(kernel.suite);
        let ports = Ports::of(&directory);
        let output = read(&ports.output)?;
        let files = directory.join("files");
        ports.unpack(&files)?;
        if !self.is_command {
            let suite = suite::Results::read(&files);
            let withdrawn = suite.withdrawn(kernel.backends);
            for backend in &withdrawn {
                let why = read(&files.join(format!("{backend}.txt")))?;
                step::say(&format!("{}: {backend} is not offered: {}", report.name(), why.trim()));
            }
            if matches!(report.result, report::Result::Ended(0)) && !withdrawn.is_empty() {
                report.result = report::Result::Lacks(withdrawn);
            }
            report.suite = Some(suite);
        }
        {
            let _alone = self.terminal.lock().unwrap_or_else(PoisonError::into_inner);
            let is_ok = matches!(report.result, report::Result::Ended(0));
            if !self.is_single {
                step::say(&format!("output of {}:", report.name()));
                if self.is_command || !is_ok {
                    print!("{output}");
                } else {
                    // Of tests that pass, their number is all there is to know.
                    output
                        .lines()
                        .filter(|line| line.starts_with("test result:"))
                        .for_each(|line| println!("{line}"));
                }
            }
            if let report::Result::Lost(why) = &report.result {
                step::say(&format!("{}: {why}; its console ends with:", report.name()));
                eprintln!("{}", console::tail(&read(&ports.console)?));
            }
            if let Ok(skipped) = fs::read_to_string(files.join("skipped-tests.txt")) {
                step::say(&format!("{}: skipped tests, and why:", report.name()));
                eprint!("{skipped}");
            }
        }
        keep(&directory, &self.results.join(kernel.suite))
    }
}

/// Puts a machine's directory where the last one's was.
fn keep(directory: &Path, kept: &Path) -> Result<()> {
    if kept.exists() {
        fs::remove_dir_all(kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    }
    fs::rename(directory, kept).with_context(|| format!("cannot write {}", kept.display()))
}

/// A directory of this run alone: several people may run kernels in one checkout.
fn of_this_run(parent: &Path) -> Result<Scratch> {
    forget_interrupted(parent);
    Scratch::new(parent.join(format!("{RUN}{}", process::id())))
}

/// Removes what runs left that were interrupted: some 20 MB each.
fn forget_interrupted(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(RUN));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::names_tests;

    #[test]
    fn tests_are_built_for_commands_that_name_them() {
        let names = |words: &[&str]| {
            names_tests(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(names(&["live", "filters"]));
        assert!(names(&["sh", "-c", "sleep 1; /programs/workload&"]));
        assert!(!names(&["inotify-trace", "check"]));
        assert!(!names(&["echo", "alive"]));
    }
}
