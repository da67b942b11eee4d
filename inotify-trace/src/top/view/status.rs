//! The last line: what is typed, what was said, or how the table is shown.

use ratatui_core::{buffer::Buffer, layout::Rect};

use super::{BOLD, Look, PLAIN, put};
use crate::{
    output::printable,
    top::state::{Front, Prompt, State},
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, count: usize, look: Look) {
    match (&state.prompt, &state.message) {
        (Some(Prompt::Filter(text)), _) => typed(buffer, area, "rows with: ", text),
        (Some(Prompt::Jump(text)), _) => typed(buffer, area, "go to time: ", text),
        (None, Some(message)) => drop(put(buffer, area, 0, 0, &printable(message), look.near())),
        (None, None) => drop(put(buffer, area, 0, 0, &usual(state, count), PLAIN)),
    }
}

fn typed(buffer: &mut Buffer, area: Rect, what: &str, text: &str) {
    let at = put(buffer, area, 0, 0, what, BOLD);
    put(buffer, area, 0, at, &format!("{}_", printable(text)), PLAIN);
}

fn usual(state: &State, count: usize) -> String {
    let shown = state.shown();
    let rows = state.rows();
    let place = if count == 0 { 0 } else { shown.place + 1 };
    let mut text = match (state.has_help, state.front) {
        (true, _) => "Esc: back".to_owned(),
        (_, Front::Page) => "Esc: back  w: watches".to_owned(),
        (_, front) => {
            let back = if front == Front::Watches { "Esc: back  " } else { "" };
            format!("{back}{place} of {count}")
        }
    };
    if !state.has_help && state.front != Front::Page {
        if rows.more > 0 {
            text += &format!(" ({} more are left out)", rows.more);
        }
        if let Some(sort) = shown.sort {
            text += &format!("  by {sort}");
        }
        if shown.is_reversed {
            text += "  reversed";
        }
        if !shown.filter.is_empty() {
            text += &format!("  with {}", printable(&shown.filter));
        }
    }
    text + "  ?: help  q: quit"
}
