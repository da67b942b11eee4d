//! What each of the agent's backends costs other processes, on a kernel that has all of them.
//!
//! This is the part that a virtual machine runs; its lines are read by `compare`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::step;

use crate::calls::CREATE_AND_CLOSE;
use crate::context::Bench;
use crate::load::{self, Cost, Storm};
use crate::scratch::Scratch;
use crate::stats::Spread;
use crate::tracer::Tracer;

/// The control comes first: what two measurements without a tracer differ by.
pub const TRACERS: [(&str, Tracer); 5] = [
    ("no tracer, once more", Tracer::None),
    ("fentry", Tracer::Backend("fentry")),
    ("kprobe", Tracer::Backend("kprobe")),
    ("tracepoint", Tracer::Backend("tracepoint")),
    ("bpftrace", Tracer::Bpftrace { program: CREATE_AND_CLOSE, pages: None }),
];

/// Starts lines that tell what two measurements in succession came to, and those that tell why
/// there are none.
pub const PAIR: &str = "pair";
pub const MISSING: &str = "missing";

/// How many processes in succession make the calls. The host's own processors are faster at times,
/// for one process and not for the next: the median is what most of them see.
pub const PROCESSES: u32 = 9;

/// Short, so that some batches are without the kernel's clock interrupt, which takes an emulated
/// processor long.
pub const BATCH: u32 = 2_000;

/// An emulated processor takes seconds for what bpftrace compiles.
const SETTLE: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// The program to measure.
    #[arg(long)]
    agent: PathBuf,
    /// How often with each tracer.
    #[arg(long)]
    rounds: usize,
    /// Take the fastest of so many batches of calls.
    #[arg(long)]
    batches: u32,
}

/// Prints a line for each measurement.
pub fn measure(args: &Args) -> Result<()> {
    let rounds = args.rounds;
    let scratch = Scratch::new()?;
    let mut bench = Bench::new(&args.agent, &scratch, false);
    bench.settle = SETTLE;
    let mut missing = BTreeSet::new();
    for round in 0..rounds {
        step::say(&format!("round {} of {rounds}", round + 1));
        for place in 0..TRACERS.len() {
            // Not always in the same order: one may leave the machine in a state that slows the
            // next one down.
            let (name, tracer) = TRACERS[(round + place) % TRACERS.len()];
            if missing.contains(name) {
                continue;
            }
            match pair(&bench, tracer, args.batches) {
                Ok((alone, with)) => println!(
                    "{PAIR}\t{name}\t{}\t{}\t{}\t{}",
                    alone.close, alone.getppid, with.close, with.getppid
                ),
                Err(error) => {
                    // The others are worth measuring all the same.
                    let why = format!("{error:#}");
                    step::say(&format!("{name}: {why}"));
                    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                    println!("{MISSING}\t{name}\t{why}");
                    missing.insert(name);
                }
            }
        }
    }
    Ok(())
}

/// What the calls cost without a tracer, and right after that with one.
fn pair(bench: &Bench, tracer: Tracer, batches: u32) -> Result<(Cost, Cost)> {
    ensure!(!tracer.is_missing(bench), "there is no bpftrace");
    let alone = calls(batches)?;
    let Some(running) = tracer.start(bench)? else { return Ok((alone, calls(batches)?)) };
    // One that sees nothing costs nothing.
    let seen = load::storm(&Storm { rate: Some(200.0), millis: 250, ..Storm::default() })?;
    let with = calls(batches)?;
    let told = running.end(seen.pid)?.told.events;
    let expected = 2 * seen.loops;
    ensure!(
        told == expected,
        "it told {told} of {expected} events, so it was not, or not wholly, attached"
    );
    Ok((alone, with))
}

/// What the calls cost in the median of several processes.
fn calls(batches: u32) -> Result<Cost> {
    let (mut close, mut getppid) = (Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        let cost = load::calls(batches, BATCH)?;
        close.push(cost.close);
        getppid.push(cost.getppid);
    }
    let median = |costs| Some(Spread::of(costs)?.median);
    let costs = median(close).zip(median(getppid)).context("no process made the calls")?;
    Ok(Cost { close: costs.0, getppid: costs.1 })
}
