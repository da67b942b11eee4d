//! What each of the agent's backends costs other processes, on a kernel that has all of them.
//!
//! This is the part that a virtual machine runs; its lines are read by `virtual_machine`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::calls::CREATE_AND_CLOSE;
use super::load::{self, Cost, Storm};
use super::stats::Spread;
use super::tracer::Tracer;
use super::{Bench, Scratch};
use crate::step;

/// The hidden task.
pub const TASK: &str = "bench-backends";

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

/// The hidden task's body: prints a line for each measurement.
pub fn measure(agent: &Path, rounds: usize, batches: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut bench = Bench::new(agent, &scratch, false);
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
            match pair(&bench, tracer, batches) {
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
