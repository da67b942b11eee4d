//! `cargo xtask test`: the tiers of tests, and what failed last time.

use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::architecture;
use xtask::fuzz::{Fuzzer, Target};
use xtask::kubernetes;
use xtask::privilege;
use xtask::programs::{self as builds, Tests};
use xtask::python;
use xtask::step;
use xtask::workspace::Workspace;
use xtask::{agent, packages};

use crate::boot::of_this_run;
use crate::failures::{self, Failure};
use crate::fuzzing::Fuzzing;
use crate::here::{self, Here};
use crate::initramfs::Program;
use crate::kernels::{self, BACKENDS, Cache, Kernel};
use crate::live::{self, Plan, Task};
use crate::machine;
use crate::parallel;
use crate::programs;
use crate::report::{self, Report};
use crate::results;
use crate::scenario::{self, Place, Scenario};
use crate::stages::Stages;
use crate::suite::Choice;
use crate::tools;
use crate::vm;

/// Which tests to run.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Only on this machine's kernel, and no fuzzing.
    #[arg(long, visible_alias = "no-vm")]
    quick: bool,
    /// Everything: each live test on each kernel with each backend, all scenarios, soaks.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Run only the tests that failed last time.
    #[arg(long, conflicts_with_all = ["quick", "full", "args"])]
    again: bool,
    /// A kernel that may be missing where it can't be fetched; may be repeated.
    #[arg(long, value_name = "NAME")]
    allow_missing: Vec<Kernel>,
    /// Arguments of `cargo test`, which chooses tests then: a test's name, `-p PACKAGE`,
    /// `-- --nocapture`.
    #[arg(last = true)]
    args: Vec<String>,
}

const HELP: &str = "\
Tiers, with the time that they take on 2 processors:
  --quick   on this kernel: unit tests, command line, exports, and the live tests; 7 minutes after
            the build
  (none)    that, and on Debian's kernels 5.10, 6.1, 6.12 and 7 in virtual machines the live tests
            that depend on the kernel, with each backend those that depend on the backend; the
            leak of containerd-5670 with the containerd that has it and with one that has not; 15 s
            of fuzzing a target; under 30 minutes with the build
  --full    everything: each live test on each kernel with each backend, all scenarios, pods that
            come and go for 10 minutes, 5 minutes of ordinary load, 10 minutes of fuzzing a target,
            the loads of the benchmarks, a fleet of 1,000 nodes; hours

What a tier leaves out is said at its end. A test that fails leaves its output, and what its agents
said and recorded, in a directory that is named with it; --again runs only what failed last time.";

/// How long each target is fuzzed, in seconds.
const FUZZED: u32 = 15;
const FUZZED_IN_FULL: u32 = 600;

/// How long the load of each soak goes on, in seconds.
const SOAKED: u32 = 600;

/// How long pods come and go, in seconds.
const CHURNED: u64 = 600;

/// How often the scenario's containers are restarted where there is less time: each restart is one
/// leaked instance more, and the fourth shows nothing that the third did not.
const FEW_RESTARTS: u32 = 4;

/// How many of the slowest tests are named.
const SLOWEST: usize = 10;

/// The kernels of the scenario containerd-5670 with the clearest results. Debian 11's containerd on
/// its own kernel has the bug that users have. Debian 12's is the closest one without the bug:
/// inotify-trace must report no leak there. On newer kernels, the live tests of leaks cover cgroups
/// that are gone.
const TELLING: [&str; 2] = ["bullseye", "bookworm"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Quick,
    Usual,
    Full,
    Again,
}

/// Runs the tests of a tier, or those that the user chooses.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let tier = match args {
        Args { quick: true, .. } => Tier::Quick,
        Args { full: true, .. } => Tier::Full,
        Args { again: true, .. } => Tier::Again,
        _ => Tier::Usual,
    };
    let mut stages = Stages::new();
    let again = if tier == Tier::Again { Some(failures::read(workspace)?) } else { None };
    if again.as_ref().is_some_and(Vec::is_empty) {
        step::say("nothing failed last time");
        return Ok(());
    }
    let python = stages.run("programs and packages that tests need", || {
        packages::setup();
        if tier != Tier::Quick && tools::is_possible() {
            tools::setup(architecture::here()?)?;
        }
        kubernetes::setup_if_possible(workspace);
        Ok(python::setup_if_possible(workspace))
    })?;
    let agent = stages.run("building the agent", || agent::build(workspace, false))?;
    if !args.args.is_empty() {
        return chosen(workspace, &agent, python.as_deref(), &args.args);
    }
    let tests = stages.run("building the tests", || builds::tests(workspace))?;
    let soak = (tier == Tier::Full).then_some(SOAKED);
    let here = Here { workspace, agent: &agent, tests: &tests, python: python.as_deref(), soak };
    let elsewhere = Elsewhere { workspace, agent: &agent, tests: &tests, args, tier };
    let again = again.as_deref();
    let mut not_run = Vec::new();
    let fuzzing = match tier {
        Tier::Quick => None,
        _ => elsewhere.fuzzing(again, &mut not_run),
    };
    let (told, mut elsewhere, fuzzed) = thread::scope(|scope| -> Result<_> {
        // Most of it is compiling, for which this kernel's tests leave a processor: they run one
        // after the other.
        let fuzzing = fuzzing.as_ref().map(|it| scope.spawn(|| it.run()));
        let told = stages.run("tests on this kernel", || here.run(again))?;
        let elsewhere = match tier {
            Tier::Quick => Told::default(),
            _ => elsewhere.run(&mut stages, again)?,
        };
        let fuzzed = fuzzing.map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok((told, elsewhere, fuzzed))
    })?;
    if let Some(fuzzed) = fuzzed {
        elsewhere.fuzzed = fuzzed.failed;
        not_run.extend(fuzzed.not_built);
    }
    elsewhere.not_run.extend(not_run);
    let are_loads_chosen = match again {
        Some(failures) => failures.contains(&Failure::Loads),
        None => tier == Tier::Full,
    };
    if are_loads_chosen {
        elsewhere.loads = stages.run("the loads of the benchmarks", || {
            Ok(loads(workspace, &agent).map_err(|error| format!("{error:#}")).err())
        })?;
    }
    conclude(workspace, &stages, &told, &elsewhere, tier)
}

/// Runs `cargo test` on this machine.
fn chosen(
    workspace: &Workspace,
    agent: &Path,
    python: Option<&Path>,
    args: &[String],
) -> Result<()> {
    let (mut command, target) = if names_packages(args) {
        builds::cargo(workspace, "test", architecture::here()?)?
    } else {
        builds::tests_command(workspace)?
    };
    match privilege::prefix("run the live tests") {
        // As the program that starts the tests, sudo leaves the compiling to the user.
        Ok(prefix) if !prefix.is_empty() => {
            command.args(["--config", &format!("target.{target}.runner={prefix:?}")]);
        }
        Ok(_) => {}
        Err(error) => step::say(&format!("{error:#}; tests that need root will be skipped")),
    }
    let skipped = here::directory(workspace).join("skipped.txt");
    fs::create_dir_all(here::directory(workspace))
        .and_then(|()| fs::write(&skipped, ""))
        .with_context(|| format!("cannot write {}", skipped.display()))?;
    command.env(builds::AGENT_VARIABLE, agent).env("INOTIFY_TRACE_SKIPPED", &skipped).args(args);
    if let Some(python) = python {
        command.env(python::VARIABLE, python);
    }
    let result = step::run("running the tests", &mut command);
    for line in fs::read_to_string(&skipped).unwrap_or_default().lines() {
        step::say(&format!("skipped: {line}"));
    }
    result
}

/// Whether the user chose packages, which the choice of all would override.
fn names_packages(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package") || arg == "--workspace")
}

/// Runs the loads of the benchmarks under the agent. A load that fails is an error; the measured
/// values are ignored, since other programs run at the same time.
fn loads(workspace: &Workspace, agent: &Path) -> Result<()> {
    let bench = builds::program(workspace, "bench", false)?;
    let bench = bench.to_str().context("the target directory's name is not UTF-8")?;
    let path = here::directory(workspace).join("bench.md");
    let report =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = privilege::as_root(bench, "attach tracers to the kernel")?;
    command.args(["here", "--quick", "--agent"]).arg(agent).stdout(report);
    step::run("the loads of the benchmarks", &mut command)
}

/// The tests that do not run on this machine's kernel.
struct Elsewhere<'a> {
    workspace: &'a Workspace,
    agent: &'a Path,
    tests: &'a Tests,
    args: &'a Args,
    tier: Tier,
}

/// The results of [`Elsewhere`].
#[derive(Default)]
struct Told {
    kernels: Vec<Report>,
    scenarios: Vec<(&'static str, Vec<Report>)>,
    fuzzed: Vec<Target>,
    /// The reason why the loads of the benchmarks failed.
    loads: Option<String>,
    /// The failed steps, with the reason.
    not_run: Vec<String>,
}

impl Elsewhere<'_> {
    fn run(&self, stages: &mut Stages, again: Option<&[Failure]>) -> Result<Told> {
        let mut told = Told::default();
        let (tasks, scenarios) = if tools::is_possible() {
            (self.tasks(again), self.scenarios(again))
        } else {
            told.not_run.push("tests in virtual machines, which are for x86_64 only".to_owned());
            (Vec::new(), Vec::new())
        };
        let results = live::results(self.workspace);
        let work = of_this_run(&results)?;
        let cache = Cache::open()?;
        let mut contents = vec![Program::from_path(self.agent)?];
        contents.extend(programs::tests(self.workspace, architecture::here()?, self.tests)?);
        let plan = Plan {
            cache: &cache,
            programs: &contents,
            files: &[],
            work: &work.path,
            results: results.clone(),
            name: None,
            memory: machine::MEMORY,
            limit: Duration::from_secs(vm::LIMIT),
            allow_missing: &self.args.allow_missing,
            stream: false,
            terminal: &Mutex::new(()),
        };
        let agent = self.agent.to_path_buf();
        let place = Place {
            workspace: self.workspace,
            agent,
            cache: &cache,
            work: &work.path,
            results: &results,
        };
        let runs = scenarios
            .iter()
            .map(|(name, scenario, options)| Ok((*name, scenario.prepare(&place, options)?)))
            .collect::<Result<Vec<_>>>()?;
        let reports = Mutex::new(Vec::new());
        stages.run("virtual machines", || {
            let mut jobs = plan.jobs(&tasks, &reports);
            jobs.extend(runs.iter().flat_map(|(_, run)| run.jobs()));
            parallel::run(jobs);
            Ok(())
        })?;
        told.kernels = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        report::sort(&mut told.kernels);
        told.scenarios = runs.iter().map(|(name, run)| (*name, run.conclude())).collect();
        Ok(told)
    }

    /// The targets to fuzz; None if there are none.
    fn fuzzing(&self, again: Option<&[Failure]>, not_run: &mut Vec<String>) -> Option<Fuzzing<'_>> {
        let is_chosen = |target: &Target| {
            let failure = Failure::Fuzzing { target: target.name().to_owned() };
            again.is_none_or(|failures| failures.contains(&failure))
        };
        let targets: Vec<_> = Target::all().iter().copied().filter(is_chosen).collect();
        if targets.is_empty() {
            return None;
        }
        if let Err(error) = Fuzzer::check() {
            not_run.push(format!("fuzzing: {error:#}"));
            return None;
        }
        let seconds = if self.tier == Tier::Full { FUZZED_IN_FULL } else { FUZZED };
        Some(Fuzzing::new(self.workspace, targets, seconds))
    }

    /// The live tests on other kernels.
    fn tasks(&self, again: Option<&[Failure]>) -> Vec<(Kernel, Task)> {
        let task = |kernel: Kernel| {
            let choice = match again {
                Some(failures) => Choice::again(failures, kernel)?,
                None if self.tier == Tier::Full => Choice::all(),
                None => Choice::dependent(kernel),
            };
            Some((kernel, Task::Tests(choice)))
        };
        kernels::ALL.into_iter().filter_map(task).collect()
    }

    /// The scenarios with their names.
    fn scenarios(
        &self,
        again: Option<&[Failure]>,
    ) -> Vec<(&'static str, Scenario, scenario::Options)> {
        let on = |names: &[&str]| -> Vec<Kernel> {
            kernels::ALL.into_iter().filter(|kernel| names.contains(&kernel.suite)).collect()
        };
        let options = |kernels, churn| scenario::Options {
            kernels,
            allow_missing: self.args.allow_missing.clone(),
            restarts: if self.tier == Tier::Full { scenario::RESTARTS } else { FEW_RESTARTS },
            churn,
            package: None,
            story: scenario::Tale::default(),
            limit: Duration::from_secs(vm::LIMIT),
            stream: false,
        };
        let all = [
            ("containerd-5670", Scenario::Containerd5670, None),
            ("containerd-5670 --churn", Scenario::Containerd5670, Some(CHURNED)),
            ("runtimes", Scenario::Runtimes, None),
            ("systemd", Scenario::Systemd, None),
        ];
        let chosen = |(name, scenario, churn): (&'static str, Scenario, Option<u64>)| {
            let kernels = match again {
                Some(failures) => {
                    let failed: Vec<_> = failures
                        .iter()
                        .filter_map(|failure| match failure {
                            Failure::Scenario { name: failed, suite } if failed == name => {
                                Some(suite.as_str())
                            }
                            _ => None,
                        })
                        .collect();
                    (!failed.is_empty()).then(|| on(&failed))
                }
                // No name means every kernel of the scenario.
                None if self.tier == Tier::Full => Some(Vec::new()),
                None => (name == "containerd-5670").then(|| on(&TELLING)),
            };
            kernels.map(|kernels| (name, scenario, options(kernels, churn)))
        };
        all.into_iter().filter_map(chosen).collect()
    }
}

/// Prints all results, and saves the failures.
fn conclude(
    workspace: &Workspace,
    stages: &Stages,
    told: &[results::Test],
    elsewhere: &Told,
    tier: Tier,
) -> Result<()> {
    let Told { kernels, scenarios, fuzzed, loads, not_run } = elsewhere;
    let mut failed = here::failures(told);
    failed.extend(live::failures(kernels));
    for (name, reports) in scenarios {
        let wrong = reports.iter().filter(|report| report.failure().is_some());
        failed.extend(wrong.map(|report| Failure::Scenario {
            name: (*name).to_owned(),
            suite: report.kernel.suite.to_owned(),
        }));
    }
    failed.extend(fuzzed.iter().map(|it| Failure::Fuzzing { target: it.name().to_owned() }));
    failed.extend(loads.iter().map(|_| Failure::Loads));
    failures::write(workspace, &failed)?;

    println!("\nOn this kernel: {}", here::summary(told));
    if !kernels.is_empty() {
        println!("\n{}", report::backends(kernels));
        print!("{}", report::table(kernels));
    }
    for (name, reports) in scenarios {
        print!("\nScenario {name}:\n{}", report::table(reports));
    }
    let there = kernels.iter().flat_map(|report| {
        let tests = report.suite.iter().flat_map(|it| BACKENDS.iter().zip(&it.tests));
        tests.flat_map(move |(backend, tests)| {
            tests.iter().map(move |test| (format!("{}, {backend}", report.name()), test))
        })
    });
    let all = told.iter().map(|test| ("this kernel".to_owned(), test)).chain(there);
    println!("\nThe slowest tests:\n{}", results::slowest(all, SLOWEST));
    println!("Stages:\n{}", stages.table());
    for what in not_run {
        println!("NOT RUN: {what}");
    }
    print!("{}", left_out(tier, told));
    if failed.is_empty() {
        return Ok(());
    }
    for failure in &failed {
        println!("FAILED: {failure}");
    }
    if let Some(why) = loads {
        println!("the loads of the benchmarks: {why}");
    }
    let first = kernels.iter().chain(scenarios.iter().flat_map(|(_, reports)| reports));
    if let Some(missing) = first.into_iter().find(|report| report.is_missing()) {
        let suite = missing.kernel.suite;
        println!("(--allow-missing {suite} lets pass that there is no kernel of {suite})");
    }
    bail!("{} failed; `cargo xtask test --again` runs only that", failed.len());
}

/// The parts that a tier does not test, by name.
fn left_out(tier: Tier, told: &[results::Test]) -> String {
    let names = |ends: &[&str]| -> String {
        let live = told.iter().filter(|test| test.binary == programs::LIVE);
        let names: Vec<_> = live
            .filter_map(|test| {
                let (name, selector) = test.name.rsplit_once("::")?;
                ends.contains(&selector).then_some(name)
            })
            .collect();
        names.join(", ")
    };
    let others = "containerd-5670 on trixie (with its containerd and that of sid) and sid, \
                  containerd-5670 --churn, runtimes, systemd; the loads of the benchmarks";
    match tier {
        Tier::Quick => format!(
            "Left out by --quick: fuzzing; the scenarios containerd-5670, runtimes and systemd; and on the \
             kernels 5.10, 6.1, 6.12 and 7 with each backend: {}\n",
            names(&["each_kernel", "each_backend"])
        ),
        Tier::Usual => format!(
            "Left out without --full: fuzzing for longer; minutes of ordinary load; a fleet of 1,000 nodes; the scenarios {others}; on other kernels \
             than this one what depends on neither kernel nor backend: {}; and there with other \
             backends than fentry what depends on the kernel only: {}\n",
            names(&["here"]),
            names(&["each_kernel"])
        ),
        Tier::Full => "Left out by --full: nothing\n".to_owned(),
        Tier::Again => "Left out by --again: all that passed last time\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::names_packages;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_looked_for_among_cargos_arguments_only() {
        assert!(names_packages(&args("-p inotify-trace some_test")));
        assert!(names_packages(&args("--package=inotify-trace")));
        assert!(!names_packages(&args("some_test -- -p")));
    }
}
