//! All about one row.

use ratatui_core::{buffer::Buffer, layout::Rect, style::Style};

use super::{BOLD, PLAIN, fitted, put};
use crate::{
    output::{Cell, Width, printable, wrapped},
    top::{
        scene::Page,
        state::{State, WATCHES_OF_A_PAGE as WATCHES},
    },
};

/// The columns of the names of values.
const NAMES: usize = 14;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &mut State) {
    let Some(page) = &state.scene.page else {
        let is_waiting = state.scene.answers < state.number;
        let text = if is_waiting { "..." } else { "it is gone; Esc goes back" };
        put(buffer, area, 0, 0, text, PLAIN);
        return;
    };
    let lines = lines(page, usize::from(area.width));
    let most = lines.len().saturating_sub(usize::from(area.height));
    state.scroll = state.scroll.min(u16::try_from(most).unwrap_or(u16::MAX));
    for (line, (text, style)) in (0..area.height).zip(lines.iter().skip(state.scroll.into())) {
        put(buffer, area, line, 0, text, *style);
    }
}

fn lines(page: &Page, width: usize) -> Vec<(String, Style)> {
    let mut lines = Vec::new();
    let mut add = |text: &str, style| {
        let text = wrapped(text, 0).on(Width::Columns(width.max(20))).to_string();
        lines.extend(text.lines().map(|line| (line.to_owned(), style)));
    };
    add(&page.title, BOLD);
    for (name, value) in &page.facts {
        add(&format!("{name:NAMES$} {}", fitted(&printable(value), 4 * width, false)), PLAIN);
    }
    if let Some((what, values)) = &page.history {
        add(&format!("{:NAMES$} {}  {what}", "history", spark(values, width / 2)), PLAIN);
    }
    if !page.text.is_empty() {
        add("", PLAIN);
        page.text.iter().for_each(|text| add(text, PLAIN));
    }
    let watches = &page.watches;
    if !watches.rows.is_empty() {
        let all = watches.rows.len() + watches.more;
        lines.push((String::new(), PLAIN));
        lines.push((format!("{all} watches (w: sort and filter them)"), BOLD));
        for row in watches.rows.iter().take(WATCHES) {
            let text = |at: usize| row.cells.get(at).map(Cell::text).unwrap_or_default();
            let mask = fitted(&text(1), width / 3, false);
            let room = width.saturating_sub(mask.chars().count() + 4);
            lines.push((format!("  {}  {mask}", fitted(&text(0), room, true)), PLAIN));
        }
        if all > WATCHES {
            lines.push((format!("  ... and {} more", all - WATCHES), PLAIN));
        }
    }
    lines
}

/// Values as bars of eight heights. An equal value has an equal height.
fn spark(values: &[u32], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let skipped = values.len().saturating_sub(columns);
    let values = &values[skipped..];
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let bar = |value: &u32| BARS[(u64::from(*value) * 7 / u64::from(most)).min(7) as usize];
    values.iter().map(bar).collect()
}
