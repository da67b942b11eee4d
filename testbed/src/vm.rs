//! `cargo xtask vm`: live tests, a command or a scenario on the kernels that one chooses.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xtask::architecture::{Architecture, X86_64};
use xtask::dist;
use xtask::programs as builds;
use xtask::step;
use xtask::workspace::Workspace;

use crate::boot::of_this_run;
use crate::initramfs::{self, Program};
use crate::kernels::{self, Cache, Kernel};
use crate::live::{self, Plan, Task};
use crate::machine;
use crate::parallel;
use crate::programs;
use crate::report::{self, Report};
use crate::scenario::{self, Scenario, Tale};
use crate::suite::Choice;
use crate::support;
use crate::tools;

/// Which kernels to run, and what to run on them.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The machines' processor, x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", value_parser = Architecture::named, default_value = ARCH)]
    arch: &'static Architecture,
    /// A kernel to run, as 6.1 or bookworm; may be repeated. All if none is given.
    #[arg(long = "kernel", value_name = "NAME")]
    kernels: Vec<Kernel>,
    /// A kernel that may be missing where it can't be fetched; may be repeated.
    #[arg(long, value_name = "NAME")]
    allow_missing: Vec<Kernel>,
    /// A static program, or a file, to put beside the agent; may be repeated.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A program or a library to put where it is here; may be repeated.
    #[arg(long = "same-path", value_name = "FILE")]
    same_paths: Vec<PathBuf>,
    /// The real world instead of the live tests: containerd-5670, a leak; runtimes, containers;
    /// systemd, the Debian package; kubernetes, a node.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "same_paths", "command"])]
    scenario: Option<Scenario>,
    /// How often the scenario's container is restarted with each backend.
    #[arg(long, value_name = "N", default_value_t = scenario::RESTARTS, requires = "scenario")]
    restarts: u32,
    /// Instead of leaks, have pods come and go that leave nothing, for this long.
    #[arg(long, value_name = "SECONDS", requires = "scenario", value_parser = clap::value_parser!(u64).range(1..))]
    churn: Option<u64>,
    /// The package to install in the scenario systemd, such as one of `cargo xtask dist`, instead
    /// of one with the program that virtual machines have.
    #[arg(long, value_name = "FILE", requires = "scenario")]
    package: Option<PathBuf>,
    /// What happens on the node of the scenario kubernetes: messages, full or daemonset.
    #[arg(long, value_name = "NAME", default_value = "messages", requires = "scenario")]
    story: Tale,
    /// How long the command may take.
    #[arg(long, value_name = "SECONDS", default_value_t = LIMIT)]
    limit: u64,
    /// The machine's memory.
    #[arg(long, value_name = "MIB", default_value_t = machine::MEMORY, conflicts_with = "scenario")]
    memory: u32,
    /// What to call the machine's directory below target/vm: of one kernel only.
    #[arg(long, value_name = "NAME", conflicts_with = "scenario", requires = "kernels")]
    name: Option<String>,
    /// Every live test with each backend, instead of those that depend on kernel or backend.
    #[arg(long, conflicts_with_all = ["scenario", "command"])]
    all_tests: bool,
    /// Build the agent without optimisation: sooner built, and slower.
    #[arg(long)]
    debug: bool,
    /// A command to run instead of the live tests. Without one, and if every kernel is run,
    /// the processor's part of docs/support.md is written anew.
    #[arg(last = true)]
    command: Vec<String>,
}

const HELP: &str = "\
Examples:
  cargo xtask vm                                     what depends on the kernel on every kernel,
                                                     what depends on the backend with each
  cargo xtask vm --kernel 6.1 -- inotify-trace check
  cargo xtask vm --kernel 7 -- live filters          live tests with `filters` in their name
  cargo xtask vm -- sh -c 'inotify-trace -d 3 & sleep 1; inotifyd true /tmp'
  cargo xtask vm --arch aarch64 --kernel 6.12 -- inotify-trace check
                                                     with the program of a release for that
                                                     processor, which takes long to build
  cargo xtask vm --arch aarch64 --debug --kernel 6.1 -- live endings
                                                     with one that is built sooner
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
The scenario systemd installs the Debian package in Debian 11, 12 and 13, each on its own kernel and
under its own systemd, and does with it what users do: enable, kill -9, a hang, stop, its socket, a
reboot, an upgrade, removal. Each takes about five minutes; installing Debian for it, five more once.
The scenario kubernetes runs etcd, API server, kubelet and containerd on Debian 12. In the story
messages, programs fail at the limit as people see it, and what inotify-trace says of them is compared
with what is known; in full, 66 pods use up the limit that Linux sets; in daemonset, the agent is a pod
of the node, of which the plug-in of kubectl and Prometheus ask what other pods leak. kubelet and API
server are built for it once, which takes up to half an hour.

Environment:
  MIRROR          a Debian mirror's address, instead of the one apt uses
  XDG_CACHE_HOME  where to keep kernels and Debian's packages, instead of ~/.cache";

/// A machine that hangs is given up. Everything else takes a fraction of it, on a busy machine too.
pub const LIMIT: u64 = 3600;

/// Boots the kernels and runs the command, or else the live tests, on each. Those show in the
/// documentation which kernels work.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    tools::setup(args.arch)?;
    if let Some(scenario) = args.scenario {
        ensure!(*args.arch == X86_64, "the scenarios' programs are for x86_64 only");
        return run_scenario(workspace, args, scenario);
    }
    let reports = boot(workspace, args)?;
    if args.command.is_empty() && args.kernels.is_empty() && !args.all_tests {
        let path = workspace.root.join(support::PATH);
        let before = fs::read_to_string(&path).unwrap_or_default();
        match support::document(&before, &reports, args.arch) {
            Ok(document) => {
                fs::write(&path, document)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            Err(why) => step::say(&format!("{} is left as it is: {why}", support::PATH)),
        }
    }
    let what = if args.command.is_empty() { "the live tests" } else { "the command" };
    Ok(report::conclude(what, &reports)?)
}

fn run_scenario(workspace: &Workspace, args: &Args, scenario: Scenario) -> Result<()> {
    let results = live::results(workspace);
    let work = of_this_run(&results)?;
    let agent = match &args.package {
        None => builds::program(workspace, xtask::agent::NAME, args.debug)?,
        // It has one, and the agent here need not be built.
        Some(package) if scenario == Scenario::Systemd => package.clone(),
        Some(_) => bail!("only the scenario systemd installs a --package"),
    };
    let options = scenario::Options {
        kernels: args.kernels.clone(),
        allow_missing: args.allow_missing.clone(),
        restarts: args.restarts,
        churn: args.churn,
        package: args.package.clone(),
        story: args.story,
        limit: Duration::from_secs(args.limit),
        stream: args.kernels.len() == 1,
    };
    let place = scenario::Place {
        workspace,
        agent,
        cache: &Cache::open()?,
        work: &work.path,
        results: &results,
    };
    let run = scenario.prepare(&place, &options)?;
    parallel::run(run.jobs());
    let reports = run.conclude();
    print!("{}", report::table(&reports));
    Ok(report::conclude(&format!("the scenario {}", scenario.name()), &reports)?)
}

fn boot(workspace: &Workspace, args: &Args) -> Result<Vec<Report>> {
    let is_command = !args.command.is_empty();
    let with_tests = !is_command || names_tests(&args.command);
    if !args.arch.is_here() {
        dist::setup_for(args.arch)?;
    }
    let agent = if args.arch.is_here() || args.debug {
        builds::program_for(workspace, args.arch, xtask::agent::NAME, args.debug)?
    } else {
        // What users of that architecture get, since nothing else is built for it.
        dist::program(workspace, args.arch)?
    };
    let tests = || match args.arch.is_here() {
        true => builds::tests(workspace),
        false => builds::tests_for(workspace, args.arch, programs::PACKAGE, programs::LIVE),
    };
    let tests = with_tests.then(tests).transpose()?;
    let mut contents = vec![Program::from_path(&agent)?];
    if let Some(tests) = tests {
        contents.extend(programs::tests(workspace, args.arch, &tests)?);
    }
    for file in &args.files {
        contents.push(Program::from_path(file)?);
    }
    let task = |kernel| match (is_command, args.all_tests) {
        (true, _) => Task::Command(initramfs::script(&args.command)),
        (false, true) => Task::Tests(Choice::all()),
        (false, false) => Task::Tests(Choice::dependent(kernel)),
    };
    // Options name kernels by their suites, which are those of all architectures.
    let names = |kernels: &[Kernel], kernel: Kernel| {
        kernels.iter().any(|named| named.suite == kernel.suite)
    };
    let all = kernels::of(args.arch);
    let allow_missing: Vec<_> =
        all.iter().copied().filter(|kernel| names(&args.allow_missing, *kernel)).collect();
    let tasks: Vec<_> = all
        .iter()
        .filter(|kernel| args.kernels.is_empty() || names(&args.kernels, **kernel))
        .map(|kernel| (*kernel, task(*kernel)))
        .collect();
    let results = live::results(workspace);
    let work = of_this_run(&results)?;
    let plan = Plan {
        cache: &Cache::open()?,
        programs: &contents,
        files: &args.same_paths,
        work: &work.path,
        results,
        name: args.name.as_deref(),
        memory: args.memory,
        limit: Duration::from_secs(args.limit),
        allow_missing: &allow_missing,
        stream: tasks.len() == 1,
        terminal: &Mutex::new(()),
    };
    let reports = Mutex::new(Vec::new());
    parallel::run(plan.jobs(&tasks, &reports));
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    report::sort(&mut reports);
    if !is_command {
        println!("{}", report::backends(&reports));
    }
    if tasks.len() > 1 || !is_command {
        print!("{}", report::table(&reports));
    }
    Ok(reports)
}

/// Whether a command uses the live tests' binaries, which take long to build.
fn names_tests(command: &[String]) -> bool {
    command
        .iter()
        .flat_map(|argument| argument.split(|c: char| c.is_whitespace() || "/;&|()".contains(c)))
        .any(|word| [programs::LIVE, programs::WORKLOAD, programs::RUNNER].contains(&word))
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
