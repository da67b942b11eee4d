//! The charts of a run.

use std::time::Duration;

use inotify_trace_model::{event::BootTime, resource::Resource};
use maud::{Markup, html};

use super::chart::{Chart, Series};
use crate::{
    output::Approximate,
    report::{Charged, Levels, Run},
};

/// The most bars in a chart that can still be distinguished.
const BARS: usize = 150;

/// A limit this many times as high as the peak is not drawn: the chart would be a flat line.
const FAR: u32 = 3;

pub(super) fn all(run: &Run) -> Markup {
    let charts = &run.charts;
    html! {
        @for charged in &charts.users { (user(charged, run, marks(charged, run)).render(run)) }
        @if charts.users_left > 0 {
            p.note { (charts.users_left) " more counts of users stayed further from their limits." }
        }
        @if !charts.places.is_empty() { (places(run).render(run)) }
        @if charts.failed.iter().any(|&it| it > 0) {
            (failures(&bars(&charts.failed), run).render(run))
        }
        @if charts.created.iter().chain(&charts.released).any(|&it| it > 0) {
            (changes(&bars(&charts.created), &bars(&charts.released), run).render(run))
        }
    }
}

/// The position of a moment between the ends of a chart, from 0 to 1.
fn share(run: &Run, time: BootTime) -> f64 {
    let grid = run.charts.grid;
    let length = grid.step as f64 * run.charts.points as f64;
    ((time.0.saturating_sub(grid.start.0)) as f64 / length).min(1.0)
}

/// When leaks were noticed that this user is charged for.
fn marks(charged: &Charged, run: &Run) -> Vec<f64> {
    let key = (charged.user, charged.resource);
    let leaks = run.leaks.iter().filter(|leak| leak.is_leak() && leak.charged.contains(&key));
    leaks.map(|leak| share(run, leak.reached)).collect()
}

fn user<'a>(charged: &'a Charged, run: &Run, marks: Vec<f64>) -> Chart<'a> {
    let ((most, allowed), what) = (charged.most(), charged.resource.name());
    let is_drawn = allowed <= most.saturating_mul(FAR).max(1);
    let mut series = vec![Series {
        name: "charged",
        class: "s0".to_owned(),
        points: &charged.used,
        is_filled: true,
    }];
    let mut notes = Vec::new();
    if is_drawn {
        series.push(Series {
            name: "limit",
            class: "limit".to_owned(),
            points: &charged.limit,
            is_filled: false,
        });
    } else {
        notes.push(format!("The limit, {allowed}, is far above and not drawn."));
    }
    if !marks.is_empty() {
        notes.push("Dotted: a leak was noticed.".to_owned());
    }
    let last = charged.used.last().copied().unwrap_or_default();
    Chart {
        title: match charged.resource {
            Resource::Instances => format!("Instances charged to {}, of {allowed}", charged.name),
            Resource::Watches => format!("Watches charged to {}, of {allowed}", charged.name),
        },
        description: format!(
            "From {} to {}: at most {most} of {allowed} {what}, {last} at the end.",
            run.times.short(run.start),
            run.times.short(run.end)
        ),
        series,
        is_stacked: false,
        marks,
        note: (!notes.is_empty()).then(|| notes.join(" ")),
        is_low: false,
    }
}

fn places(run: &Run) -> Chart<'_> {
    let area = |(at, levels)| -> Series<'_> {
        let Levels { name, points }: &Levels = levels;
        Series { name, class: format!("s{at}"), points, is_filled: true }
    };
    let mut series: Vec<_> = run.charts.places.iter().enumerate().map(area).collect();
    if let Some(Levels { name, points }) = &run.charts.others {
        series.push(Series { name, class: "others".to_owned(), points, is_filled: true });
    }
    let most = |it: &Series<'_>| it.points.iter().max().copied().unwrap_or_default();
    let each: Vec<_> = series.iter().map(|it| format!("{} {}", it.name, most(it))).collect();
    Chart {
        title: "Instances by container, or cgroup where there is none".to_owned(),
        description: format!("The most that each had: {}.", each.join(", ")),
        series,
        is_stacked: true,
        marks: Vec::new(),
        note: None,
        is_low: false,
    }
}

fn failures<'a>(points: &'a [u32], run: &Run) -> Chart<'a> {
    let total: u64 = run.charts.failed.iter().map(|&it| u64::from(it)).sum();
    Chart {
        title: format!("Calls that failed at a limit, in each {}", step(run)),
        description: format!("{total} calls failed."),
        series: vec![Series {
            name: "failed",
            class: "failed".to_owned(),
            points,
            is_filled: true,
        }],
        is_stacked: false,
        marks: Vec::new(),
        note: None,
        is_low: true,
    }
}

fn changes<'a>(created: &'a [u32], released: &'a [u32], run: &Run) -> Chart<'a> {
    let total = |points: &[u32]| points.iter().map(|&it| u64::from(it)).sum::<u64>();
    let line = |name, class: &str, points, is_filled| Series {
        name,
        class: class.to_owned(),
        points,
        is_filled,
    };
    Chart {
        title: format!("Instances made and released, in each {}", step(run)),
        description: format!(
            "{} made, {} released.",
            total(&run.charts.created),
            total(&run.charts.released)
        ),
        series: vec![line("made", "s0", created, true), line("released", "s1", released, false)],
        is_stacked: false,
        marks: Vec::new(),
        note: None,
        is_low: true,
    }
}

/// How many points become one bar.
fn width(points: usize) -> usize {
    points.div_ceil(BARS).max(1)
}

/// The sum of each bar, repeated for all points of the bar: so the last bar ends with the other
/// series.
fn bars(points: &[u32]) -> Vec<u32> {
    let sum = |bar: &[u32]| bar.iter().fold(0, |sum: u32, it| sum.saturating_add(*it));
    points.chunks(width(points.len())).flat_map(|bar| vec![sum(bar); bar.len()]).collect()
}

/// How long a bar is.
fn step(run: &Run) -> String {
    let points = u64::try_from(width(run.charts.points)).unwrap_or(1);
    Approximate(Duration::from_nanos(run.charts.grid.step.saturating_mul(points))).to_string()
}
