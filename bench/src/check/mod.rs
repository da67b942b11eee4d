//! Two builds of the agent against each other, pair by pair: whether the newer one is slower.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::workspace::{Workspace, expect_built};
use xtask::{environment, step};

use crate::root;
use crate::stats::{Spread, number, table};

mod pairs;

pub use pairs::{Args as PairsArgs, measure as pairs};

/// The pairs of each measurement.
const PAIRS: usize = 15;

/// A measurement is clearly slower if the new build took more CPU time in at least this many of its
/// pairs. Of builds that are the same, which takes more is a matter of chance: so many come in one of 270
/// measurements.
const WORSE: usize = 13;

/// And if the median of the pairs' ratios is above this: less is not worth a look.
const RATIO: f64 = 1.05;

/// Compares; whether a measurement is clearly slower.
pub fn run(workspace: &Workspace, builds: &[PathBuf]) -> Result<bool> {
    let [old, new] = builds else { anyhow::bail!("two builds or commits are compared") };
    let (old, new) = (built(workspace, old)?, built(workspace, new)?);
    let mut command = root::command("pairs", "attach tracers to the kernel")?;
    command.arg("--old").arg(old).arg("--new").arg(new).args(["--pairs", &PAIRS.to_string()]);
    step::say("comparing; best on a machine that does nothing else");
    let compared = parse(&root::output(&mut command)?)?;
    print!("{}", shown(&compared));
    Ok(compared.iter().any(Compared::is_slower))
}

/// A build that is there, or that of a commit, which is made unless it was made before.
fn built(workspace: &Workspace, name: &Path) -> Result<PathBuf> {
    if name.is_file() {
        return fs::canonicalize(name).with_context(|| format!("cannot find {}", name.display()));
    }
    let git = || {
        let mut command = Command::new("git");
        command.arg("-C").arg(&workspace.root);
        command
    };
    let commit = format!("{}^{{commit}}", name.display());
    let id = step::output_of(git().args(["rev-parse", "--verify", "--quiet", &commit]))
        .with_context(|| format!("{} is neither a file nor a commit", name.display()))?;
    let directory = workspace.target.join("check");
    let kept = directory.join(id.trim());
    if kept.is_file() {
        return Ok(kept);
    }
    // One directory of sources and one of builds for all, so that what they share is built once.
    let [tree, archive, target] = ["tree", "tree.tar", "target"].map(|it| directory.join(it));
    if tree.is_dir() {
        fs::remove_dir_all(&tree).with_context(|| format!("cannot empty {}", tree.display()))?;
    }
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    step::output_of(git().arg("archive").arg("--output").arg(&archive).arg(id.trim()))?;
    // As new files: cargo would take those of an older commit for built already.
    let mut unpack = Command::new("tar");
    step::output_of(unpack.arg("-xm").arg("-C").arg(&tree).arg("-f").arg(&archive))?;
    let mut build = environment::cargo();
    build.current_dir(&tree).env("CARGO_TARGET_DIR", &target).args(["xtask", "build"]);
    step::run(&format!("building {}", name.display()), &mut build)?;
    let triple = xtask::programs::host()?;
    let program = target.join(triple).join("release").join(xtask::agent::NAME);
    let program = expect_built(xtask::agent::NAME, program)?;
    fs::copy(program, &kept).with_context(|| format!("cannot make {}", kept.display()))?;
    Ok(kept)
}

/// The figures of one measurement; pairs are of the old and the new build.
struct Compared {
    name: String,
    /// Milliseconds of CPU time.
    cpu: Vec<[f64; 2]>,
    /// Most resident memory, in kB.
    peak: Vec<[f64; 2]>,
}

impl Compared {
    fn ratio(&self) -> Option<Spread> {
        Spread::of(self.cpu.iter().map(|[old, new]| new / old))
    }

    /// The pairs in which the new build took more.
    fn worse(&self) -> usize {
        self.cpu.iter().filter(|[old, new]| new > old).count()
    }

    fn is_slower(&self) -> bool {
        self.worse() * PAIRS >= WORSE * self.cpu.len()
            && self.ratio().is_some_and(|ratio| ratio.median > RATIO)
    }
}

fn parse(lines: &str) -> Result<Vec<Compared>> {
    let mut all: Vec<Compared> = Vec::new();
    for line in lines.lines() {
        let (name, figures) = line.split_once('\t').context("a line without figures")?;
        let figures = figures.split('\t').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        ensure!(figures.len() == 4, "the measurement said {line:?}");
        if all.last().is_none_or(|last| last.name != name) {
            all.push(Compared { name: name.to_owned(), cpu: Vec::new(), peak: Vec::new() });
        }
        if let Some(last) = all.last_mut() {
            last.cpu.push([figures[0], figures[1]]);
            last.peak.push([figures[2], figures[3]]);
        }
    }
    Ok(all)
}

fn shown(all: &[Compared]) -> String {
    let middle = |pairs: &[[f64; 2]], which: usize, unit: f64| {
        let median = Spread::of(pairs.iter().map(|pair| pair[which] / unit));
        median.map_or_else(|| "?".to_owned(), |it| number(it.median, 1))
    };
    let row = |it: &Compared| {
        let verdict = if it.is_slower() { "SLOWER" } else { "" };
        vec![
            it.name.clone(),
            middle(&it.cpu, 0, 1.0),
            middle(&it.cpu, 1, 1.0),
            it.ratio().map_or_else(|| "?".to_owned(), |ratio| ratio.shown(2)),
            format!("{} of {}", it.worse(), it.cpu.len()),
            middle(&it.peak, 0, 1024.0),
            middle(&it.peak, 1, 1024.0),
            verdict.to_owned(),
        ]
    };
    let head = ["", "old, ms of CPU", "new", "ratio", "new took more", "old, MB", "new", ""];
    table(&head, &all.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::{Compared, PAIRS, WORSE, parse, shown};

    /// A measurement in which the new build took `ratio` times as much in so many pairs, and a tenth
    /// less in the others.
    fn compared(worse: usize, ratio: f64) -> Compared {
        let new = |pair| if pair < worse { 100.0 * ratio } else { 90.0 };
        let cpu = (0..PAIRS).map(|pair| [100.0, new(pair)]).collect();
        Compared { name: String::new(), cpu, peak: Vec::new() }
    }

    #[test]
    fn slower_is_what_is_slower_nearly_always_and_by_more_than_little() {
        for (worse, ratio, is_slower) in [
            (PAIRS, 1.1, true),
            (WORSE, 1.06, true),
            (WORSE - 1, 2.0, false),
            (PAIRS, 1.04, false),
            (0, 1.0, false),
        ] {
            assert_eq!(compared(worse, ratio).is_slower(), is_slower, "{worse} by {ratio}");
        }
    }

    #[test]
    fn lines_become_rows() {
        let lines = "list\t10\t20\t1024\t2048\nlist\t10\t30\t1024\t4096\ntrace\t5\t4\t1\t1\n";
        let all = parse(lines).unwrap();
        assert!(all[0].is_slower() && !all[1].is_slower());
        let shown = shown(&all);
        assert!(
            shown.contains(
                "| list | 10.0 | 25.0 | 2.50 (2.00-3.00) | 2 of 2 | 1.0 | 3.0 | SLOWER |"
            ),
            "{shown}"
        );
        assert!(parse("list\t1\t2\n").is_err());
    }
}
