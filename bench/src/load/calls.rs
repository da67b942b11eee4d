//! The cost of two system calls.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use super::command;
use crate::sys;

#[derive(Args, Clone)]
pub struct Calls {
    /// Take the fastest of so many batches.
    #[arg(long)]
    pub batches: u32,
    /// How many calls are timed together.
    #[arg(long, default_value_t = BATCH)]
    pub batch: u32,
}

/// How many calls are timed together: reading the clock costs about as much as one.
pub const BATCH: u32 = 50_000;

/// Nanoseconds for a call.
pub struct Cost {
    pub close: f64,
    pub getppid: f64,
}

/// Times calls in a process of its own.
pub fn calls(batches: u32, batch: u32) -> Result<Cost> {
    let mut command = command::of("calls")?;
    command.arg("--batches").arg(batches.to_string()).arg("--batch").arg(batch.to_string());
    let (_, words) = command::finish(&mut command)?;
    let [close, getppid] = words[..] else {
        bail!("the load said {words:?}, not what two calls cost");
    };
    Ok(Cost { close, getppid })
}

/// The load itself: prints nanoseconds for one of each.
pub fn run(calls: &Calls) {
    let (mut close, mut getppid) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..calls.batches {
        close = close.min(time(calls.batch, sys::close_nothing));
        getppid = getppid.min(time(calls.batch, sys::getppid));
    }
    println!("{close} {getppid}");
}

/// Nanoseconds for one of a batch of calls.
fn time(batch: u32, call: impl Fn()) -> f64 {
    let started = Instant::now();
    for _ in 0..batch {
        call();
    }
    started.elapsed().as_nanos() as f64 / f64::from(batch)
}
