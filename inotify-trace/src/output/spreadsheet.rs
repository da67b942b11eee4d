//! CSV that a spreadsheet may open.

use std::borrow::Cow;

/// What to do with texts that a spreadsheet would run as formulas. Names of programs, containers
/// and files are whatever a container chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formulas {
    /// Texts are written as they are, for programs.
    #[default]
    Kept,
    /// A text that begins with `=`, `+`, `-`, `@`, a tab, a line feed or a carriage return gets an
    /// apostrophe in front, so that a spreadsheet shows it.
    Quoted,
}

impl Formulas {
    /// The text of a cell.
    pub(crate) fn cell(self, text: &str) -> Cow<'_, str> {
        if self == Self::Quoted && text.starts_with(['=', '+', '-', '@', '\t', '\n', '\r']) {
            return format!("'{text}").into();
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_quoted_on_request() {
        for text in ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(Formulas::Kept.cell(text), text);
            assert_eq!(Formulas::Quoted.cell(text), format!("'{text}"));
        }
        for text in ["", "a=1", "/var/log", "'=1"] {
            assert_eq!(Formulas::Quoted.cell(text), text);
        }
    }
}
