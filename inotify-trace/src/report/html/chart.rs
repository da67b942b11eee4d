//! Charts: lines and areas in SVG that stretches to whatever width there is, with labels in HTML,
//! which keep their size.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::clean;
use crate::report::{Run, Times};

/// The drawing's own size: as many units as there are points at most.
const WIDTH: usize = 600;
const HEIGHT: usize = 100;

/// Lengths of time between ticks, in seconds.
const STEPS: [u64; 22] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800, 1_209_600, 2_592_000,
];

/// A line or an area in a chart.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    /// The class in the style sheet.
    pub(super) class: String,
    pub(super) points: &'a [u32],
    pub(super) is_filled: bool,
}

/// A chart.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    /// A description for readers who cannot see the chart.
    pub(super) description: String,
    pub(super) series: Vec<Series<'a>>,
    /// Whether each series begins where the one before ends.
    pub(super) is_stacked: bool,
    /// The shares of the width at which marks are drawn.
    pub(super) marks: Vec<f64>,
    pub(super) note: Option<String>,
    /// Whether the chart is less important than others.
    pub(super) is_low: bool,
}

impl Chart<'_> {
    pub(super) fn render(&self, run: &Run) -> Markup {
        let (top, ticks) = axis(self.most());
        let charts = &run.charts;
        let mut below = vec![0_u32; charts.points];
        let paths: Vec<_> = self
            .series
            .iter()
            .map(|series| {
                let from = below.clone();
                let mut to = series.points.to_vec();
                if self.is_stacked {
                    to.iter_mut().zip(&from).for_each(|(it, from)| *it = it.saturating_add(*from));
                    below.clone_from(&to);
                }
                path(&to, series.is_filled.then_some(&from), top)
            })
            .collect();
        html! {
            figure.chart {
                figcaption { (clean(&self.title)) }
                div class={"plot" @if self.is_low { " low" }} {
                    @for tick in &ticks {
                        span.y style={"bottom:" (percent(*tick, top)) "%"} aria-hidden="true" { (tick) }
                    }
                    svg role="img" viewBox={"0 0 " (WIDTH) " " (HEIGHT)} preserveAspectRatio="none" {
                        title { (clean(&self.title)) }
                        desc { (clean(&self.description)) }
                        @for tick in &ticks {
                            @let y = height(*tick, top);
                            line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                        }
                        @for (at, points) in stretches(&charts.unknown) {
                            @let unit = WIDTH as f64 / charts.points.max(1) as f64;
                            rect.unknown x=(at as f64 * unit) width=(points as f64 * unit) y="0"
                                height=(HEIGHT) { title { "not known" } }
                        }
                        @for mark in &self.marks {
                            @let x = (mark * WIDTH as f64).round();
                            line.mark x1=(x) x2=(x) y1="0" y2=(HEIGHT) {}
                        }
                        @for (series, path) in self.series.iter().zip(&paths) {
                            path class={(series.class) @if series.is_filled { " filled" }} d=(path) {
                                title { (clean(series.name)) }
                            }
                        }
                    }
                }
                div.x aria-hidden="true" {
                    @for (at, label) in times(run) {
                        span style={"left:" (format!("{:.2}", at * 100.0)) "%"} { (label) }
                    }
                }
                @if self.series.len() > 1 {
                    ul.legend {
                        @for series in &self.series {
                            @let most = series.points.iter().max().copied().unwrap_or_default();
                            li { span class={"swatch " (series.class)} {} (clean(series.name))
                                 " " span.most { "(most: " (most) ")" } }
                        }
                    }
                }
                @if charts.unknown.contains(&true) {
                    p.note { "Grey: not everything is known of that time." }
                }
                @if let Some(note) = &self.note { p.note { (clean(note)) } }
            }
        }
    }

    fn most(&self) -> u32 {
        if !self.is_stacked {
            return self.series.iter().flat_map(|it| it.points).max().copied().unwrap_or_default();
        }
        let length = self.series.iter().map(|it| it.points.len()).max().unwrap_or_default();
        let sum = |at| self.series.iter().filter_map(|it| it.points.get(at)).sum();
        (0..length).map(sum).max().unwrap_or_default()
    }
}

/// Where stretches of points that are true begin, and how long they are.
fn stretches(points: &[bool]) -> Vec<(usize, usize)> {
    let same = points.chunk_by(|one, next| one == next);
    let mut at = 0;
    let stretch = same.filter_map(|some| {
        let begin = at;
        at += some.len();
        some.contains(&true).then_some((begin, some.len()))
    });
    stretch.collect()
}

/// The highest value of an axis that has room for `most`, and where it has labels.
fn axis(most: u32) -> (u32, Vec<u32>) {
    let most = most.max(1);
    let mut step = 1_u32;
    let factors = [2, 5, 2];
    for factor in factors.iter().cycle().zip(0..) {
        if most.div_ceil(step) <= 4 {
            break;
        }
        // 1, 2, 5, 10, 20, 50 and so on.
        step = if factor.1 % 3 == 1 { step / 2 * 5 } else { step.saturating_mul(2) };
    }
    let top = most.div_ceil(step).saturating_mul(step);
    (top, (0..=top / step).map(|at| at * step).collect())
}

fn percent(value: u32, top: u32) -> String {
    format!("{:.1}", f64::from(value) * 100.0 / f64::from(top))
}

/// The distance of a value from the top of the chart.
fn height(value: u32, top: u32) -> String {
    let y = HEIGHT as f64 * (1.0 - f64::from(value) / f64::from(top));
    format!("{y:.1}").trim_end_matches(".0").to_owned()
}

/// A line in steps; the area between it and `from`, if there is one.
fn path(points: &[u32], from: Option<&Vec<u32>>, top: u32) -> String {
    let mut path = String::new();
    let x = |at: usize| {
        let x = (at * WIDTH) as f64 / points.len().max(1) as f64;
        format!("{x:.1}").trim_end_matches(".0").to_owned()
    };
    // A line begins at its first value; an area has a bottom.
    let begin = if from.is_some() { Some(0) } else { points.iter().position(|&it| it > 0) };
    let Some(begin) = begin else { return path };
    // Writing to a String cannot fail.
    for (at, &value) in points.iter().enumerate().skip(begin) {
        if at == begin {
            let _ = write!(path, "M{} {}", x(at), height(value, top));
        } else if points.get(at - 1) != Some(&value) {
            let _ = write!(path, "H{}V{}", x(at), height(value, top));
        }
    }
    let _ = write!(path, "H{WIDTH}");
    if let Some(from) = from {
        let mut last = None;
        for (at, &value) in from.iter().enumerate().take(points.len()).rev() {
            if last != Some(value) {
                let _ = write!(path, "H{}V{}", x(at + 1), height(value, top));
                last = Some(value);
            }
        }
        path.push_str("H0Z");
    }
    path
}

/// The labels of an axis of time, each with its position as a share of the length.
fn times(run: &Run) -> Vec<(f64, String)> {
    let (grid, times): (_, &Times) = (run.charts.grid, &run.times);
    let length = grid.step as f64 * run.charts.points as f64;
    let start = times.since_epoch(grid.start);
    let seconds = length / 1e9;
    // So many that they do not touch each other on a phone.
    let most = if times.is_one_day() { 5.0 } else { 3.0 };
    let Some(&step) = STEPS.iter().find(|&&step| seconds / step as f64 <= most) else {
        return vec![(0.0, times.short(run.start))];
    };
    if seconds < 2.0 {
        return vec![(0.0, times.short(run.start))];
    }
    let offset = i128::from(times.offset(grid.start)) * 1_000_000_000;
    let apart = i128::from(step) * 1_000_000_000;
    let first = (start + offset).div_euclid(apart) * apart + apart - offset;
    (0..8)
        .map(|at| first + at * apart - start)
        .map(|after| (after as f64 / length, after))
        .filter(|(at, _)| *at < 0.97)
        .map(|(at, after)| {
            let after = u64::try_from(after).unwrap_or_default();
            (at, times.tick(inotify_trace_model::event::BootTime(grid.start.0 + after), step))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers_and_room() {
        assert_eq!(axis(0), (1, vec![0, 1]));
        assert_eq!(axis(4), (4, vec![0, 1, 2, 3, 4]));
        assert_eq!(axis(7), (8, vec![0, 2, 4, 6, 8]));
        assert_eq!(axis(128), (150, vec![0, 50, 100, 150]));
        assert_eq!(axis(8192).0, 10_000);
        for most in [1, 9, 99, 1023, 65_536, u32::MAX / 2] {
            let (top, ticks) = axis(most);
            assert!(top >= most && (2..=5).contains(&ticks.len()), "{most}: {ticks:?}");
        }
    }

    #[test]
    fn stretches_are_as_long_as_they_are() {
        assert_eq!(stretches(&[true, false, false, true, true]), [(0, 1), (3, 2)]);
        assert_eq!(stretches(&[false; 3]), []);
    }

    #[test]
    fn areas_go_back_along_what_is_below() {
        assert_eq!(path(&[1, 1, 2], None, 2), "M0 50H400V0H600");
        assert_eq!(path(&[0, 1, 0], None, 2), "M200 50H400V100H600", "not known before");
        assert_eq!(path(&[2, 2], Some(&vec![0, 1]), 2), "M0 0H600H600V50H300V100H0Z");
    }
}
