//! What a look at the machine costs, next to other programs that look.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::measured::Measured;
use self::tools::{FIND, JSON, PROCESSES, SCANNER, WALK};
use super::report::verdict;
use super::virtual_machine::{emulator, one_line, with_libraries};
use super::{build_self, machine};
use crate::agent;
use crate::apt;
use crate::privilege;
use crate::step;
use crate::vm;
use crate::workspace::{Workspace, which};

mod load;
mod measured;
mod plot;
mod scanner;
mod tools;

pub use load::{Hold, hold};
pub use scanner::scan;
pub use tools::{Rounds, measure as measure_rounds};

const HEADING: &str = "## A look at the machine";

/// The figure, below the root; the report is beside it.
const FIGURE: &str = "docs/list-scale.svg";

/// Programs to compare with, and the packages they are in: of the first that exists.
const PROGRAMS: [(&str, &[&str]); 3] =
    [("find", &["findutils"]), ("lsfd", &["util-linux-extra", "util-linux"]), ("lsof", &["lsof"])];

/// The kernel with BPF iterators.
const KERNEL: &str = "6.12";

/// For 1200 threads, and the programs in memory.
const MEMORY: u32 = 2 << 10;

const LIMIT: Duration = Duration::from_secs(900);

/// Installs what is compared with; what cannot be had is named in the report.
pub fn setup() {
    for (program, packages) in PROGRAMS {
        if which(program).is_none() {
            let package = packages.iter().find(|package| apt::candidate(package).is_some());
            let package = package.or(packages.first()).copied().unwrap_or(program);
            let installed = apt::install(&[package], "to compare inotify-trace list with");
            if let Err(error) = installed {
                step::say(&format!("{error:#}"));
            }
        }
    }
}

/// Measures here and in a virtual machine; draws the figure; the section of the report.
pub fn measure(workspace: &Workspace, quick: bool) -> Result<String> {
    let here = here(workspace, quick)?;
    let each = tools::each();
    let growing = tools::each_growing();
    let mut text = format!(
        "{HEADING}\n\n\
         `inotify-trace list` and other programs look at a machine with {PROCESSES} processes of {} \
         threads that hold {} inotify instances with {} watches; it has other processes, too. \
         From the start of each program to its end, with output to a file; in turns, whose order \
         changes from round to round, after one look each that is not counted. Rounds: {}. \
         What was told of instances and watches is beside it: not every program tells \
         of watches, and some count descriptors.\n\n{}",
        each.threads,
        PROCESSES * each.instances,
        PROCESSES * each.watches,
        here.rounds_of(JSON),
        here.warning(),
    );
    text += &here.table();
    if let Some(ratio) = here.ratio(WALK, FIND) {
        text += &format!(
            "Through `/proc`, which is the only way where the kernel has no BPF iterators, \
             `inotify-trace list` takes {} times as long as `find`, in the median of rounds{}. \
             {}\n\n",
            ratio.shown(2),
            here.ratio(WALK, SCANNER)
                .map(|ratio| format!(", and {} times as long as the plain scanner", ratio.shown(2)))
                .unwrap_or_default(),
            verdict("through `/proc`, not slower than `find`", ratio.median <= 1.0),
        );
    }
    let figure = workspace.root.join(FIGURE);
    plot::draw(&figure, &here.curves())?;
    step::say(&format!("wrote {}", figure.display()));
    text += &format!(
        "### By the number of descriptors\n\n\
         Processes that hold {} instances with {} watches together and {} other descriptors were \
         added step by step. Milliseconds.\n\n![Time by descriptors](list-scale.svg)\n\n{}",
        growing.instances,
        growing.watches,
        growing.others + 3,
        here.scale(),
    );
    text += "### With BPF iterators (virtual machine)\n\n";
    text += &inside(workspace, quick).unwrap_or_else(|error| {
        step::say(&format!("NOT MEASURED in a virtual machine: {error:#}"));
        format!("**Not measured, because: {}.**\n", one_line(&error))
    });
    Ok(text)
}

/// On this machine, as root.
fn here(workspace: &Workspace, quick: bool) -> Result<Measured> {
    let agent = agent::build(workspace, false)?;
    let program = build_self(workspace)?;
    let program = program.to_str().context("the target directory's name is not UTF-8")?;
    let (rounds, slow, steps) = if quick { (2, 1, 3) } else { (9, 3, 5) };
    let mut command = privilege::as_root(program, "look at all processes")?;
    command.arg(tools::TASK).arg("--agent").arg(agent);
    command.args(["--rounds", &rounds.to_string(), "--slow-rounds", &slow.to_string()]);
    for processes in &["10", "30", "100", "300", "1000"][..steps] {
        command.args(["--scale", processes]);
    }
    command.args(["--scale-rounds", if quick { "2" } else { "7" }]);
    step::say("measuring looks at the machine");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", step::shown(&command)))?;
    ensure!(output.status.success(), "looking failed ({}); see above", output.status);
    Measured::parse(&String::from_utf8(output.stdout).context("looks are not UTF-8")?)
}

/// In a virtual machine with iterators.
fn inside(workspace: &Workspace, quick: bool) -> Result<String> {
    let rounds = if quick { 2 } else { 9 };
    let mut files: Vec<PathBuf> = Vec::new();
    // Those that cannot be brought along are named by the machine itself. lsof is left out.
    for program in PROGRAMS[..2].iter().filter_map(|(program, _)| which(program)) {
        for file in with_libraries(program)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let contents = vm::Contents {
        name: "bench-list",
        kernel: KERNEL,
        program: "xtask",
        // Before busybox's, whose `find` knows less.
        script: format!(
            "export CARGO_MANIFEST_DIR=/programs PATH=\"/usr/bin:$PATH\"\n\
             exec xtask {} --agent /programs/inotify-trace --rounds {rounds} --slow-rounds 0 \
             >/out/looks.tsv\n",
            tools::TASK,
        ),
        files,
        memory: MEMORY,
        limit: LIMIT,
    };
    let before = machine::other_programs();
    let left = vm::run_single(workspace, &contents)?;
    let disturbed = before.or_else(machine::other_programs);
    let path = left.files.join("looks.tsv");
    let lines =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let measured = Measured::parse(&lines)?;
    let mut text = format!(
        "The same load, at full size, on Debian's {} ({}), in a virtual machine with one \
         processor, which {} emulates (TCG); {}. {} rounds. Emulation makes everything slower, but \
         not by as much: only ratios within this table mean something, and those on a real \
         processor are others.\n\n",
        left.version,
        left.suite,
        emulator(),
        machine::date(),
        measured.rounds_of(JSON),
    );
    if let Some(by) = disturbed {
        text += &format!("**Warning: {by}.**\n\n");
    }
    text += &measured.table();
    // Of what else there is, only the scanner reads watches.
    if let Some(ratio) = measured.ratio(JSON, SCANNER) {
        text += &format!(
            "With the iterator, `inotify-trace list` takes {} times as long as the plain scanner, \
             the fastest of the others that also read watches, in the median of rounds{}. {}\n",
            ratio.shown(2),
            measured
                .ratio(JSON, WALK)
                .map(|ratio| format!(", and {} times as long as through `/proc`", ratio.shown(2)))
                .unwrap_or_default(),
            verdict(
                "with the iterator, under a third of the fastest that also reads watches",
                ratio.median < 1.0 / 3.0
            ),
        );
    }
    Ok(text)
}
