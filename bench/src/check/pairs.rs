//! The measurements themselves: CPU time and memory of both builds in turns. This part is root's; it
//! prints a line for each pair.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use xtask::step;

use crate::list::{Held, PROCESSES, each};
use crate::load::{self, Storm};
use crate::scratch::Scratch;
use crate::sys;

/// What to compare.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    old: PathBuf,
    #[arg(long)]
    new: PathBuf,
    #[arg(long)]
    pairs: usize,
}

/// A recording that the old build makes, relative to where commands run.
const RECORDING: &str = "storm.itrec";

/// The commands that are measured. A trace that ends at once takes the time of its start and stop; all
/// from the recorder on run beside a storm.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("list", &["list", "-o", "json"]),
    ("list --walk-proc", &["list", "-o", "json", "--walk-proc"]),
    ("list --watches", &["list", "--watches"]),
    ("trace, start and stop", &["trace", "-d", "1ms"]),
    ("replay", &["replay", RECORDING, "-o", "json"]),
    (RECORD, &["record", "-d", "500ms", "-o", "recordings"]),
];
const RECORD: &str = "record, beside a storm";

/// Instances a second that the storm makes: a pace that every build keeps up with.
const RATE: f64 = 50_000.0;

/// Prints the figures of each pair: milliseconds of both builds, and kB.
pub fn measure(args: &Args) -> Result<()> {
    let scratch = Scratch::new()?;
    let builds = [args.old.as_path(), args.new.as_path()];
    let mut held = Held::new(each(), scratch.path().join("watched"))?;
    held.grow(PROCESSES)?;
    let run = |build: &Path, words: &[&str]| {
        used(Command::new(build).args(words).current_dir(scratch.path()))
    };
    {
        let _storm = Beside::start()?;
        run(builds[0], &["record", "-d", "500ms", "-o", RECORDING])?;
    }
    for (name, words) in COMMANDS {
        let _storm = (name == RECORD).then(Beside::start).transpose()?;
        compare(name, args.pairs, builds, |build| run(build, words))?;
    }
    Ok(())
}

/// A storm until this is dropped.
struct Beside(Child);

impl Beside {
    fn start() -> Result<Self> {
        let storm = Storm { millis: u64::MAX, rate: Some(RATE), ..Storm::default() };
        let mut command = load::storm_command(&storm)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start the load")?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures both builds in turns, the other one first each time, after one run each that is not counted.
fn compare(
    name: &str,
    pairs: usize,
    builds: [&Path; 2],
    measure: impl Fn(&Path) -> Result<[f64; 2]>,
) -> Result<()> {
    step::say(name);
    for build in builds {
        measure(build)?;
    }
    for pair in 0..pairs {
        let mut figures = [[0.0; 2]; 2];
        for turn in [pair % 2, 1 - pair % 2] {
            figures[turn] = measure(builds[turn])?;
        }
        let [[old, old_peak], [new, new_peak]] = figures;
        println!("{name}\t{old}\t{new}\t{old_peak}\t{new_peak}");
    }
    Ok(())
}

/// Milliseconds of CPU time and kB of memory of a command, and of the processes that it waits for.
fn used(command: &mut Command) -> Result<[f64; 2]> {
    let shown = step::shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let (status, used) =
        sys::wait(child.id()).with_context(|| format!("cannot wait for {shown}"))?;
    ensure!(status.success(), "{shown} failed: {status}; run it by hand to see why");
    Ok(used)
}
