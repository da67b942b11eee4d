//! The screen as text, for scripts and for terminals that cannot move their cursor.

use std::io::{self, Write};

use super::{
    rows::left,
    scene::{Header, Scene, Source},
};
use crate::output::{Cell, Screen, Width, printable, write_within};

/// The most rows of a view.
const ROWS: usize = 20;

/// Writes what these scenes of one moment show.
///
/// # Errors
/// If it cannot be written.
pub fn write(out: &mut impl Write, scenes: &[Scene], screen: Screen) -> io::Result<()> {
    let Some(first) = scenes.first() else { return Ok(()) };
    write_header(out, &first.header)?;
    for Scene { view, rows, .. } in scenes {
        writeln!(out, "\n{}", view.title())?;
        if rows.rows.is_empty() {
            writeln!(out, "there is nothing")?;
            continue;
        }
        // The first columns say most.
        let count = match screen.width {
            Width::Unlimited => rows.columns.len(),
            Width::Columns(_) => rows.columns.len().min(8),
        };
        let cells: Vec<Vec<Cell>> = rows
            .rows
            .iter()
            .take(ROWS)
            .map(|row| row.cells.iter().take(count).cloned().collect())
            .collect();
        write_within(&rows.columns[..count], &cells, out, true, screen)?;
        match (rows.rows.len() + rows.more).saturating_sub(ROWS) {
            0 => {}
            more => writeln!(out, "... and {more} more")?,
        }
    }
    out.flush()
}

fn write_header(out: &mut impl Write, header: &Header) -> io::Result<()> {
    let mode = match header.source {
        Source::Live => "live",
        Source::Agent => "agent",
        Source::Recording => "recording at",
    };
    write!(out, "inotify-trace  {mode}  {}", header.time)?;
    for text in [&header.host, &header.backend] {
        if !text.is_empty() {
            write!(out, "  {}", printable(text))?;
        }
    }
    let Header { instances, watches, processes, failures, .. } = *header;
    write!(
        out,
        "\n{instances} instances  {watches} watches  {processes} processes  {failures} failures"
    )?;
    if header.losses.is_empty() {
        writeln!(out, "  nothing lost")?;
    } else {
        let each: Vec<_> =
            header.losses.iter().map(|(what, count)| format!("{count} {what}")).collect();
        writeln!(out, "  LOST: {}", each.join(", "))?;
    }
    for meter in &header.meters {
        let level = meter.level;
        let text = format!(
            "{}: {} of {} {}  {}",
            printable(&meter.user),
            level.used,
            level.limit,
            meter.resource.name(),
            left(meter.left)
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
