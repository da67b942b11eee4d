//! The cost of a look at the machine, next to other programs that look.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use xtask::agent;
use xtask::apt;
use xtask::step;
use xtask::workspace::{Workspace, which};

use self::measured::Measured;
use self::tools::{FIND, JSON, SCANNER, WALK};

use crate::report::verdict;
use crate::vm::{self, Guest, one_line, with_libraries};
use crate::{machine, root};

mod held;
mod measured;
mod plot;
mod scanner;
mod tools;

pub use held::Held;
pub use scanner::scan;
pub use tools::{PROCESSES, Rounds, each, measure as look};

const HEADING: &str = "## A look at the machine";

/// The figure, below the root; the report is beside it.
const FIGURE: &str = "docs/list-scale.svg";

/// Programs to compare with, and the packages they are in: of the first that exists.
const PROGRAMS: [(&str, &[&str]); 3] =
    [("find", &["findutils"]), ("lsfd", &["util-linux-extra", "util-linux"]), ("lsof", &["lsof"])];

/// For 1200 threads, and the programs in memory.
const MEMORY: u32 = 2 << 10;

const LIMIT: Duration = Duration::from_secs(900);

/// Installs the tools to compare with; the report names those that are not available.
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
    let each = each();
    let growing = tools::each_growing();
    let mut text = format!(
        "{HEADING}\n\n\
         `inotify-trace list` and other programs look at a machine with {PROCESSES} processes of {} \
         threads that hold {} inotify instances with {} watches; it has other processes, too. \
         From the start of each program to its end, with output to a file; in turns, whose order \
         changes from round to round, after one look each that is not counted. Rounds: {}. \
         The numbers of instances and watches that each prints are beside \
         it: not every program counts watches, and some count descriptors.\n\n{}",
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
    let (rounds, slow, steps) = if quick { (2, 1, 3) } else { (9, 3, 5) };
    let mut command = root::command("looks", "look at all processes")?;
    command.arg("--agent").arg(agent);
    command.args(["--rounds", &rounds.to_string(), "--slow-rounds", &slow.to_string()]);
    for processes in &["10", "30", "100", "300", "1000"][..steps] {
        command.args(["--scale", processes]);
    }
    command.args(["--scale-rounds", if quick { "2" } else { "7" }]);
    step::say("measuring looks at the machine");
    Measured::parse(&root::output(&mut command)?)
}

/// Measures in a virtual machine with iterators.
fn inside(workspace: &Workspace, quick: bool) -> Result<String> {
    let rounds = if quick { 2 } else { 9 };
    let mut files: Vec<PathBuf> = Vec::new();
    // The machine reports programs that cannot be copied into it. lsof is left out.
    for program in PROGRAMS[..2].iter().filter_map(|(program, _)| which(program)) {
        for file in with_libraries(program)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let guest = Guest {
        name: "bench-list",
        memory: MEMORY,
        limit: LIMIT,
        files,
        // Before busybox's, whose `find` knows less.
        path: "/usr/bin:$PATH".to_owned(),
        task: format!("looks --rounds {rounds} --slow-rounds 0"),
    };
    let printed = vm::measure(workspace, guest)?;
    let measured = Measured::parse(&printed.lines)?;
    let mut text = format!(
        "The same load, at full size, on Debian's {}, in a virtual machine with one \
         processor, which {} emulates (TCG); {}. {} rounds. Emulation makes everything slower, but \
         not by as much: only ratios within this table mean something, and those on a real \
         processor are others.\n\n",
        printed.kernel,
        printed.emulator,
        machine::date(),
        measured.rounds_of(JSON),
    );
    if let Some(by) = printed.disturbed {
        text += &format!("**Warning: {by}.**\n\n");
    }
    text += &measured.table();
    // Of the other tools, only the scanner reads watches.
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
