//! Tables that can be sorted and filtered where there is a script, and read where there is none.

use maud::{Markup, html};

use super::clean;
use crate::output::Cell;

/// A table of so many columns may be wider than the page.
const WIDE: usize = 7;

/// A text of so few characters is not broken.
const SHORT: usize = 26;

/// A table of which there may be more than is shown. Columns with nothing in them are left out.
pub(super) fn table(name: &str, columns: &[&str], rows: &[Vec<Cell>], left: usize) -> Markup {
    let is_used = |at: &usize| rows.iter().any(|row| row.get(*at) != Some(&Cell::Missing));
    let used: Vec<_> = (0..columns.len()).filter(is_used).collect();
    let is_number = |at: usize| {
        let is_one = |cell: &Cell| matches!(cell, Cell::Number(_) | Cell::Percent(_));
        rows.iter().any(|row| row.get(at).is_some_and(is_one))
    };
    html! {
        @if rows.is_empty() {
            p.note { "None." }
        } @else {
            div.data data-name=(name) {
                div.scroll tabindex="0" role="region" aria-label=(name) {
                    table.sortable aria-label=(name) {
                        thead { tr {
                            @for &at in &used { th.number[is_number(at)] scope="col" { (columns[at]) } }
                        } }
                        tbody { @for row in rows { tr {
                            @for cell in used.iter().filter_map(|&at| row.get(at)) { (td(cell)) }
                        } } }
                    }
                }
            }
        }
        @if used.len() >= WIDE && !rows.is_empty() {
            p.note.scrolls { "Where it is cut: swipe, hold Shift and turn the wheel, or press Tab and arrow keys." }
        }
        @if left > 0 { p.note { (left) " more are left out." } }
    }
}

fn td(cell: &Cell) -> Markup {
    let text = |text: &str| html! { td.short[text.chars().count() <= SHORT] { (clean(text)) } };
    match cell {
        Cell::Number(number) | Cell::Faults(number) => {
            html! { td.number data-v=(number) { (number) } }
        }
        Cell::Figure(text) => html! { td.number { (text) } },
        Cell::Percent(level) => {
            html! { td.number data-v=(level.percent()) { (cell.text()) } }
        }
        Cell::Missing => html! { td.missing { "–" } },
        Cell::Text(it) => text(it),
        Cell::List(texts) => text(&texts.join(", ")),
    }
}
