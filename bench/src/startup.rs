//! The time from the start of a tracer to its first event.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::step;

use crate::context::Bench;
use crate::load::{self, Storm};
use crate::report::verdict;
use crate::stats::{Spread, cell, table};
use crate::sys;
use crate::told::{Format, Subject};
use crate::tracer::Tracer;

/// The goal, in milliseconds.
const GOAL: f64 = 150.0;

/// Instances a second that the load makes: often enough to see the first moment of tracing.
const RATE: f64 = 2000.0;

/// Longer than any tracer should need.
const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds from the start of a tracer.
struct Moments {
    first_event: f64,
    /// The agent reports that it has begun; bpftrace does not.
    greeting: Option<f64>,
}

pub fn measure(bench: &Bench) -> Result<String> {
    step::say("start to first event");
    let rounds = bench.pick(10, 3);
    let (mut agent, mut bpftrace) = (Vec::new(), Vec::new());
    // Programs and libraries must come from memory, not from the disk, for all alike.
    once(bench, Tracer::Agent(Format::Json))?;
    for _ in 0..rounds {
        agent.extend(once(bench, Tracer::Agent(Format::Json))?);
        bpftrace.extend(once(bench, Tracer::BPFTRACE)?);
    }
    let first = |moments: &[Moments]| Spread::of(moments.iter().map(|moments| moments.first_event));
    let greeting = Spread::of(agent.iter().filter_map(|moments| moments.greeting));
    let rows = [
        vec!["inotify-trace -o json".to_owned(), cell(greeting, 0), cell(first(&agent), 0)],
        vec![
            "bpftrace, the same events".to_owned(),
            "not reported".to_owned(),
            cell(first(&bpftrace), 0),
        ],
    ];
    let median = first(&agent).context("no round of the start was measured")?.median;
    Ok(format!(
        "## Start to first event\n\n\
         From starting the tracer to its first line about a process that makes and closes {RATE} \
         instances a second all the time; for inotify-trace also to \"Tracing inotify\" on \
         standard error, which means: attached, and what existed before is known. Milliseconds, \
         {rounds} starts, after one that is not counted.\n\n{}\n{}\n\n",
        table(&["", "attached", "first event"], &rows),
        verdict("at most 150 ms to the first event", median <= GOAL),
    ))
}

fn once(bench: &Bench, tracer: Tracer) -> Result<Option<Moments>> {
    let Some((mut command, format)) = tracer.command(bench) else { return Ok(None) };
    if format == Format::Bpftrace {
        // bpftrace uses the last `-B`: each line must be written at once.
        command.args(["-B", "line"]);
    }
    let storm = Storm { rate: Some(RATE), millis: 60_000, ..Storm::default() };
    let mut load = load::storm_command(&storm)?;
    let load = load.stdout(Stdio::null()).spawn().context("cannot start the load")?;
    let load = Killed(load);
    // By then the load is running.
    thread::sleep(Duration::from_millis(50));

    let started = Instant::now();
    let tracer = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", step::shown(&command)))?;
    let mut tracer = Killed(tracer);
    let subject = Subject::new(format, load.0.id());
    let output = tracer.0.stdout.take().context("the tracer has no output")?;
    let messages = tracer.0.stderr.take().context("the tracer has no messages")?;
    let first_event = when(output, move |line| subject.is_in(line));
    let greeting = when(messages, |line| line.starts_with(b"Tracing inotify"));

    let since = |moment: Instant| moment.duration_since(started).as_secs_f64() * 1e3;
    let first_event = match first_event.recv_timeout(PATIENCE) {
        Ok(moment) => since(moment),
        Err(_) => bail!(
            "{} told nothing about a busy process within {} s: run it by hand to see why",
            step::shown(&command),
            PATIENCE.as_secs()
        ),
    };
    // Written before the first event.
    let greeting = match format {
        Format::Bpftrace => None,
        _ => greeting.recv_timeout(Duration::from_secs(1)).ok().map(since),
    };
    drop(load);
    sys::interrupt(tracer.0.id()).context("cannot interrupt the tracer")?;
    tracer.0.wait().context("cannot wait for the tracer")?;
    Ok(Some(Moments { first_event, greeting }))
}

/// Reads lines to the end, and sends the time of the first one that is `wanted`.
fn when(
    source: impl Read + Send + 'static,
    wanted: impl Fn(&[u8]) -> bool + Send + 'static,
) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut source, mut line) = (BufReader::new(source), Vec::new());
        let mut found = false;
        while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if !found && wanted(&line) {
                found = true;
                // The receiver is gone if the line came too late.
                let _ = sender.send(Instant::now());
            }
            line.clear();
        }
    });
    receiver
}

/// A process that must not outlive this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
