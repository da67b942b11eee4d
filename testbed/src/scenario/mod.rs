//! The real world in virtual machines: leaks, with the programs that had them, containers, and the
//! package under systemd.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::step;
use xtask::workspace::Workspace;

use crate::boot::Boot;
use crate::initramfs::{self, Program};
use crate::kernels::{self, Cache, Image, Kernel};
use crate::machine::Outcome;
use crate::parallel::Job;
use crate::report::{self, Report};

mod check;
mod churn;
mod disk;
mod each_kernel;
mod instant;
mod kubernetes;
mod outcome;
mod past;
pub mod rootfs;
mod runtimes;
mod story;
mod systemd;
mod table;
mod truth;
mod verdict;

use check::{Expected, Row};
use churn::Churned;
pub use kubernetes::Tale;

/// Enough instances to distinguish a leak from an accident.
pub const RESTARTS: u32 = 8;

const NAME: &str = "containerd-5670";

/// The first script of the machine, and then the scripts below Debian's root.
const SCRIPT: &str = include_str!("machine.sh");
const SCRIPTS: [(&str, &str); 3] = [
    ("common.sh", include_str!("common.sh")),
    ("restarts.sh", include_str!("restarts.sh")),
    ("churn.sh", include_str!("churn.sh")),
];

/// Packages that the script needs besides a minimal Debian.
const PACKAGES: &[&str] = &["busybox-static", "containerd", "jq", "procps", "runc"];

/// Memory in MiB, with room for the archive and its unpacked files at the same time.
const MEMORY: u32 = 2048;

/// About how long a machine takes that does nothing else, in seconds.
const SECONDS: u32 = 400;

/// The status of a story whose pod containerd took apart: the machine was too busy for containerd.
const POD_CAME_APART: u8 = 75;

/// How often such a story is told again.
const RETRIES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A pod's container that crashes again and again leaves an instance in the pod's shim each
    /// time, which waits for memory.events of a cgroup that is gone.
    Containerd5670,
    /// A container of each runtime, which has a name.
    Runtimes,
    /// The Debian package under systemd, from its installation to its removal.
    Systemd,
    /// A node of Kubernetes, whose pods use up the limit.
    Kubernetes,
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            NAME => Ok(Self::Containerd5670),
            runtimes::NAME => Ok(Self::Runtimes),
            systemd::NAME => Ok(Self::Systemd),
            kubernetes::NAME => Ok(Self::Kubernetes),
            _ => Err(format!(
                "there are {NAME}, {}, {} and {}",
                runtimes::NAME,
                systemd::NAME,
                kubernetes::NAME
            )),
        }
    }
}

/// One machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    /// The kernel's suite.
    kernel: &'static str,
    /// The suite of containerd and runc.
    suite: &'static str,
    /// Whether this containerd has that bug. Apps that end at once leave instances with the others,
    /// too, on kernels that don't remove watches.
    leaks: bool,
    /// Whether this kernel removes the watch with the cgroup, so that an instance stays without any.
    empties: bool,
}

const CASES: [Case; 5] = [
    Case { kernel: "bullseye", suite: "bullseye", leaks: true, empties: false },
    // Fixed in containerd 1.5.12 and 1.6.0.
    Case { kernel: "bookworm", suite: "bookworm", leaks: false, empties: false },
    Case { kernel: "trixie", suite: "trixie", leaks: false, empties: false },
    Case { kernel: "sid", suite: "bullseye", leaks: true, empties: true },
    // The newest one, on the newest kernel that keeps the watches of apps that end at once.
    Case { kernel: "trixie", suite: "sid", leaks: false, empties: false },
];

impl Case {
    /// What its files are named by.
    fn name(self) -> String {
        let Self { kernel, suite, .. } = self;
        if kernel == suite { kernel.to_owned() } else { format!("{kernel}-with-{suite}") }
    }
}

/// The caller's options.
pub struct Options {
    /// Empty means all kernels.
    pub kernels: Vec<Kernel>,
    /// Kernels that may be missing.
    pub allow_missing: Vec<Kernel>,
    pub restarts: u32,
    /// Instead of leaks, for how many seconds pods come and go.
    pub churn: Option<u64>,
    /// A Debian package, instead of one with the agent.
    pub package: Option<PathBuf>,
    /// What happens on the node of Kubernetes.
    pub story: Tale,
    pub limit: Duration,
    /// Whether to show the output while it comes.
    pub stream: bool,
}

/// The directories of the machines' input and results.
pub struct Place<'a> {
    pub workspace: &'a Workspace,
    pub agent: PathBuf,
    pub cache: &'a Cache,
    pub work: &'a Path,
    pub results: &'a Path,
}

/// A scenario on some machines.
pub trait Run {
    /// The jobs to run, in any order.
    fn jobs(&self) -> Vec<Job<'_>>;

    /// The results, once all jobs have run; prints tables.
    fn conclude(&self) -> Vec<Report>;
}

/// The leak on some machines.
struct Leaks<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
    cases: Vec<(Case, Kernel)>,
    programs: Vec<Program>,
    told: Mutex<Vec<(Case, Kernel, Report, Told)>>,
}

/// The results of a machine.
#[derive(Clone, Debug, Default)]
struct Told {
    rows: Vec<Row>,
    churned: Option<Churned>,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd5670 => NAME,
            Self::Runtimes => runtimes::NAME,
            Self::Systemd => systemd::NAME,
            Self::Kubernetes => kubernetes::NAME,
        }
    }

    /// Prepares the run that boots the machines and compares inotify-trace's output with the truth.
    pub fn prepare<'a>(
        self,
        place: &'a Place<'a>,
        options: &'a Options,
    ) -> Result<Box<dyn Run + 'a>> {
        Ok(match self {
            Self::Containerd5670 => Box::new(Leaks::new(place, options)?),
            Self::Runtimes => Box::new(runtimes::Runtimes::on_kernels(place, options)?),
            Self::Systemd => Box::new(systemd::Systemd::on_kernels(place, options)?),
            Self::Kubernetes => Box::new(kubernetes::Kubernetes::on_kernels(place, options)?),
        })
    }
}

impl<'a> Leaks<'a> {
    fn new(place: &'a Place<'a>, options: &'a Options) -> Result<Self> {
        let cases: Vec<_> = CASES
            .into_iter()
            .filter_map(|case| Some((case, kernel(case.kernel)?)))
            .filter(|(_, kernel)| options.kernels.is_empty() || options.kernels.contains(kernel))
            // A leak was not reported.
            .filter(|(case, _)| options.churn.is_none() || !case.leaks)
            .collect();
        let mut programs = vec![Program::from_path(&place.agent)?];
        for (name, text) in SCRIPTS {
            let script = place.work.join(name);
            fs::write(&script, text)
                .with_context(|| format!("cannot write {}", script.display()))?;
            programs.push(Program::from_path(&script)?);
        }
        Ok(Self { place, options, cases, programs, told: Mutex::default() })
    }
}

impl Run for Leaks<'_> {
    fn jobs(&self) -> Vec<Job<'_>> {
        let seconds =
            SECONDS.max(self.options.churn.map_or(0, |it| u32::try_from(it).unwrap_or(u32::MAX)));
        let job = |(case, kernel): &(Case, Kernel)| {
            let (case, kernel) = (*case, *kernel);
            Job::new(seconds, MEMORY, move || {
                let (report, told) = self.run(case, kernel);
                let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                all.push((case, kernel, report, told));
            })
        };
        self.cases.iter().map(job).collect()
    }

    fn conclude(&self) -> Vec<Report> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = std::mem::take(&mut *told);
        let (mut cases, mut reports) = (Vec::new(), Vec::new());
        let (mut rows, mut churned) = (Vec::new(), Vec::new());
        for wanted in &self.cases {
            let Some(index) = told.iter().position(|(case, ..)| *case == wanted.0) else {
                continue;
            };
            let (case, kernel, report, told) = &told[index];
            cases.push((*case, *kernel));
            reports.push(report.clone());
            rows.push(told.rows.clone());
            churned.push(told.churned.clone());
        }
        if rows.iter().any(|rows| !rows.is_empty()) {
            println!("{}", table::restarts(&cases, &reports, &rows));
        }
        if churned.iter().any(Option::is_some) {
            println!("{}", table::churn(&cases, &reports, &churned));
        }
        reports
    }
}

fn kernel(suite: &str) -> Option<Kernel> {
    kernels::ALL.into_iter().find(|kernel| kernel.suite == suite)
}

fn root(case: Case) -> Result<PathBuf> {
    rootfs::archive(NAME, case.suite, PACKAGES)
        .with_context(|| format!("Debian {} can't be had", case.suite))
}

impl Leaks<'_> {
    fn run(&self, case: Case, kernel: Kernel) -> (Report, Told) {
        let mut report = Report::new(kernel, report::Result::Ended(0));
        let (root, image) = match root(case).and_then(|root| {
            let image = self.place.cache.image(kernel);
            Ok((root, image.with_context(|| format!("the kernel of Debian {}", kernel.suite))?))
        }) {
            Ok(there) => there,
            Err(error) => {
                let allowed = self.options.allow_missing.contains(&kernel);
                let why = format!("{error:#}");
                step::say(&format!("{}: NOT RUN: {why}", report.name()));
                report.result = report::Result::NotRun { why, allowed };
                return (report, Told::default());
            }
        };
        report.version = Some(image.version.clone());
        let started = Instant::now();
        let told = self.boot(case, &image, &root, &mut report).unwrap_or_else(|error| {
            report.result = report::Result::Lost(format!("{error:#}"));
            Told::default()
        });
        report.seconds = started.elapsed().as_secs_f32();
        (report, told)
    }

    fn boot(&self, case: Case, image: &Image, root: &Path, report: &mut Report) -> Result<Told> {
        let (story, churn) = match self.options.churn {
            None => ("restarts", 0),
            Some(seconds) => ("churn", seconds),
        };
        let kind = if churn > 0 { "-churn" } else { "" };
        let directory = format!("{NAME}{kind}-{}", case.name());
        let busybox = self.place.cache.busybox(image.architecture)?;
        let initramfs = self.place.work.join(format!("{directory}.cpio"));
        let restarts = self.options.restarts;
        let script = format!("export STORY={story} RESTARTS={restarts} CHURN={churn}\n{SCRIPT}");
        write(&initramfs, &initramfs::build(&busybox, &self.programs, &[], &script)?, root)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let boot = Boot {
            image,
            suite: case.kernel,
            name: format!("{} with containerd of {}", report.name(), case.suite),
            directory: &directory,
            initramfs: &initramfs,
            disk: None,
            own_time: false,
            memory: MEMORY,
            limit: self.options.limit,
            stream: self.options.stream,
        };
        let mut end = boot.run(self.place.work, self.place.results)?;
        for _ in 0..RETRIES {
            if !matches!(end.outcome, Outcome::Ended(POD_CAME_APART)) {
                break;
            }
            step::say(&format!("{}: again, for containerd took a pod apart", report.name()));
            end = boot.run(self.place.work, self.place.results)?;
        }
        if !outcome::is_well(&end, report, self.options.stream) {
            return Ok(Told::default());
        }
        let kept = end.kept;
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
        if let Some(seconds) = self.options.churn {
            let churned = Some(churn::read(files, seconds)?);
            return Ok(Told { churned, ..Told::default() });
        }
        let expected = Expected {
            restarts: usize::try_from(self.options.restarts)?,
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
        assert_eq!("systemd".parse(), Ok(Scenario::Systemd));
        assert_eq!("kubernetes".parse(), Ok(Scenario::Kubernetes));
        assert!("containerd".parse::<Scenario>().unwrap_err().contains("containerd-5670"));
    }

    #[test]
    fn every_case_has_a_kernel() {
        assert!(CASES.iter().all(|case| kernel(case.kernel).is_some()));
    }
}
