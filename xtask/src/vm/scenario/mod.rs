//! The real world in virtual machines: leaks, with the programs that had them, and containers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::initramfs::{self, Program};
use super::kernels::{self, Cache, Image, Kernel};
use super::machine::Outcome;
use super::report::{self, Report};
use super::single::{Boot, End};
use super::{Args, of_this_run, parallel, programs, tools};
use crate::step;
use crate::workspace::Workspace;

mod check;
mod churn;
mod past;
mod rootfs;
mod runtimes;
mod story;
mod table;
mod truth;
mod verdict;

use check::{Expected, Row};
use churn::Churned;

/// Enough to tell a leak from an accident.
pub const RESTARTS: u32 = 8;

const NAME: &str = "containerd-5670";

/// What the machine runs at first, and then below Debian's root.
const SCRIPT: &str = include_str!("machine.sh");
const SCRIPTS: [(&str, &str); 3] = [
    ("common.sh", include_str!("common.sh")),
    ("restarts.sh", include_str!("restarts.sh")),
    ("churn.sh", include_str!("churn.sh")),
];

/// What the script needs besides a minimal Debian.
const PACKAGES: &[&str] = &["busybox-static", "containerd", "jq", "procps", "runc"];

/// The archive and what is unpacked from it are there at the same time.
const MEMORY: &str = "2G";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A pod's container that crashes again and again leaves an instance in the pod's shim each
    /// time, which waits for memory.events of a cgroup that is gone.
    Containerd5670,
    /// A container of each runtime, which has a name.
    Runtimes,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            NAME => Ok(Self::Containerd5670),
            runtimes::NAME => Ok(Self::Runtimes),
            _ => Err(format!("there are {NAME} and {}", runtimes::NAME)),
        }
    }
}

/// One machine.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// By suite.
    kernel: &'static str,
    /// Where containerd and runc are from.
    suite: &'static str,
    leaks: bool,
    /// Whether this kernel removes the watch with the cgroup, so that an instance stays without any.
    empties: bool,
}

const CASES: [Case; 4] = [
    Case { kernel: "bullseye", suite: "bullseye", leaks: true, empties: false },
    // Fixed in containerd 1.5.12 and 1.6.0.
    Case { kernel: "bookworm", suite: "bookworm", leaks: false, empties: false },
    Case { kernel: "trixie", suite: "trixie", leaks: false, empties: false },
    Case { kernel: "sid", suite: "bullseye", leaks: true, empties: true },
];

/// What all machines share.
struct Plan<'a> {
    args: &'a Args,
    cache: Cache,
    programs: Vec<Program>,
    /// The archive of each suite, or why there is none.
    roots: BTreeMap<&'static str, Result<PathBuf, String>>,
    work: &'a Path,
    results: &'a Path,
    is_single: bool,
}

/// What is known of what happened on a machine.
#[derive(Debug, Default)]
struct Told {
    rows: Vec<Row>,
    churned: Option<Churned>,
}

impl Scenario {
    /// Boots the machines, and fails if inotify-trace does not say what is true there.
    pub fn run(self, workspace: &Workspace, args: &Args) -> Result<()> {
        match self {
            Self::Containerd5670 => Self::leak(workspace, args),
            Self::Runtimes => runtimes::run(workspace, args),
        }
    }

    /// Fails if inotify-trace and /proc differ in what was leaked.
    fn leak(workspace: &Workspace, args: &Args) -> Result<()> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "the virtual machines' kernels are for x86_64 only"
        );
        tools::setup()?;
        let cases: Vec<_> = CASES
            .into_iter()
            .filter_map(|case| Some((case, kernel(case.kernel)?)))
            .filter(|(_, kernel)| args.kernels.is_empty() || args.kernels.contains(kernel))
            // Of what leaks it says nothing that it leaks.
            .filter(|(case, _)| args.churn.is_none() || !case.leaks)
            .collect();
        let results = workspace.target.join("vm");
        let work = of_this_run(&results)?;
        let mut programs = vec![programs::agent(workspace)?];
        for (name, text) in SCRIPTS {
            let script = work.path.join(name);
            fs::write(&script, text)
                .with_context(|| format!("cannot write {}", script.display()))?;
            programs.push(Program::from_path(&script)?);
        }
        let mut roots = BTreeMap::new();
        for (case, _) in &cases {
            roots.entry(case.suite).or_insert_with(|| {
                rootfs::archive(NAME, case.suite, PACKAGES).map_err(|error| format!("{error:#}"))
            });
        }
        let plan = Plan {
            args,
            cache: Cache::open()?,
            programs,
            roots,
            work: &work.path,
            results: &results,
            is_single: cases.len() == 1,
        };
        let (reports, told): (Vec<_>, Vec<_>) =
            parallel::map(&cases, |(case, kernel)| plan.run(*case, *kernel)).into_iter().unzip();
        let (rows, churned): (Vec<_>, Vec<_>) =
            told.into_iter().map(|Told { rows, churned }| (rows, churned)).unzip();
        if rows.iter().any(|rows| !rows.is_empty()) {
            println!("{}", table::restarts(&cases, &reports, &rows));
        }
        if churned.iter().any(Option::is_some) {
            println!("{}", table::churn(&cases, &reports, &churned));
        }
        print!("{}", report::table(&reports));
        Ok(report::conclude(&format!("the scenario {NAME}"), &reports)?)
    }
}

fn kernel(suite: &str) -> Option<Kernel> {
    kernels::ALL.into_iter().find(|kernel| kernel.suite == suite)
}

impl Plan<'_> {
    fn run(&self, case: Case, kernel: Kernel) -> (Report, Told) {
        let mut report = Report::new(kernel, report::Result::Ended(0));
        let (root, image) = match self.root(case).and_then(|root| {
            let image = self.cache.image(kernel);
            Ok((root, image.with_context(|| format!("the kernel of Debian {}", kernel.suite))?))
        }) {
            Ok(there) => there,
            Err(error) => {
                let allowed = self.args.allow_missing.contains(&kernel);
                let why = format!("{error:#}");
                step::say(&format!("{}: NOT RUN: {why}", report.name()));
                report.result = report::Result::NotRun { why, allowed };
                return (report, Told::default());
            }
        };
        report.version = Some(image.version.clone());
        let started = Instant::now();
        let told = self.boot(case, &image, root, &mut report).unwrap_or_else(|error| {
            report.result = report::Result::Lost(format!("{error:#}"));
            Told::default()
        });
        report.seconds = started.elapsed().as_secs_f32();
        (report, told)
    }

    fn root(&self, case: Case) -> Result<&Path> {
        match &self.roots[case.suite] {
            Ok(path) => Ok(path),
            Err(why) => Err(anyhow::anyhow!("Debian {} can't be had: {why}", case.suite)),
        }
    }

    fn boot(&self, case: Case, image: &Image, root: &Path, report: &mut Report) -> Result<Told> {
        let initramfs = self.work.join(format!("{}.cpio", case.kernel));
        let (story, churn) = match self.args.churn {
            None => ("restarts", 0),
            Some(seconds) => ("churn", seconds),
        };
        let restarts = self.args.restarts;
        let script = format!("export STORY={story} RESTARTS={restarts} CHURN={churn}\n{SCRIPT}");
        write(&initramfs, &initramfs::build(&self.programs, &[], &script)?, root)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let boot = Boot {
            image,
            name: format!("{} with containerd of {}", report.name(), case.suite),
            directory: &format!("{NAME}{}-{}", if churn > 0 { "-churn" } else { "" }, case.kernel),
            initramfs: &initramfs,
            memory: MEMORY,
            limit: Duration::from_secs(self.args.limit),
            stream: self.is_single,
        };
        let End { outcome, retried, kept } = boot.run(self.work, self.results)?;
        report.retried = retried;
        match outcome {
            Outcome::Ended(0) => {}
            Outcome::Ended(status) => {
                if !self.is_single {
                    let output = fs::read_to_string(kept.join("output.txt")).unwrap_or_default();
                    step::say(&format!("output of {}:\n{output}", report.name()));
                }
                report.result = report::Result::Ended(status);
                return Ok(Told::default());
            }
            Outcome::Lost { why, .. } => {
                report.result = report::Result::Lost(why);
                return Ok(Told::default());
            }
        }
        let files = kept.join("files");
        let told =
            self.read(case, report, &files).with_context(|| format!("in {}", kept.display()))?;
        let problems: Vec<_> = told
            .rows
            .iter()
            .flat_map(|row| row.problems.iter().map(|it| format!("{}: {it}", row.backend)))
            .chain(told.churned.iter().flat_map(|it| it.problems.clone()))
            .collect();
        if !problems.is_empty() {
            report.result = report::Result::Wrong(problems.join("; "));
        }
        Ok(told)
    }

    fn read(&self, case: Case, report: &Report, files: &Path) -> Result<Told> {
        if let Some(seconds) = self.args.churn {
            let churned = Some(churn::read(files, seconds)?);
            return Ok(Told { churned, ..Told::default() });
        }
        let expected = Expected {
            restarts: usize::try_from(self.args.restarts)?,
            leaks: case.leaks,
            empties: case.empties,
            backends: report.kernel.backends,
        };
        let agent = &self.programs[0].path;
        Ok(Told { rows: check::read(files, agent, expected)?, churned: None })
    }
}

/// Writes an archive with another behind it, which the kernel unpacks as well.
fn write(path: &Path, first: &[u8], second: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::Write::write_all(&mut file, first)?;
    io::copy(&mut File::open(second)?, &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{CASES, Scenario, kernel};

    #[test]
    fn a_scenario_goes_by_its_name() {
        assert_eq!("containerd-5670".parse(), Ok(Scenario::Containerd5670));
        assert_eq!("runtimes".parse(), Ok(Scenario::Runtimes));
        assert!("containerd".parse::<Scenario>().unwrap_err().contains("containerd-5670"));
    }

    #[test]
    fn every_case_has_a_kernel() {
        assert!(CASES.iter().all(|case| kernel(case.kernel).is_some()));
    }
}
