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

/// The text with each control character, and each that changes the direction of writing, written as the
/// bytes of its UTF-8, `\xNN` each: they could move a terminal's cursor, or the text around.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(moves) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if moves(c) {
            escape(&mut plain, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn control_characters_are_visible() {
        for (text, plain) in [
            ("a b", "a b"),
            ("a\nb", "a\\x0ab"),
            ("\u{1b}[31m", "\\x1b[31m"),
            ("a\u{202e}b", "a\\xe2\\x80\\xaeb"),
            ("\u{85}ä", "\\xc2\\x85ä"),
        ] {
            assert_eq!(printable(text), plain);
        }
    }
}
