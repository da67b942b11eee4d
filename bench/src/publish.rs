//! The user's part: installs tools, builds, starts the measurements as root, and writes the report.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xtask::agent;
use xtask::apt;
use xtask::step;
use xtask::workspace::{Workspace, which};

use crate::report::{self, wrap};
use crate::{compare, list, record, root};

/// The path of the report, below the root.
const REPORT: &str = "docs/benchmarks.md";

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// One minute instead of eleven: fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Measure only in a virtual machine, and keep the rest of the report.
    #[arg(long)]
    only_vm: bool,
    /// Measure only listings of the machine, and keep the rest of the report.
    #[arg(long, conflicts_with = "only_vm")]
    only_list: bool,
    /// Measure only recordings, and keep the rest of the report.
    #[arg(long, conflicts_with_all = ["only_vm", "only_list"])]
    only_record: bool,
    /// Compare two builds of the agent, or two commits, which are built, and write no report. CPU time
    /// is taken in 15 pairs of runs, the other one first each time. Exit code 1 if the new one is clearly
    /// slower at something: it took more in 13 of the pairs, and by more than 5 % in the middle of them;
    /// 2 if they cannot be compared. Of equal builds chance makes one measurement in 270 so uneven, whatever
    /// else the machine does.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["only_vm", "only_list", "only_record", "quick"])]
    pub check: Option<Vec<PathBuf>>,
}

/// Builds, measures, and writes the report.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let quick = args.quick;
    setup();
    match args {
        Args { only_vm: true, .. } => replace(workspace, || compare::measure(workspace, quick)),
        Args { only_list: true, .. } => replace(workspace, || list::measure(workspace, quick)),
        Args { only_record: true, .. } => replace(workspace, || here(workspace, quick, true)),
        _ => write(workspace, &everything(workspace, quick)?),
    }
}

/// Puts a section into the report there is, which must be readable before anything is measured.
fn replace(workspace: &Workspace, measure: impl FnOnce() -> Result<String>) -> Result<()> {
    let path = workspace.root.join(REPORT);
    let report =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    write(workspace, &report::with_section(&report, &wrap(&measure()?)))
}

/// The whole report.
fn everything(workspace: &Workspace, quick: bool) -> Result<String> {
    let report = here(workspace, quick, false)?;
    let section = list::measure(workspace, quick)?;
    let report = report::with_section(&report, &wrap(&section));
    let section = compare::measure(workspace, quick).unwrap_or_else(|error| {
        step::say(&format!("NOT MEASURED in a virtual machine: {error:#}"));
        compare::not_measured(&error)
    });
    Ok(report::with_section(&report, &wrap(&section)))
}

/// Measures on this machine, as root; the report.
fn here(workspace: &Workspace, quick: bool, only_record: bool) -> Result<String> {
    let agent = agent::build(workspace, false)?;
    let mut command = root::command("here", "attach tracers to the kernel")?;
    command.arg("--agent").arg(&agent);
    if quick {
        command.arg("--quick");
    }
    if only_record {
        command.arg("--only-record");
    }
    step::say("measuring; best on a machine that does nothing else");
    root::output(&mut command)
}

fn write(workspace: &Workspace, report: &str) -> Result<()> {
    let path = workspace.root.join(REPORT);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(&path, report).with_context(|| format!("cannot write {}", path.display()))?;
    step::say(&format!("wrote {}", path.display()));
    Ok(())
}

/// Installs bpftrace and other programs if they are missing. Without bpftrace the comparison is
/// left out, with a message.
fn setup() {
    list::setup();
    record::setup();
    if which("bpftrace").is_some() {
        return;
    }
    let installed =
        apt::update().and_then(|()| apt::install(&["bpftrace"], "to compare inotify-trace with"));
    if let Err(error) = installed {
        step::say(&format!("{error:#}"));
    }
}
