//! `cargo xtask bench`: what inotify-trace costs and can take, next to bpftrace.
//!
//! The user's part sets up, builds, and writes the report; it starts itself a second time, as root
//! and optimised, for the measurements.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::agent;
use crate::apt;
use crate::environment;
use crate::privilege;
use crate::step;
use crate::workspace::{Workspace, expect_built, which};

mod backends;
mod calls;
mod idle;
mod list;
mod load;
mod machine;
mod pace;
mod proc;
mod record;
mod report;
mod startup;
mod stats;
mod storm;
mod sys;
mod told;
mod tracer;
mod virtual_machine;

pub use backends::measure as measure_backends;
pub use list::{Rounds, measure_rounds as measure_list, scan};
pub use load::{Load, run as run_load};

/// The hidden task that measures.
const MEASURE: &str = "bench-measure";

/// Where the report goes, below the root.
const REPORT: &str = "docs/benchmarks.md";

/// What is measured, and with what.
pub struct Bench {
    agent: PathBuf,
    bpftrace: Option<PathBuf>,
    /// For output: in memory, if possible, so that no disk is measured.
    scratch: PathBuf,
    quick: bool,
    /// For how long a tracer that does not say when it has attached may pause on the way.
    settle: Duration,
    /// What makes figures worse than they are, each once.
    disturbances: RefCell<BTreeSet<String>>,
}

impl Bench {
    fn new(agent: &Path, scratch: &Scratch, quick: bool) -> Self {
        Self {
            agent: agent.to_owned(),
            bpftrace: which("bpftrace"),
            scratch: scratch.0.clone(),
            quick,
            settle: Duration::from_millis(400),
            disturbances: RefCell::default(),
        }
    }

    /// A choice between a full run and a quick one.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Notes tracers that are not ours, before a round.
    fn look_for_tracers(&self) {
        self.disturbed(machine::other_tracers());
    }

    /// Says loudly what must be in the report.
    fn disturbed(&self, by: Option<String>) {
        if let Some(by) = by
            && self.disturbances.borrow_mut().insert(by.clone())
        {
            step::say(&format!("WARNING: {by}; every figure may be worse for it"));
        }
    }
}

/// Builds, measures, and writes the report.
pub fn run(workspace: &Workspace, quick: bool) -> Result<()> {
    setup();
    let report = measure_here(workspace, quick, false)?;
    let section = list::measure(workspace, quick)?;
    let report = report::with_section(&report, &wrap(&section));
    let section = virtual_machine::measure(workspace, quick).unwrap_or_else(|error| {
        step::say(&format!("NOT MEASURED in a virtual machine: {error:#}"));
        virtual_machine::not_measured(&error)
    });
    write(workspace, &report::with_section(&report, &wrap(&section)))
}

/// Measures what a virtual machine does, and puts that into the report there is.
pub fn run_only_vm(workspace: &Workspace, quick: bool) -> Result<()> {
    run_only(workspace, || virtual_machine::measure(workspace, quick))
}

/// Measures what looks at the machine cost, and puts that into the report there is.
pub fn run_only_list(workspace: &Workspace, quick: bool) -> Result<()> {
    run_only(workspace, || list::measure(workspace, quick))
}

/// Measures recordings, and puts that into the report there is.
pub fn run_only_record(workspace: &Workspace, quick: bool) -> Result<()> {
    run_only(workspace, || measure_here(workspace, quick, true))
}

fn run_only(workspace: &Workspace, measure: impl FnOnce() -> Result<String>) -> Result<()> {
    setup();
    let path = workspace.root.join(REPORT);
    let report =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // What was measured before is better than that nothing was.
    let section = measure()?;
    write(workspace, &report::with_section(&report, &wrap(&section)))
}

/// Measures on this machine, as root; the report.
fn measure_here(workspace: &Workspace, quick: bool, only_record: bool) -> Result<String> {
    let agent = agent::build(workspace, false)?;
    let program = build_self(workspace)?;
    let program = program.to_str().context("the target directory's name is not UTF-8")?;
    let mut command = privilege::as_root(program, "attach tracers to the kernel")?;
    command.arg(MEASURE).arg("--agent").arg(&agent);
    if quick {
        command.arg("--quick");
    }
    if only_record {
        command.arg("--only-record");
    }
    step::say("measuring; best on a machine that does nothing else");
    // Root measures, but the report is the user's file.
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", step::shown(&command)))?;
    if !output.status.success() {
        bail!("measuring failed ({}); the reason is above", output.status);
    }
    String::from_utf8(output.stdout).context("the report is not UTF-8")
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

/// Installs bpftrace if it is missing, and other programs. Without it there is nothing to compare
/// with, which is said; the rest is still worth measuring.
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

/// An optimised build of this program: the loads are loops, and output is read by the gigabyte.
fn build_self(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = environment::cargo();
    command.current_dir(&workspace.root).args(["build", "--release", "--package", "xtask"]);
    step::run("building the loads", &mut command)?;
    let program = workspace.target.join("release").join("xtask");
    expect_built("the program for the loads", program)
}

/// The hidden task: measures, and prints the report.
pub fn measure(agent: &Path, quick: bool, only_record: bool) -> Result<()> {
    let started = Instant::now();
    let scratch = Scratch::new()?;
    let bench = Bench::new(agent, &scratch, quick);
    if bench.bpftrace.is_none() {
        step::say("SKIPPED: every comparison with bpftrace, because there is no bpftrace");
    }
    if only_record {
        println!("{}", wrap(record::measure(&bench)?.trim_end()));
        return Ok(());
    }
    let version = bench.bpftrace.as_ref().and_then(|program| {
        let version = step::output_of(Command::new(program).arg("--version")).ok()?;
        Some(version.trim().trim_start_matches("bpftrace ").to_owned())
    });

    let mut sections = String::new();
    for section in [
        startup::measure,
        storm::measure,
        pace::measure,
        calls::measure,
        idle::measure,
        record::measure,
    ] {
        bench.look_for_tracers();
        bench.disturbed(machine::other_programs());
        sections += &section(&bench)?;
    }
    bench.look_for_tracers();
    let mut warnings = bench.disturbances.take();
    if bench.bpftrace.is_none() {
        warnings.insert("bpftrace is not installed: nothing was compared with it".to_owned());
    }
    let machine = machine::describe(version.as_deref());
    let report = report::introduction(&machine, quick, &warnings) + &sections;
    println!("{}", wrap(report.trim_end()));
    step::say(&format!("measured for {:.0} s", started.elapsed().as_secs_f32()));
    Ok(())
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = parent.join(format!("inotify-trace-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            step::say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// Breaks paragraphs into lines for those who read the file as it is; tables must stay as they are.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with(['|', '#', ' ']) {
            wrapped += line;
        } else {
            let mut column = 0;
            for word in line.split(' ') {
                if column > 0 && column + 1 + word.len() > 100 {
                    wrapped.push('\n');
                    column = 0;
                } else if column > 0 {
                    wrapped.push(' ');
                    column += 1;
                }
                wrapped += word;
                column += word.len();
            }
        }
        wrapped.push('\n');
    }
    wrapped.truncate(wrapped.trim_end().len());
    wrapped
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn paragraphs_are_wrapped_and_tables_are_not() {
        let row = format!("| {} |", "x ".repeat(80));
        assert_eq!(wrap(&row), row);
        let paragraph = wrap(&"word ".repeat(50));
        assert!(paragraph.lines().count() > 1);
        assert!(paragraph.lines().all(|line| line.len() <= 100));
    }
}
