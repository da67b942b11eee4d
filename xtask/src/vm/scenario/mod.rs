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
use super::{Args, Work, parallel, programs, tools};
use crate::step;
use crate::workspace::Workspace;

mod check;
mod rootfs;
mod runtimes;
mod story;
mod truth;

use check::{Expected, Row};

/// Enough to tell a leak from an accident.
pub const RESTARTS: u32 = 8;

const NAME: &str = "containerd-5670";

/// What the machine runs at first, and then below Debian's root.
const SCRIPT: &str = include_str!("machine.sh");
const RESTARTS_SCRIPT: &str = include_str!("restarts.sh");

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
}

const CASES: [Case; 4] = [
    Case { kernel: "bullseye", suite: "bullseye", leaks: true },
    // Fixed in containerd 1.5.12 and 1.6.0.
    Case { kernel: "bookworm", suite: "bookworm", leaks: false },
    Case { kernel: "trixie", suite: "trixie", leaks: false },
    // This kernel removes the watch with the cgroup, and the instance stays without any.
    Case { kernel: "sid", suite: "bullseye", leaks: true },
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
            .collect();
        let results = workspace.target.join("vm");
        let work = Work::new(&results)?;
        let script = work.path.join("restarts.sh");
        fs::write(&script, RESTARTS_SCRIPT)
            .with_context(|| format!("cannot write {}", script.display()))?;
        let mut roots = BTreeMap::new();
        for (case, _) in &cases {
            roots.entry(case.suite).or_insert_with(|| {
                rootfs::archive(NAME, case.suite, PACKAGES).map_err(|error| format!("{error:#}"))
            });
        }
        let plan = Plan {
            args,
            cache: Cache::open()?,
            programs: vec![programs::agent(workspace)?, Program::from_path(&script)?],
            roots,
            work: &work.path,
            results: &results,
            is_single: cases.len() == 1,
        };
        let (reports, rows): (Vec<_>, Vec<_>) =
            parallel::map(&cases, |(case, kernel)| plan.run(*case, *kernel)).into_iter().unzip();
        if rows.iter().any(|rows| !rows.is_empty()) {
            println!("{}", table(&cases, &reports, &rows));
        }
        print!("{}", report::table(&reports));
        Ok(report::conclude(&format!("the scenario {NAME}"), &reports)?)
    }
}

fn kernel(suite: &str) -> Option<Kernel> {
    kernels::ALL.into_iter().find(|kernel| kernel.suite == suite)
}

impl Plan<'_> {
    fn run(&self, case: Case, kernel: Kernel) -> (Report, Vec<Row>) {
        let mut report = Report {
            kernel,
            version: None,
            result: report::Result::Ended(0),
            seconds: 0.0,
            retried: false,
            suite: None,
        };
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
                return (report, Vec::new());
            }
        };
        report.version = Some(image.version.clone());
        let started = Instant::now();
        let rows = self.boot(case, &image, root, &mut report).unwrap_or_else(|error| {
            report.result = report::Result::Lost(format!("{error:#}"));
            Vec::new()
        });
        report.seconds = started.elapsed().as_secs_f32();
        (report, rows)
    }

    fn root(&self, case: Case) -> Result<&Path> {
        match &self.roots[case.suite] {
            Ok(path) => Ok(path),
            Err(why) => Err(anyhow::anyhow!("Debian {} can't be had: {why}", case.suite)),
        }
    }

    fn boot(
        &self,
        case: Case,
        image: &Image,
        root: &Path,
        report: &mut Report,
    ) -> Result<Vec<Row>> {
        let initramfs = self.work.join(format!("{}.cpio", case.kernel));
        let script = format!("export RESTARTS={}\n{SCRIPT}", self.args.restarts);
        write(&initramfs, &initramfs::build(&self.programs, &[], &script)?, root)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let boot = Boot {
            image,
            name: format!("{} with containerd of {}", report.name(), case.suite),
            directory: &format!("{NAME}-{}", case.kernel),
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
                return Ok(Vec::new());
            }
            Outcome::Lost { why, .. } => {
                report.result = report::Result::Lost(why);
                return Ok(Vec::new());
            }
        }
        let expected = Expected {
            restarts: usize::try_from(self.args.restarts)?,
            leaks: case.leaks,
            backends: report.kernel.backends,
        };
        let rows = check::read(&kept.join("files"), expected)
            .with_context(|| format!("in {}", kept.display()))?;
        let problems: Vec<_> = rows
            .iter()
            .flat_map(|row| row.problems.iter().map(|it| format!("{}: {it}", row.backend)))
            .collect();
        if !problems.is_empty() {
            report.result = report::Result::Wrong(problems.join("; "));
        }
        Ok(rows)
    }
}

/// Writes an archive with another behind it, which the kernel unpacks as well.
fn write(path: &Path, first: &[u8], second: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::Write::write_all(&mut file, first)?;
    io::copy(&mut File::open(second)?, &mut file).map(drop)
}

const HEADING: &str = "Instances leaked, by /proc (truth), by the trace, which may have lost something, the list, and leaks:\n";

/// A line for each backend of each machine that got to its end.
fn table(cases: &[(Case, Kernel)], reports: &[Report], rows: &[Vec<Row>]) -> String {
    let mut lines = vec![
        [
            "suite",
            "containerd",
            "kernel",
            "backend",
            "restarts",
            "truth",
            "trace",
            "list",
            "leaks",
            "lost",
        ]
        .map(str::to_owned),
    ];
    for (((case, _), report), rows) in cases.iter().zip(reports).zip(rows) {
        lines.extend(rows.iter().map(|row| {
            [
                case.suite.to_owned(),
                row.containerd.clone(),
                report.version.clone().unwrap_or_default(),
                row.backend.clone(),
                row.restarts.to_string(),
                row.truth.to_string(),
                row.trace.to_string(),
                row.list.to_string(),
                row.leaks.to_string(),
                if row.lost.is_empty() { "-".to_owned() } else { row.lost.join(", ") },
            ]
        }));
    }
    let mut table = HEADING.to_owned();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
            table.push_str(&match column {
                0..4 => format!("{cell:width$}  "),
                9 => format!("{cell}\n"),
                _ => format!("{cell:>width$}  "),
            });
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::check::Row;
    use super::{CASES, HEADING, Scenario, kernel, table};
    use crate::vm::report::{Report, Result};

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

    #[test]
    fn the_table_has_a_line_for_each_backend() {
        let kernel = kernel("sid").unwrap();
        let report = Report {
            kernel,
            version: Some("7.2.13-1".to_owned()),
            result: Result::Ended(0),
            seconds: 1.0,
            retried: false,
            suite: None,
        };
        let row = |backend: &str| Row {
            containerd: "1.4.13".to_owned(),
            backend: backend.to_owned(),
            restarts: 8,
            truth: 8,
            trace: 8,
            list: 10,
            leaks: 8,
            lost: if backend == "fentry" { Vec::new() } else { vec!["7 runs".to_owned()] },
            problems: Vec::new(),
        };
        assert_eq!(
            table(&[(CASES[3], kernel)], &[report], &[vec![row("fentry"), row("kprobe")]]),
            format!(
                "{HEADING}\
                 suite     containerd  kernel    backend  restarts  truth  trace  list  leaks  lost\n\
                 bullseye  1.4.13      7.2.13-1  fentry          8      8      8    10      8  -\n\
                 bullseye  1.4.13      7.2.13-1  kprobe          8      8      8    10      8  7 runs\n"
            )
        );
    }
}
