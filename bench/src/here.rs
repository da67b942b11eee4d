//! The measurements of root on this machine.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use xtask::step;

use crate::context::Bench;
use crate::report::wrap;
use crate::scratch::Scratch;
use crate::{calls, idle, machine, pace, record, report, startup, storm};

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// The program to measure.
    #[arg(long)]
    pub agent: PathBuf,
    /// Fewer and shorter rounds.
    #[arg(long)]
    pub quick: bool,
    /// Only recordings.
    #[arg(long)]
    pub only_record: bool,
}

/// Measures, and prints the report, or the section about recordings.
pub fn measure(args: &Args) -> Result<()> {
    let started = Instant::now();
    let scratch = Scratch::new()?;
    let bench = Bench::new(&args.agent, &scratch, args.quick);
    if bench.bpftrace.is_none() {
        step::say("SKIPPED: every comparison with bpftrace, because there is no bpftrace");
    }
    if args.only_record {
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
    let mut warnings = bench.disturbances();
    if bench.bpftrace.is_none() {
        warnings.insert("bpftrace is not installed: nothing was compared with it".to_owned());
    }
    let machine = machine::describe(version.as_deref());
    let report = report::introduction(&machine, args.quick, &warnings) + &sections;
    println!("{}", wrap(report.trim_end()));
    step::say(&format!("measured for {:.0} s", started.elapsed().as_secs_f32()));
    Ok(())
}
