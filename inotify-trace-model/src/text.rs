//! Text of the kernel's bytes: names and paths are bytes, and programs choose them.

use std::{borrow::Cow, fmt::Write as _};

/// The bytes as text. A byte that is not part of UTF-8 is written `\xNN`, so that names that differ
/// stay different.
#[must_use]
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        escape(&mut text, chunk.invalid());
    }
    Cow::Owned(text)
}

/// Text from programs, containers or recordings on one line of a terminal. Characters that could move
/// the cursor, change colours, or reverse the order of what follows are written as the bytes of their
/// UTF-8, `\xNN` each.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, moves_text)
}

/// The text with these characters written as the bytes of their UTF-8, `\xNN` each.
#[must_use]
pub fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_bad(c) {
            escape(&mut plain, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Whether a character is a control character (C0, DEL and C1), or one of Unicode that orders text in
/// both directions (UAX #9) or ends a line.
#[must_use]
pub fn moves_text(c: char) -> bool {
    let is_order = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || is_order || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        for (bytes, text) in [
            (&b"tail"[..], "tail"),
            ("наблюдатель".as_bytes(), "наблюдатель"),
            // Cut by the kernel after 15 bytes.
            (&"наблюдатель".as_bytes()[..15], "наблюда\\xd1"),
            (b"\xff\xfe/a", "\\xff\\xfe/a"),
            (b"", ""),
        ] {
            assert_eq!(text_of(bytes), text);
        }
        assert_ne!(text_of(b"a\xfe"), text_of(b"a\xff"));
    }

    #[test]
    fn what_moves_the_cursor_or_reverses_text_is_visible() {
        for (text, plain) in [
            ("a\nb", "a\\x0ab"),
            ("\u{1b}[31m", "\\x1b[31m"),
            ("a\u{202e}b", "a\\xe2\\x80\\xaeb"),
            ("\u{85}ä", "\\xc2\\x85ä"),
        ] {
            assert_eq!(printable(text), plain);
        }
        let harmful = ('\0'..=' ').filter(|c| *c != ' ').chain('\u{7f}'..='\u{9f}');
        let harmful = harmful.chain("\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".chars());
        let harmful = harmful.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for c in harmful {
            assert!(!printable(&format!("a{c}b")).contains(c), "{c:?}");
        }
        for text in ["", "prod/web", "наблюдатель", "日本", "a b~", "שלום"] {
            assert_eq!(printable(text), text);
        }
    }
}
