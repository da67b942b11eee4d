//! The machine as a whole: mode, counts, losses, and the users closest to their limits.

use ratatui_core::{buffer::Buffer, layout::Rect};
use unicode_width::UnicodeWidthStr as _;

use super::{BOLD, Look, PLAIN, REVERSED, fitted, put};
use crate::{
    output::printable,
    top::{
        rows::left,
        scene::{Header, Meter, Source},
        state::State,
        wish::View,
    },
};

/// Columns of a bar.
const BAR: usize = 20;

/// How many lines it takes on a screen of this height.
pub(super) fn lines(state: &State, height: u16) -> u16 {
    let most = if height >= 40 { 6 } else { 3 };
    let meters = state.scene.header.meters.len().min(most);
    // The mode, the counts, and the tabs; a low screen is for rows.
    let meters = u16::try_from(meters).unwrap_or(0).min(height.saturating_sub(12));
    (3 + meters).min(height / 2)
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, look: Look) {
    let header = &state.scene.header;
    let mut at = put(buffer, area, 0, 0, "inotify-trace", BOLD);
    at = put(buffer, area, 0, at + 2, &mode(state, header), REVERSED);
    for text in [&header.time, &header.host, &header.backend] {
        if !text.is_empty() {
            at = put(buffer, area, 0, at + 2, &printable(text), PLAIN);
        }
    }
    let Header { instances, watches, processes, failures, .. } = *header;
    let counts = format!("{instances} instances  {watches} watches  {processes} processes");
    let mut at = put(buffer, area, 1, 0, &counts, PLAIN);
    let style = if failures > 0 { BOLD } else { PLAIN };
    at = put(buffer, area, 1, at + 2, &format!("{failures} failures"), style);
    let lost: u64 = header.losses.iter().fold(0, |sum, it| sum.saturating_add(it.1));
    if lost == 0 {
        put(buffer, area, 1, at + 2, "nothing lost", PLAIN);
    } else {
        let each: Vec<_> =
            header.losses.iter().map(|(what, count)| format!("{count} {what}")).collect();
        put(buffer, area, 1, at + 2, &format!("LOST: {}", each.join(", ")), look.bad());
    }
    let tabs = area.height.saturating_sub(1);
    for (line, it) in (2..tabs).zip(&header.meters) {
        meter(buffer, area, line, it, look);
    }
    if area.height >= 3 {
        let mut at = 0;
        for (place, view) in View::ALL.into_iter().enumerate() {
            let style = if view == state.view { REVERSED } else { PLAIN };
            let tab = format!(" {} {} ", place + 1, view.title());
            at = put(buffer, area, tabs, at, &tab, style) + 1;
        }
    }
}

fn mode(state: &State, header: &Header) -> String {
    let mode = match (header.source, state.is_paused) {
        (Source::Live, false) => "live",
        (Source::Agent, false) => "agent",
        (Source::Live | Source::Agent, true) => "paused",
        (Source::Recording, true) => "recording at",
        (Source::Recording, false) => "playing",
    };
    format!(" {mode} ")
}

fn meter(buffer: &mut Buffer, area: Rect, line: u16, it: &Meter, look: Look) {
    let level = it.level;
    let percent = u64::from(level.used) * 100 / u64::from(level.limit.max(1));
    let style = match percent {
        90.. => look.bad(),
        75.. => look.near(),
        _ => PLAIN,
    };
    let user = fitted(&printable(&it.user), 16, false);
    let pad = 16_usize.saturating_sub(user.width());
    let filled = bar(percent);
    let text = format!(
        "{user}{:pad$} {:9} [{}{}] {percent:>3}%",
        "",
        it.resource.name(),
        "#".repeat(filled),
        ".".repeat(BAR - filled),
    );
    let at = put(buffer, area, line, 0, &text, style);
    let numbers = format!("{} of {}", level.used, level.limit);
    let at = put(buffer, area, line, at + 1, &numbers, PLAIN);
    put(buffer, area, line, at + 2, &left(it.left), style);
}

/// How much of a bar is filled: all of it only if all is used.
fn bar(percent: u64) -> usize {
    usize::try_from(percent.min(100)).unwrap_or(0) * BAR / 100
}
