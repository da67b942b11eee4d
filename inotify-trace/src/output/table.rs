//! Rows and columns for people and spreadsheets.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
    iter,
};

use inotify_trace_model::usage::Level;

use super::{
    Formulas, Screen, Tone,
    width::{shorten, shorten_end},
};

/// A column of text is never cut to fewer characters, nor to fewer than its heading has.
const FEWEST: usize = 8;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number, aligned to the right.
    Number(u64),
    /// The number of things that are wrong, aligned to the right.
    Faults(u64),
    /// The share of a limit that is used, in percent, aligned to the right.
    Percent(Level),
    /// A number with its unit or its decimals, aligned to the right.
    Figure(String),
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
        self.shown().into_owned()
    }

    fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Number(number) | Self::Faults(number) => number.to_string().into(),
            Self::Percent(level) => percent(*level).into(),
            Self::Figure(text) => text.into(),
            Self::Text(text) => super::printable(text),
            Self::List(texts) => match texts.as_slice() {
                [text] => super::printable(text),
                texts => super::printable(&texts.join(",")).into_owned().into(),
            },
            Self::Missing => "-".into(),
        }
    }

    /// The cell's text for a program.
    fn csv(&self, formulas: Formulas) -> Cow<'_, str> {
        match self {
            Self::Number(number) | Self::Faults(number) => number.to_string().into(),
            Self::Percent(level) => level.percent().to_string().into(),
            Self::Text(text) => formulas.cell(text),
            Self::List(texts) => match texts.as_slice() {
                [text] => formulas.cell(text),
                texts => formulas.cell(&texts.join(",")).into_owned().into(),
            },
            Self::Figure(text) => text.into(),
            Self::Missing => "".into(),
        }
    }

    /// Whether it is aligned to the right.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Faults(_) | Self::Percent(_) | Self::Figure(_))
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Percent(level) if level.used >= level.limit => Tone::Bad,
            Self::Faults(1..) => Tone::Bad,
            _ => Tone::Plain,
        }
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
    /// Aligned columns with two spaces between them, numbers to the right; no line ends in a space. The
    /// widest texts are cut if lines would be wider than `screen`, and if that is not enough, there is
    /// one space between columns.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_within(
        &self,
        out: &mut impl Write,
        headers: bool,
        screen: Screen,
    ) -> io::Result<()> {
        write_within(&self.columns, &self.rows, out, headers, screen)
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
        write_csv(&self.rows, out, names, formulas)
    }
}

/// Rows that are made when they are wanted: a million of them would not fit into memory.
pub trait EachRow {
    /// Passes each row to `show`, always in the same order.
    ///
    /// # Errors
    /// The first of `show`.
    fn each_row(&self, show: &mut dyn FnMut(&[Cell]) -> io::Result<()>) -> io::Result<()>;
}

impl EachRow for Vec<Vec<Cell>> {
    fn each_row(&self, show: &mut dyn FnMut(&[Cell]) -> io::Result<()>) -> io::Result<()> {
        self.iter().try_for_each(|row| show(row))
    }
}

/// What the last row shows in a column: the next one often shows the same.
#[derive(Clone, Default)]
struct Shown {
    cell: Option<Cell>,
    text: String,
    length: usize,
}

impl Shown {
    /// Shows another cell; returns whether it differs.
    fn becomes(&mut self, cell: &Cell) -> bool {
        let differs = self.cell.as_ref() != Some(cell);
        if differs {
            self.show(&cell.shown());
            self.cell = Some(cell.clone());
        }
        differs
    }

    fn show(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.length = length(text);
    }
}

/// Writes rows as [`Table::write_within`] does. They are made twice: to measure them, and to write them.
///
/// # Errors
/// If the output cannot be written.
pub fn write_within(
    columns: &[&str],
    rows: &impl EachRow,
    out: &mut impl Write,
    headers: bool,
    screen: Screen,
) -> io::Result<()> {
    let most = screen.width.columns();
    let mut right = vec![true; columns.len()];
    let mut widths: Vec<_> =
        columns.iter().map(|name| if headers { length(name) } else { 0 }).collect();
    let mut shown = vec![Shown::default(); columns.len()];
    rows.each_row(&mut |row| {
        for (at, cell) in row.iter().enumerate().take(columns.len()) {
            if shown[at].becomes(cell) {
                right[at] &= cell.is_number() || *cell == Cell::Missing;
                widths[at] = shown[at].length.max(widths[at]);
            }
        }
        Ok(())
    })?;
    let is_narrowed = narrow(columns, &mut widths, &right, most);
    let gaps = 2 * widths.len().saturating_sub(1);
    let is_wide = widths.iter().sum::<usize>() + gaps > most;
    let gap = if is_wide { " " } else { "  " };
    shown.fill(Shown::default());
    let mut line = String::new();
    let add = |line: &mut String, at: usize, cell: &str, length, tone| {
        let pad = widths[at].saturating_sub(length);
        let (before, after) = if right[at] { (pad, 0) } else { (0, pad) };
        line.push_str(if at == 0 { "" } else { gap });
        line.extend(iter::repeat_n(' ', before));
        // Writing to a String cannot fail.
        let _ = write!(line, "{}", screen.colours.paint(tone, cell));
        line.extend(iter::repeat_n(' ', after));
    };
    if headers {
        for (at, name) in columns.iter().enumerate() {
            add(&mut line, at, name, length(name), Tone::Plain);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    rows.each_row(&mut |row| {
        line.clear();
        for (at, cell) in row.iter().enumerate().take(columns.len()) {
            let shown = &mut shown[at];
            if shown.becomes(cell) && is_narrowed && shown.length > widths[at] {
                // The end of a path or an id says more than its beginning; of words, the beginning.
                let text = &shown.text;
                let is_words =
                    matches!(cell, Cell::List(_)) || (text.contains(' ') && !text.starts_with('/'));
                let cut = if is_words { shorten_end } else { shorten };
                let cut = cut(text, widths[at]).into_owned();
                shown.show(&cut);
            }
            add(&mut line, at, &shown.text, shown.length, cell.tone());
        }
        writeln!(out, "{}", line.trim_end())
    })
}

/// Narrows the widest columns of text until lines have at most `most` characters, as far as that goes.
/// Returns whether any was.
fn narrow(columns: &[&str], widths: &mut [usize], right: &[bool], most: usize) -> bool {
    let gaps = 2 * widths.len().saturating_sub(1);
    let mut is_narrowed = false;
    while widths.iter().sum::<usize>() + gaps > most {
        let can_be = |&at: &usize| {
            let least = columns.get(at).map_or(0, |heading| length(heading)).max(FEWEST);
            !right[at] && widths[at] > least
        };
        let Some(widest) = (0..widths.len()).filter(can_be).max_by_key(|&at| widths[at]) else {
            break;
        };
        widths[widest] -= 1;
        is_narrowed = true;
    }
    is_narrowed
}

/// Writes rows as [`Table::write_csv`] does.
///
/// # Errors
/// If the output cannot be written.
pub fn write_csv(
    rows: &impl EachRow,
    out: &mut impl Write,
    names: Option<&[&str]>,
    formulas: Formulas,
) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    if let Some(names) = names {
        writer.write_record(names)?;
    }
    rows.each_row(&mut |row| {
        for cell in row {
            writer.write_field(cell.csv(formulas).as_bytes())?;
        }
        Ok(writer.write_record(None::<&[u8]>)?)
    })?;
    writer.flush()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The share that is used, for people: 100% only if all is used, 0% only if nothing is.
pub(super) fn percent(level: Level) -> String {
    let whole = u64::from(level.used) * 100 / u64::from(level.limit.max(1));
    if whole == 0 && level.used > 0 { "<1%".to_owned() } else { format!("{whole}%") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Width;

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
        table().write_within(&mut out, true, Screen::default()).unwrap();
        let expected = "\
NAME            COUNT  USE%
a                   7     -
long, \\x1b[31m      -   92%
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn texts_are_cut_on_a_terminal_and_numbers_are_not() {
        let masks = vec!["modify".to_owned(), "create".to_owned(), "delete".to_owned()];
        let row = vec![
            Cell::from("/etc/ssl/certs"),
            Cell::from(1_234_567_890_u64),
            Cell::List(masks),
            Cell::Figure("1.5".to_owned()),
        ];
        let table = Table { columns: vec!["PATH", "N", "MASK", "RATE"], rows: vec![row] };
        let shown = |width: Width| {
            let mut out = Vec::new();
            table.write_within(&mut out, true, width.into()).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(Width::Columns(54)).lines().nth(1),
            shown(Width::Unlimited).lines().nth(1)
        );
        let line = format!("{:10}  {}  {:9}   1.5\n", "…ssl/certs", 1_234_567_890_u64, "modify,c…");
        let head = format!("{:10}  {:>10}  {:9}  RATE\n", "PATH", "N", "MASK");
        assert_eq!(shown(Width::Columns(39)), head + &line);
        // There is nothing left to cut.
        assert!(shown(Width::Columns(5)).ends_with("…l/certs 1234567890 modify,…  1.5\n"));
    }

    #[test]
    fn little_use_does_not_look_like_more() {
        for (used, limit, shown) in [
            (0, 128, "0%"),
            (103, 192_536, "<1%"),
            (1, 100, "1%"),
            (127, 128, "99%"),
            (128, 128, "100%"),
            (129, 128, "100%"),
            (1, 0, "100%"),
        ] {
            assert_eq!(percent(Level { used, limit }), shown, "{used} of {limit}");
        }
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
