//! The agent's cost while no event happens.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::step;

use crate::context::Bench;
use crate::report::verdict;
use crate::stats::{number, table};
use crate::told::Format;
use crate::tracer::Tracer;

/// Percent of one core.
const GOAL_CPU: f64 = 0.1;

/// Resident megabytes.
const GOAL_MEMORY: f64 = 20.0;

pub fn measure(bench: &Bench) -> Result<String> {
    let length = Duration::from_millis(bench.pick(20_000, 3_000));
    step::say(&format!("the idle agent, for {} s", length.as_secs()));
    let agent = Tracer::Agent(Format::Text).start(bench)?.context("the agent did not start")?;
    let process = agent.process;
    // Work left over from the start is not idling.
    thread::sleep(Duration::from_secs(1));

    let cpu = || match process.scheduled_seconds() {
        Some(seconds) => Ok((seconds, "as the scheduler counts it")),
        None => process.cpu_seconds().map(|seconds| (seconds, "in steps of 10 ms")),
    };
    let ((before, _), switches_before, started) =
        (cpu()?, process.context_switches(), Instant::now());
    thread::sleep(length);
    let (after, how) = cpu()?;
    let (seconds, switches) =
        (started.elapsed().as_secs_f64(), process.context_switches() - switches_before);
    let percent = (after - before) / seconds * 100.0;

    let mut rows = vec![
        vec!["CPU, % of one core".to_owned(), number(percent, 3)],
        vec!["context switches a second".to_owned(), number(switches as f64 / seconds, 1)],
    ];
    let resident = process.status("VmRSS")?;
    for (name, kb) in [
        ("resident memory (VmRSS)", resident),
        ("... of which its own (RssAnon)", process.status("RssAnon")?),
        ("... of which pages of files (RssFile)", process.status("RssFile")?),
        ("... of which shared, and the ring buffer (RssShmem)", process.status("RssShmem")?),
        ("proportional share (Pss)", process.proportional()?),
    ] {
        rows.push(vec![format!("{name}, MB"), number(kb as f64 / 1024.0, 1)]);
    }
    let (maps, programs) = process.bpf_bytes()?;
    for (name, bytes) in [("maps", maps), ("programs", programs)] {
        rows.push(vec![
            format!("kernel memory of its {name}, MB"),
            number(bytes as f64 / 1024.0 / 1024.0, 2),
        ]);
    }
    agent.end(0)?;
    Ok(format!(
        "## The idle agent\n\n\
         inotify-trace attached for {} s while no load of ours runs; CPU time in user and kernel \
         mode, {how}. It wakes once a second to ask the kernel which of the instances it knows are \
         gone. Kernel memory is what the descriptors of its maps and programs report (`memlock` in \
         `/proc/PID/fdinfo`); it comes on top of the process's own.\n\n{}\n{} {}\n\n",
        number(seconds, 0),
        table(&["", ""], &rows),
        verdict("at most 0.1 % of a core", percent <= GOAL_CPU),
        verdict("at most 20 MB resident", resident as f64 / 1024.0 <= GOAL_MEMORY),
    ))
}
