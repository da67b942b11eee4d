//! Text from outside, made harmless for a terminal.

use std::borrow::Cow;

pub(crate) use inotify_trace_model::text::printable;
use inotify_trace_model::text::{escaped, moves_text};

/// As [`printable`], for a message of several lines: line feeds stay.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && moves_text(c))
}
