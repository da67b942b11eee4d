//! Rows below headings.

use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_width::UnicodeWidthStr as _;

use super::{BOLD, PLAIN, REVERSED, fitted, put};
use crate::{
    output::Cell,
    top::{
        scene::Rows,
        state::{Front, Shown, State},
    },
};

/// A text is narrowed to so many columns before others are left out.
const NARROW: usize = 24;

/// A column of the table.
#[derive(Debug)]
struct Column {
    at: usize,
    width: usize,
    is_number: bool,
    keeps_end: bool,
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, order: &[usize]) {
    let (rows, shown) = (state.rows(), state.shown());
    let room = usize::from(area.height.saturating_sub(1));
    let visible: Vec<_> = order.iter().skip(shown.top).take(room).copied().collect();
    let columns = columns(rows, shown, &visible, usize::from(area.width));
    let mut left = 0;
    for column in &columns {
        let name = rows.columns[column.at];
        let is_sorted = shown.sort == Some(name);
        let style = if is_sorted { BOLD.add_modifier(Modifier::UNDERLINED) } else { BOLD };
        left = cell(buffer, area, 0, left, column, name, style);
    }
    for (line, &at) in (1..).zip(&visible) {
        let row = &rows.rows[at];
        let is_selected = shown.selected.as_ref() == Some(&row.key);
        let style = if is_selected { REVERSED } else { PLAIN };
        if is_selected {
            let blank = " ".repeat(usize::from(area.width));
            put(buffer, area, line, 0, &blank, style);
        }
        let mut left = 0;
        for column in &columns {
            let text = row.cells.get(column.at).map(Cell::text).unwrap_or_default();
            left = cell(buffer, area, line, left, column, &text, style);
        }
    }
    if visible.is_empty() {
        put(buffer, area, 1, 0, nothing(state), PLAIN);
    }
}

/// Why there is no row.
fn nothing(state: &State) -> &'static str {
    let is_waiting = state.scene.view != state.view || state.scene.answers < state.number;
    match state.front {
        _ if !state.shown().filter.is_empty() => "no row has that text; Esc shows all",
        _ if is_waiting => "...",
        Front::Watches => "it has no watches",
        _ => "there is nothing",
    }
}

fn cell(
    buffer: &mut Buffer,
    area: Rect,
    line: u16,
    left: usize,
    column: &Column,
    text: &str,
    style: Style,
) -> usize {
    let text = fitted(text, column.width, column.keeps_end);
    let pad = if column.is_number { column.width.saturating_sub(text.width()) } else { 0 };
    let at = u16::try_from(left + pad).unwrap_or(u16::MAX);
    put(buffer, area, line, at, &text, style);
    left + column.width + 2
}

/// The columns that fit, and how wide they are.
fn columns(rows: &Rows, shown: &Shown, visible: &[usize], most: usize) -> Vec<Column> {
    let first = (!rows.columns.is_empty()).then_some(0);
    let wanted = first.into_iter().chain(1 + shown.skip..rows.columns.len());
    let mut natural = Vec::new();
    let mut all: Vec<_> = wanted
        .map(|at| {
            let cells = || visible.iter().filter_map(|&row| rows.rows[row].cells.get(at));
            let is_number = |cell: &Cell| cell.is_number() || *cell == Cell::Missing;
            let name = rows.columns[at];
            let widest = cells().map(|cell| cell.text().width()).max().unwrap_or_default();
            let width = widest.max(name.width());
            natural.push(width);
            Column {
                at,
                width,
                is_number: cells().all(is_number),
                keeps_end: matches!(name, "TARGET" | "CONTAINER" | "CGROUP"),
            }
        })
        .collect();
    let total = |all: &[Column]| all.iter().map(|it| it.width + 2).sum::<usize>().saturating_sub(2);
    if total(&all) > most {
        for column in all.iter_mut().filter(|it| !it.is_number) {
            column.width = column.width.min(NARROW.max(rows.columns[column.at].width()));
        }
    }
    while all.len() > 1 && total(&all) > most {
        // The rest of the line is for one that is cut, if something of it can be seen.
        let Some(last) = all.last() else { break };
        let (before, width) = (total(&all[..all.len() - 1]) + 2, last.width);
        let left = most.saturating_sub(before);
        if !last.is_number && left >= 12.min(width) && before < most {
            if let Some(last) = all.last_mut() {
                last.width = left.min(width);
            }
            break;
        }
        all.pop();
    }
    // What is left over goes to those that were narrowed.
    let mut left = most.saturating_sub(total(&all));
    for (column, natural) in all.iter_mut().zip(natural) {
        let more = natural.saturating_sub(column.width).min(left);
        column.width += more;
        left -= more;
    }
    all
}
