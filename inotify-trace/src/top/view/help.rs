//! The keys.

use ratatui_core::{buffer::Buffer, layout::Rect};

use super::{BOLD, PLAIN, put};
use crate::top::{keys::HELP, state::State};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &mut State) {
    let most = HELP.len().saturating_sub(usize::from(area.height));
    state.scroll = state.scroll.min(u16::try_from(most).unwrap_or(u16::MAX));
    for (line, (key, what)) in (0..area.height).zip(HELP.iter().skip(state.scroll.into())) {
        put(buffer, area, line, 0, key, BOLD);
        put(buffer, area, line, 22, what, PLAIN);
    }
}
