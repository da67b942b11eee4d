//! The cost of each of the agent's backends for other processes, on a kernel that has all of them.
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

/// The control comes first: it shows how far two measurements without a tracer differ.
pub const TRACERS: [(&str, Tracer); 5] = [
    ("no tracer, once more", Tracer::None),
    ("fentry", Tracer::Backend("fentry")),
    ("kprobe", Tracer::Backend("kprobe")),
    ("tracepoint", Tracer::Backend("tracepoint")),
    ("bpftrace", Tracer::Bpftrace { program: CREATE_AND_CLOSE, pages: None }),
];

/// The first words of lines: the results of two measurements in succession, or the reason why they
/// are missing.
pub const PAIR: &str = "pair";
pub const MISSING: &str = "missing";

/// The number of processes that make the calls one after the other. The host's own processors are
/// faster for some processes than for others: the median is the usual speed.
pub const PROCESSES: u32 = 9;

/// Short, so that some batches run without the kernel's clock interrupt, which takes long on an
/// emulated processor.
pub const BATCH: u32 = 2_000;

/// On an emulated processor, programs that bpftrace compiles take seconds.
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
                    // The other backends are still measured.
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

/// The cost of the calls without a tracer, and right after that with one.
fn pair(bench: &Bench, tracer: Tracer, batches: u32) -> Result<(Cost, Cost)> {
    ensure!(!tracer.is_missing(bench), "there is no bpftrace");
    let alone = calls(batches)?;
    let Some(running) = tracer.start(bench)? else { return Ok((alone, calls(batches)?)) };
    // A tracer that sees no event costs nothing.
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

/// The median cost of the calls in several processes.
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
