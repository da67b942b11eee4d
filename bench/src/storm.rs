//! Storms: a loop that makes and closes instances as fast as it can.

use anyhow::Result;
use xtask::step;

use crate::context::Bench;
use crate::load::{self, Storm};
use crate::stats::{Spread, cell, number, table};
use crate::told::Format;
use crate::tracer::Tracer;

/// The tracers, and the controls without one.
struct Row {
    name: &'static str,
    tracer: Tracer,
    pipe: bool,
}

const ALONE: Row = Row { name: "no tracer", tracer: Tracer::None, pipe: false };
const READER: Row =
    Row { name: "no tracer, but a reader of a pipe", tracer: Tracer::None, pipe: true };
const TEXT: Row = Row { name: "inotify-trace", tracer: Tracer::Agent(Format::Text), pipe: false };
const JSON: Row =
    Row { name: "inotify-trace -o json", tracer: Tracer::Agent(Format::Json), pipe: false };
const BPFTRACE: Row = Row { name: "bpftrace", tracer: Tracer::BPFTRACE, pipe: false };
/// 4 MiB a CPU; inotify-trace has 4 MiB for all.
const BPFTRACE_BIG: Row = Row {
    name: "bpftrace, 4 MiB of buffer a CPU",
    tracer: Tracer::Bpftrace { program: crate::tracer::SAME_EVENTS, pages: Some(1024) },
    pipe: false,
};

/// One round with one tracer.
struct Round {
    rate: f64,
    /// Events that happened, events in the output, and events that the tracer reports as lost.
    truth: u64,
    told: u64,
    lost: u64,
    cpu_seconds: f64,
    seconds: f64,
    peak_kb: u64,
}

/// Storm A, and storm B.
pub fn measure(bench: &Bench) -> Result<String> {
    let with_watch =
        Storm { watch: Some("/tmp".to_owned()), millis: bench.pick(2500, 800), ..Storm::default() };
    let without = Storm { watch: None, ..with_watch.clone() };
    let a = [ALONE, READER, TEXT, JSON, BPFTRACE];
    let b = [ALONE, READER, TEXT, JSON, BPFTRACE, BPFTRACE_BIG];
    step::say("storm A: make, watch, close");
    let a = rounds(bench, &a, &with_watch, 3)?;
    step::say("storm B: make, close");
    let b = rounds(bench, &b, &without, 2)?;
    Ok(storm_a(bench, &a) + &storm_b(bench, &b))
}

type Rounds = Vec<(&'static str, Vec<Round>)>;

/// Several rounds of all rows in turns. `events` is how many a loop makes.
fn rounds(bench: &Bench, rows: &[Row], storm: &Storm, events: u64) -> Result<Rounds> {
    let mut rounds: Rounds = Vec::new();
    let rows: Vec<_> = rows.iter().filter(|row| !row.tracer.is_missing(bench)).collect();
    for _ in 0..bench.pick(3, 1) {
        bench.look_for_tracers();
        for (index, row) in rows.iter().enumerate() {
            if rounds.len() <= index {
                rounds.push((row.name, Vec::new()));
            }
            let storm = Storm { pipe: row.pipe, ..storm.clone() };
            rounds[index].1.push(round(bench, row.tracer, &storm, events)?);
        }
    }
    Ok(rounds)
}

fn round(bench: &Bench, tracer: Tracer, storm: &Storm, events: u64) -> Result<Round> {
    let running = tracer.start(bench)?;
    let done = load::storm(storm)?;
    let ended = running.map(|running| running.end(done.pid)).transpose()?;
    let mut round = Round {
        rate: done.rate(),
        truth: done.loops * events,
        told: 0,
        lost: 0,
        cpu_seconds: 0.0,
        seconds: done.seconds,
        peak_kb: 0,
    };
    if let Some(ended) = ended {
        round.told = ended.told.events;
        round.lost = ended.told.lost;
        round.cpu_seconds = ended.cpu_seconds;
        round.peak_kb = ended.peak_kb;
    }
    Ok(round)
}

/// Whether no event is lost at this many loops a second, or at full speed; and the rate reached.
pub fn survives(
    bench: &Bench,
    tracer: Tracer,
    millis: u64,
    rate: Option<f64>,
) -> Result<(bool, f64)> {
    let storm = Storm { rate, millis, ..Storm::default() };
    let round = round(bench, tracer, &storm, 2)?;
    // The output has more events than happened if another process copies a descriptor meanwhile, as
    // another inotify-trace does when it starts: the instance outlives its close.
    Ok((round.told >= round.truth && round.lost == 0, round.rate))
}

fn rate(rounds: &[Round]) -> Option<Spread> {
    Spread::of(rounds.iter().map(|round| round.rate))
}

fn rate_of(rounds: &Rounds, wanted: &Row) -> f64 {
    let found = rounds.iter().find(|(name, _)| *name == wanted.name);
    found.and_then(|(_, rounds)| rate(rounds)).map_or(f64::NAN, |rate| rate.median)
}

/// The table of both storms. Losses are sums and not medians, so that no loss is hidden.
fn shown(rounds: &Rounds) -> String {
    let rows: Vec<_> = rounds
        .iter()
        .map(|(name, rounds)| {
            let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
            let (truth, told, lost) =
                (sum(|round| round.truth), sum(|round| round.told), sum(|round| round.lost));
            let mut row = vec![(*name).to_owned(), cell(rate(rounds), 0), number(truth as f64, 0)];
            if rounds.iter().any(|round| round.peak_kb > 0) {
                let missing = truth.saturating_sub(told);
                let share = missing as f64 / truth as f64 * 100.0;
                let cpu = Spread::of(
                    rounds.iter().map(|round| round.cpu_seconds / round.seconds * 100.0),
                );
                let peak = rounds.iter().map(|round| round.peak_kb).max().unwrap_or(0);
                row.extend([
                    number(told as f64, 0),
                    format!("{} ({} %)", number(missing as f64, 0), number(share, 1)),
                    number(lost as f64, 0),
                    cell(cpu, 0),
                    number(peak as f64 / 1024.0, 0),
                ]);
            } else {
                row.extend(["", "", "", "", ""].map(str::to_owned));
            }
            row
        })
        .collect();
    table(
        &["", "loops/s", "events", "printed", "missing", "reported lost", "CPU %", "peak MB"],
        &rows,
    )
}

const COLUMNS: &str = "\
*Events* are those of all rounds together; *printed* are lines of output about them; *missing* \
is the difference, and *reported lost* the losses that the tracer itself reports (of all \
processes). *CPU %* is the time of the tracer's process, user and kernel mode, in percent of one \
core over the time the \
loop ran, work it did afterwards included; *peak MB* its most resident memory, which may have been \
at its start.";

/// The section about watches.
fn storm_a(bench: &Bench, rounds: &Rounds) -> String {
    let text = format!(
        "## Storm A: make, watch, close\n\n\
         A loop of `inotify_init1`, `inotify_add_watch(/tmp)` and `close`, as fast as one core \
         can, with output to a file in memory.\n\n{}\n{COLUMNS}\n\n",
        shown(rounds)
    );
    text + &explain(bench, rounds)
}

/// The reason why storm A is slow, as far as this run shows it.
fn explain(bench: &Bench, rounds: &Rounds) -> String {
    let milliseconds = |row| 1e3 / rate_of(rounds, row);
    let shown = |row| number(milliseconds(row), 2);
    let mut text = format!(
        "Why this loop is slow by itself: closing an instance that has a watch waits for an SRCU \
         grace period of the kernel's file notification. Alone, a loop takes {} ms here. The \
         second row is the control: the loop writes one byte a round to a pipe, and its reader \
         does nothing but sleep 1 ms after each read. A loop then takes {} ms, although nothing \
         traces it. ",
        shown(&ALONE),
        shown(&READER),
    );
    text += if milliseconds(&READER) > 2.0 * milliseconds(&ALONE) {
        "Waking any process meanwhile prolongs the wait, and a tracer that is woken by each event \
         does this to the program it traces"
    } else {
        "Where waking a process meanwhile prolongs the wait, which this run does not show, a \
         tracer that is woken by each event slows down the program it traces"
    };
    if !Tracer::BPFTRACE.is_missing(bench) {
        text += &format!(" (with bpftrace, a loop takes {} ms)", shown(&BPFTRACE));
    }
    text + &format!(
        ". Therefore inotify-trace rests for 50 ms between batches, and lets the kernel wake it \
         before that only when the ring buffer is half full: a loop takes {} ms.\n\n",
        shown(&TEXT)
    )
}

/// The section without watches.
fn storm_b(bench: &Bench, rounds: &Rounds) -> String {
    let buffer = if Tracer::BPFTRACE.is_missing(bench) {
        ""
    } else {
        " inotify-trace has one ring buffer of 4 MiB (`--buffer`) for all CPUs; bpftrace one of \
         256 KiB for each CPU by default; the last row has a larger one."
    };
    format!(
        "## Storm B: make, close\n\n\
         The same without a watch: there is no grace period to wait for, and the loop is as fast \
         as system calls are. Two events a loop. A tracer should print all \
         events, and report its losses.{buffer}\n\n{}\n",
        shown(rounds)
    ) + &slowed(bench, rounds)
}

/// The slowdown of the loop by the tracers, which hides events that they could not handle.
fn slowed(bench: &Bench, rounds: &Rounds) -> String {
    if Tracer::BPFTRACE.is_missing(bench) {
        return String::new();
    }
    let part = |row| number(rate_of(rounds, row) / rate_of(rounds, &ALONE) * 100.0, 0);
    format!(
        "A tracer that slows down the loop has fewer events to print: with inotify-trace the \
         loop keeps \
         {} % of its speed, with bpftrace {} %.\n\n",
        part(&TEXT),
        part(&BPFTRACE),
    )
}
