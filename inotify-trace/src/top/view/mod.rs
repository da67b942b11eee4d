//! Drawing: from the state to cells of the screen, nothing else.

mod header;
mod help;
mod page;
mod status;
mod table;

use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    terminal::Frame,
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::state::{Front, State};

/// How things stand out. The background is the terminal's own, be it dark or light.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    has_colour: bool,
}

impl Look {
    /// With colours or without.
    #[must_use]
    pub fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    fn coloured(self, colour: Color) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if self.has_colour { bold.fg(colour) } else { bold }
    }

    fn bad(self) -> Style {
        self.coloured(Color::Red)
    }

    fn near(self) -> Style {
        self.coloured(Color::Yellow)
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);
const PLAIN: Style = Style::new();

/// Draws everything, and notes how many rows fit.
pub fn draw(frame: &mut Frame<'_>, state: &mut State, look: Look) {
    let area = frame.area();
    draw_on(frame.buffer_mut(), area, state, look);
}

pub(super) fn draw_on(buffer: &mut Buffer, area: Rect, state: &mut State, look: Look) {
    let lines = header::lines(state, area.height);
    let (top, rest) = split(area, lines);
    let (body, bottom) = split(rest, rest.height.saturating_sub(1));
    header::draw(buffer, top, state, look);
    state.room = usize::from(body.height.saturating_sub(1));
    let order = state.arrange();
    if state.has_help {
        help::draw(buffer, body, state);
    } else {
        match state.front {
            Front::Rows | Front::Watches => table::draw(buffer, body, state, &order),
            Front::Page => page::draw(buffer, body, state),
        }
    }
    status::draw(buffer, bottom, state, order.len(), look);
}

/// The first lines of an area, and the others.
fn split(area: Rect, lines: u16) -> (Rect, Rect) {
    let lines = lines.min(area.height);
    let rest = Rect { y: area.y + lines, height: area.height - lines, ..area };
    (Rect { height: lines, ..area }, rest)
}

/// Writes a text on a line of an area, from a column on, and returns the column after it.
fn put(buffer: &mut Buffer, area: Rect, line: u16, column: u16, text: &str, style: Style) -> u16 {
    if line >= area.height || column >= area.width {
        return column;
    }
    let room = usize::from(area.width - column);
    let (end, _) = buffer.set_stringn(area.x + column, area.y + line, text, room, style);
    end - area.x
}

/// A text in at most so many columns; where it is cut there is an ellipsis: at its beginning if the end
/// says more, as it does of a path.
fn fitted(text: &str, columns: usize, keeps_end: bool) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut is_kept = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = if fits { left - width } else { 0 };
        fits
    };
    if columns == 0 {
        return String::new();
    }
    if keeps_end {
        let mut kept: Vec<_> = text.chars().rev().take_while(&mut is_kept).collect();
        kept.push('…');
        return kept.into_iter().rev().collect();
    }
    text.chars().take_while(is_kept).chain(['…']).collect()
}
