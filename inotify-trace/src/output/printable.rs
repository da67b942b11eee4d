//! Text from outside, made harmless for a terminal.

use std::borrow::Cow;

/// Text from programs, containers or recordings on one line of a terminal. Characters that could
/// move the cursor, change colours, or reverse the order of what follows become `?`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, is_harmful)
}

/// The same for a message of several lines: line feeds stay.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c != '\n' && is_harmful(c))
}

fn replaced(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().any(&is_bad) {
        text.chars().map(|c| if is_bad(c) { '?' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// Control characters (C0, DEL and C1), and those of Unicode that order text in both directions
/// (UAX #9) or end a line.
fn is_harmful(c: char) -> bool {
    let is_order = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || is_order || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_reverses_text_is_replaced() {
        let harmful = ('\0'..=' ').filter(|c| *c != ' ').chain('\u{7f}'..='\u{9f}');
        let harmful = harmful.chain("\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".chars());
        let harmful = harmful.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for c in harmful {
            assert_eq!(printable(&format!("a{c}b")), "a?b", "{c:?}");
        }
        for text in ["", "prod/web", "наблюдатель", "日本", "a b~", "שלום"] {
            assert_eq!(printable(text), text);
        }
        assert_eq!(printable_lines("one\ntwo\x1b[2J\r"), "one\ntwo?[2J?");
    }
}
