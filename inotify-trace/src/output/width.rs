//! How wide lines may be, and text that is cut or wrapped to fit.

use std::{borrow::Cow, fmt, io};

use super::printable;

/// The width of a terminal that does not tell it.
const USUAL: usize = 80;

/// No terminal is treated as narrower: there would be nothing left of a line.
const NARROWEST: usize = 40;

/// How wide lines may be, in columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// At most this wide: longer text is shortened or wrapped.
    Columns(usize),
    /// As wide as it takes, for files and programs.
    #[default]
    Unlimited,
}

impl Width {
    /// That of standard output: unlimited where it is no terminal.
    #[must_use]
    pub fn of_stdout() -> Self {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col == 0 => Self::Columns(USUAL),
            Ok(size) => Self::Columns(usize::from(size.ws_col).max(NARROWEST)),
            Err(_) => Self::Unlimited,
        }
    }

    /// The most columns.
    #[must_use]
    pub fn columns(self) -> usize {
        match self {
            Self::Columns(columns) => columns,
            Self::Unlimited => usize::MAX,
        }
    }
}

/// The greatest width of prose, unless a single word is wider.
const PROSE: usize = 100;

/// A sentence in lines that are not too wide, `indent` spaces from the left and `hanging` more from
/// the second line on, without a newline at its end.
pub(crate) struct Wrapped<'a> {
    sentence: Cow<'a, str>,
    indent: usize,
    hanging: usize,
    columns: usize,
}

/// Wraps a sentence. Names of files and their content come from outside, so the sentence may
/// contain anything.
pub(crate) fn wrapped(sentence: &str, indent: usize) -> Wrapped<'_> {
    Wrapped { sentence: printable(sentence), indent, hanging: 2, columns: PROSE }
}

impl Wrapped<'_> {
    /// Lines as wide as `width` allows.
    pub(crate) fn on(self, width: Width) -> Self {
        Self { columns: width.columns(), ..self }
    }

    /// Lines of prose that fit `width`, too.
    pub(crate) fn within(self, width: Width) -> Self {
        Self { columns: PROSE.min(width.columns()), ..self }
    }

    /// With this many spaces more from the second line on.
    pub(crate) fn hanging(self, hanging: usize) -> Self {
        Self { hanging, ..self }
    }
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut column = 0;
        for word in self.sentence.split(' ') {
            let width = word.chars().count();
            if column == 0 {
                write!(f, "{:1$}{word}", "", self.indent)?;
                column = self.indent + width;
            } else if column + 1 + width <= self.columns {
                write!(f, " {word}")?;
                column += 1 + width;
            } else {
                let indent = self.indent + self.hanging;
                write!(f, "\n{:indent$}{word}", "")?;
                column = indent + width;
            }
        }
        Ok(())
    }
}

/// Cuts `text` on the left to at most `width` characters, the first of them an ellipsis then.
///
/// The end of a path is its most useful part. Characters are counted, not terminal columns.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let Some(kept) = width.checked_sub(1) else { return Cow::Borrowed("") };
    let start = match kept {
        0 => text.len(),
        kept => text.char_indices().rev().nth(kept - 1).map_or(0, |(at, _)| at),
    };
    Cow::Owned(format!("…{}", &text[start..]))
}

/// The same on the right: the beginning of a name or a list is its most useful part.
pub(crate) fn shorten_end(text: &str, width: usize) -> Cow<'_, str> {
    match width.checked_sub(1) {
        _ if text.chars().count() <= width => Cow::Borrowed(text),
        None => Cow::Borrowed(""),
        Some(kept) => Cow::Owned(text.chars().take(kept).chain(['…']).collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shortening_keeps_the_end() {
        for (text, width, cut) in [
            ("containerd.service", 18, "containerd.service"),
            ("containerd.service", 8, "…service"),
            ("containerd.service", 1, "…"),
            ("containerd.service", 0, ""),
            ("日本語", 2, "…語"),
            ("", 0, ""),
        ] {
            assert_eq!(shorten(text, width), cut);
        }
    }

    #[test]
    fn or_the_beginning() {
        for (text, width, cut) in
            [("inotifywait", 11, "inotifywait"), ("inotifywait", 8, "inotify…"), ("ab", 0, "")]
        {
            assert_eq!(shorten_end(text, width), cut);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shortened(text in ".{0,200}", width in 0_usize..50) {
            prop_assert!(shorten(&text, width).chars().count() <= width);
            prop_assert!(shorten_end(&text, width).chars().count() <= width);
        }
    }

    #[test]
    fn sentences_are_wrapped_between_words() {
        let long = "word ".repeat(60);
        for (indent, columns) in [(0, PROSE), (4, PROSE), (0, 60), (6, 40)] {
            let text = wrapped(long.trim_end(), indent).within(Width::Columns(columns)).to_string();
            let lines: Vec<_> = text.lines().collect();
            let fits = |line: &&str| line.len() <= columns && !line.ends_with(' ');
            assert!(lines.iter().all(fits), "{text}");
            assert!(lines.len() > 1 && lines[1].starts_with(&" ".repeat(indent + 2)), "{text}");
            assert_eq!(text.split_whitespace().count(), 60);
        }
        // A path is never cut, nor does it leave an empty line before it.
        let path = "/x".repeat(80);
        assert_eq!(wrapped(&path, 2).to_string(), format!("  {path}"));
        assert_eq!(wrapped(&format!("in {path}"), 0).to_string(), format!("in\n  {path}"));
        assert_eq!(wrapped("a\u{1b}[2Jb\nc", 0).to_string(), "a\\x1b[2Jb\\x0ac");
        // What goes to a file is one line.
        assert_eq!(wrapped(&long, 0).on(Width::Unlimited).to_string(), long);
    }
}
