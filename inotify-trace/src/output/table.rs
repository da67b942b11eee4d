//! Rows and columns for people and spreadsheets.

use std::io::{self, Write};

use inotify_trace_model::usage::Level;

use super::Formulas;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number, aligned to the right.
    Number(u64),
    /// The share of a limit that is used, in percent: for people rounded up, and aligned to the
    /// right.
    Percent(Level),
    /// Words.
    Text(String),
    /// Several words, with commas between them.
    List(Vec<String>),
    /// Not known, or there is none.
    Missing,
}

/// Rows below names of columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' headings.
    pub columns: Vec<&'static str>,
    /// One cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// The cell's text in a table.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Percent(level) => format!("{}%", percent(*level)),
            Self::Text(text) => super::printable(text).into_owned(),
            Self::List(texts) => super::printable(&texts.join(",")).into_owned(),
            Self::Missing => "-".to_owned(),
        }
    }

    /// The cell's text for a program.
    fn csv(&self, formulas: Formulas) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Percent(level) => level.percent().to_string(),
            Self::Text(text) => formulas.cell(text).into_owned(),
            Self::List(texts) => formulas.cell(&texts.join(",")).into_owned(),
            Self::Missing => String::new(),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Percent(_))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl Table {
    /// Aligned columns with two spaces between them, numbers to the right; no line ends in a space.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_aligned(&self, out: &mut impl Write, headers: bool) -> io::Result<()> {
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let is_number = |at: usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.all(|cell| cell.is_number() || *cell == Cell::Missing)
        };
        let head: Vec<_> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let lines = headers.then_some(&head).into_iter().chain(&texts);
        let width = |at: usize| {
            lines.clone().filter_map(|line| line.get(at)).map(|it| it.chars().count()).max()
        };
        let widths: Vec<_> = (0..self.columns.len()).map(|at| width(at).unwrap_or(0)).collect();
        let right: Vec<_> = (0..self.columns.len()).map(is_number).collect();
        for line in lines.clone() {
            let mut text = String::new();
            for (at, cell) in line.iter().enumerate() {
                let pad = widths[at].saturating_sub(cell.chars().count());
                let gap = if at == 0 { "" } else { "  " };
                let (before, after) = if right[at] { (pad, 0) } else { (0, pad) };
                text += &format!("{gap}{:before$}{cell}{:after$}", "", "");
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    /// Comma-separated values (RFC 4180) below `names`, unknown ones empty. Texts are not changed,
    /// not even control characters, except as `formulas` says.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_csv(
        &self,
        out: &mut impl Write,
        names: Option<&[&str]>,
        formulas: Formulas,
    ) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        if let Some(names) = names {
            writer.write_record(names)?;
        }
        for row in &self.rows {
            writer.write_record(row.iter().map(|cell| cell.csv(formulas)))?;
        }
        writer.flush()
    }
}

/// The share that is used, rounded up: 0 only if nothing is used.
pub(super) fn percent(level: Level) -> u64 {
    (u64::from(level.used) * 100).div_ceil(u64::from(level.limit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let rows = vec![
            vec![Cell::from("a"), Cell::from(7_u64), Cell::Missing],
            vec![
                Cell::from("long, \u{1b}[31m"),
                Cell::Missing,
                Cell::Percent(Level { used: 119, limit: 128 }),
            ],
        ];
        Table { columns: vec!["NAME", "COUNT", "USE%"], rows }
    }

    #[test]
    fn columns_are_aligned_and_harmless() {
        let mut out = Vec::new();
        table().write_aligned(&mut out, true).unwrap();
        let expected = "\
NAME         COUNT  USE%
a                7     -
long, ?[31m      -   93%
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn csv_is_quoted_where_it_must_be() {
        let mut out = Vec::new();
        let names = ["name", "count", "percent"];
        table().write_csv(&mut out, Some(&names), Formulas::Kept).unwrap();
        let expected = "name,count,percent\na,7,\n\"long, \u{1b}[31m\",,92.96875\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_name_is_no_formula_in_a_spreadsheet() {
        let row = vec![Cell::from("=1+2"), Cell::from(7_u64), Cell::from("plain")];
        let table = Table { columns: vec!["A", "B", "C"], rows: vec![row] };
        let mut out = Vec::new();
        table.write_csv(&mut out, None, Formulas::Quoted).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "'=1+2,7,plain\n");
    }
}
