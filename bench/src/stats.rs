//! The median and spread of several rounds, and the format of numbers.

use std::fmt::Write as _;

/// The middle of several values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }

    /// As in `12.0 (11.5-13.1)`.
    pub fn shown(&self, decimals: usize) -> String {
        let [median, least, most] =
            [self.median, self.least, self.most].map(|value| number(value, decimals));
        // A dash after a minus would be misread.
        let to = if self.least < 0.0 { " to " } else { "-" };
        format!("{median} ({least}{to}{most})")
    }
}

/// A spread as a table cell; `?` without values.
pub fn cell(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(|| "?".to_owned(), |spread| spread.shown(decimals))
}

/// A number with commas between thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut shown = String::new();
    if value < 0.0 && plain.contains(|digit: char| ('1'..='9').contains(&digit)) {
        shown.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown + rest
}

/// A Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|---{}|\n", head.join(" | "), "|---:".repeat(head.len() - 1));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Spread, number};

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-1_234.56, 1), "-1,234.6");
        assert_eq!(number(123.0, 0), "123");
        assert_eq!(number(-0.01, 1), "0.0");
    }

    #[test]
    fn a_range_that_starts_below_zero_is_not_written_with_two_dashes() {
        assert_eq!(Spread::of([-1.0, 2.0, 3.0]).unwrap().shown(0), "2 (-1 to 3)");
    }
}
