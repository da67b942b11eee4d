//! The figure of how the time of a look grows.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Readable on white and on black.
const INK: RGBColor = RGBColor(125, 133, 144);
const COLORS: [RGBColor; 3] =
    [RGBColor(31, 136, 229), RGBColor(229, 115, 30), RGBColor(45, 164, 78)];

/// A curve: its name, and descriptors with milliseconds.
pub type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// Draws the curves on logarithmic axes. There is no background: the page's own shows.
pub fn draw(path: &Path, curves: &[Curve<'_>]) -> Result<()> {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        least / 1.3..most * 1.3
    };
    let x = range(&mut points().map(|point| point.0));
    let y = range(&mut points().map(|point| point.1));
    let text = ("sans-serif", 15).into_font().color(&INK);
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw: {error}");

    let area = SVGBackend::new(path, (760, 440)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(45)
        .y_label_area_size(65)
        .build_cartesian_2d(x.log_scale(), y.log_scale())
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("descriptors open on the machine")
        .y_desc("milliseconds")
        .axis_style(INK)
        .bold_line_style(INK.mix(0.35))
        .light_line_style(INK.mix(0.12))
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .x_label_formatter(&|value| crate::stats::number(*value, 0))
        .y_label_formatter(&|value| crate::stats::number(*value, 0))
        .draw()
        .map_err(|error| failed(&error))?;
    for ((name, points), color) in curves.iter().zip(COLORS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))
            .map_err(|error| failed(&error))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart
            .draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled())))
            .map_err(|error| failed(&error))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text)
        .border_style(INK.mix(0.35))
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
