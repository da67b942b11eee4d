//! The highest rate at which a tracer reports every event.

use anyhow::Result;
use xtask::step;

use crate::context::Bench;
use crate::stats::{number, table};
use crate::storm::survives;
use crate::told::Format;
use crate::tracer::Tracer;

/// Every tracer is expected to keep up with this many loops a second.
const LOWEST: f64 = 1000.0;

/// Events that a loop makes.
const EVENTS: f64 = 2.0;

pub fn measure(bench: &Bench) -> Result<String> {
    let millis = bench.pick(3000, 700);
    let steps = bench.pick(6, 3);
    let tracers = [
        ("inotify-trace", Tracer::Agent(Format::Text)),
        ("inotify-trace -o json", Tracer::Agent(Format::Json)),
        ("bpftrace", Tracer::BPFTRACE),
    ];
    let mut rows = Vec::new();
    for (name, tracer) in tracers {
        if tracer.is_missing(bench) {
            continue;
        }
        step::say(&format!("highest rate that loses nothing: {name}"));
        let (kept, lost) = search(bench, tracer, millis, steps)?;
        let shown = |rate: f64| number(rate * EVENTS, 0);
        rows.push(vec![
            name.to_owned(),
            kept.map_or_else(|| "none".to_owned(), shown),
            lost.map_or_else(|| "none: with it, the loop goes no faster".to_owned(), shown),
        ]);
    }
    Ok(format!(
        "### Highest rate without a loss\n\n\
         Storm B at a given pace: instances made and closed at even distances for {} s. The pace \
         was narrowed down in {steps} steps; the last column is the lowest pace tried at which \
         something was missing. Events a second.\n\n{}\n",
        number(millis as f64 / 1e3, 1),
        table(&["", "nothing missing", "something missing"], &rows),
    ))
}

/// The highest rate tried that loses nothing, and the lowest that does; in loops a second.
fn search(
    bench: &Bench,
    tracer: Tracer,
    millis: u64,
    steps: u32,
) -> Result<(Option<f64>, Option<f64>)> {
    let (survived, fastest) = survives(bench, tracer, millis, None)?;
    if survived {
        return Ok((Some(fastest), None));
    }
    let (mut kept, mut lost) = (None, fastest);
    for _ in 0..steps {
        // Halfway between orders of magnitude: the limit may be anywhere between.
        let middle = (kept.unwrap_or(LOWEST) * lost).sqrt();
        let (survived, reached) = survives(bench, tracer, millis, Some(middle))?;
        if survived {
            kept = Some(reached);
        } else {
            lost = reached;
        }
    }
    Ok((kept, Some(lost)))
}
