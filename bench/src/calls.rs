//! The cost of system calls for processes that do not use inotify.

use anyhow::{Context, Result};
use xtask::step;

use crate::context::Bench;
use crate::load::{self, Cost};
use crate::report::verdict;
use crate::stats::{Spread, cell, number, table};
use crate::told::Format;
use crate::tracer::Tracer;

/// The smallest program that sees when instances are made and closed.
pub const CREATE_AND_CLOSE: &str = r#"
tracepoint:syscalls:sys_exit_inotify_init1 /args->ret >= 0/ {
    @f[pid, args->ret] = 1;
    printf("create %d %d\n", pid, args->ret);
}
tracepoint:syscalls:sys_enter_close /@f[pid, args->fd]/ {
    printf("close %d %d\n", pid, args->fd);
    delete(@f[pid, args->fd]);
}
END { clear(@f); }
"#;
const EMPTY_CLOSE: &str = "tracepoint:syscalls:sys_enter_close { }";
const EMPTY_OTHER: &str = "tracepoint:syscalls:sys_enter_inotify_init1 { } \
                           tracepoint:syscalls:sys_exit_inotify_init1 { }";
const EMPTY_ALL: &str = "tracepoint:raw_syscalls:sys_enter { }";

/// The goal: inotify-trace's part of the cost that bpftrace adds.
const GOAL: f64 = 0.5;

/// Nanoseconds that are only noise.
const NOISE: f64 = 2.0;

const fn bpftrace(program: &'static str) -> Tracer {
    Tracer::Bpftrace { program, pages: None }
}

/// In the order of the rows; the verdict refers to them by place.
const ROWS: [(&str, Tracer); 5] = [
    ("inotify-trace", Tracer::Agent(Format::Text)),
    ("bpftrace, create and close", bpftrace(CREATE_AND_CLOSE)),
    ("empty program on `sys_enter_close`", bpftrace(EMPTY_CLOSE)),
    ("empty programs on enter and exit of `inotify_init1`", bpftrace(EMPTY_OTHER)),
    ("empty program on `raw_syscalls:sys_enter`", bpftrace(EMPTY_ALL)),
];

/// The cost that a tracer adds to the calls, compared with the same round without one.
#[derive(Default)]
struct Added {
    close: Vec<f64>,
    getppid: Vec<f64>,
}

pub fn measure(bench: &Bench) -> Result<String> {
    step::say("added cost of close(-1) and getppid()");
    let batches = bench.pick(12, 6);
    let rounds = bench.pick(5, 1);
    let mut alone: Vec<Cost> = Vec::new();
    let mut added: [Added; ROWS.len()] = Default::default();
    for _ in 0..rounds {
        bench.look_for_tracers();
        let base = load::calls(batches, load::BATCH)?;
        for ((_, tracer), added) in ROWS.iter().zip(&mut added) {
            let Some(running) = tracer.start(bench)? else { continue };
            let cost = load::calls(batches, load::BATCH)?;
            running.end(0)?;
            added.close.push(cost.close - base.close);
            added.getppid.push(cost.getppid - base.getppid);
        }
        alone.push(base);
    }
    let close = Spread::of(alone.iter().map(|cost| cost.close));
    let getppid = Spread::of(alone.iter().map(|cost| cost.getppid));
    let added = added.map(|added| (Spread::of(added.close), Spread::of(added.getppid)));
    let mut rows =
        vec![vec!["no tracer: the call itself".to_owned(), cell(close, 0), cell(getppid, 0)]];
    for ((name, _), (close, getppid)) in ROWS.iter().zip(&added) {
        if close.is_some() {
            rows.push(vec![format!("added by {name}"), cell(*close, 0), cell(*getppid, 0)]);
        }
    }
    Ok(format!(
        "## Added cost of other system calls\n\n\
         What `close(-1)` and `getppid()` cost a process that has no instance; nanoseconds a call, \
         the fastest batch of {batches} in each of {rounds} rounds, with and without tracers in \
         turns.\n\n{}\n{}",
        table(&["", "close(-1)", "getppid()"], &rows),
        assess(&added)?,
    ))
}

fn assess(added: &[(Option<Spread>, Option<Spread>); ROWS.len()]) -> Result<String> {
    let [agent, bpftrace, floor, other, all] =
        added.map(|(close, getppid)| Some((close?.median, getppid?.median)));
    let agent = agent.context("inotify-trace's part of the calls was not measured")?;
    let Some((bpftrace, floor)) = bpftrace.zip(floor) else {
        return Ok(
            "**Skipped: the comparison with bpftrace, which is not installed.**\n\n".to_owned()
        );
    };
    let ratio = |ours: f64, theirs: f64| {
        if theirs < NOISE { "too little to compare".to_owned() } else { number(ours / theirs, 2) }
    };
    let good = |ours: f64, theirs: f64| ours <= (GOAL * theirs).max(NOISE);
    let met = good(agent.0, bpftrace.0) && good(agent.1, bpftrace.1);
    let mut text = format!(
        "Ratio of what inotify-trace adds to what bpftrace adds: {} for `close(-1)`, {} for \
         `getppid()`.\n\n{}",
        ratio(agent.0, bpftrace.0),
        ratio(agent.1, bpftrace.1),
        verdict("at most half of bpftrace's, with tracepoints", met),
    );
    if !met {
        text += &format!(
            " Part of it is not the tracer's to save: it is what the kernel does for any program \
             on a system call's tracepoint. An empty program on `sys_enter_close` costs {} ns of \
             the {} ns that bpftrace adds",
            number(floor.0, 0),
            number(bpftrace.0, 0),
        );
        text += if floor.0 > GOAL * bpftrace.0 {
            ", so that nothing on this tracepoint can cost half of that."
        } else {
            "."
        };
    }
    if let Some((other, all)) = other.zip(all).filter(|(other, _)| other.1 > NOISE) {
        text += &format!(
            "\n\nAny tracepoint on any system call also sends all other calls of all processes \
             through the kernel's slow path: empty programs on `inotify_init1` make `getppid()`, \
             which they do not concern, {} ns slower. A program on the raw tracepoint of all \
             system calls, which would see `close` too, would make it {} ns slower.",
            number(other.1, 0),
            number(all.1, 0),
        );
    }
    Ok(text + "\n\n")
}
