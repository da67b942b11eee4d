//! The use of the limits for spreadsheets: a row for each user.

use std::io::{self, Write};

use inotify_trace_model::{resource::Resource, tracker::User, usage::Standing};

use super::LimitsReport;
use crate::output::{Cell, Formulas, write_csv};

/// The columns; those of users are called as in `list --by user -o csv`.
const COLUMNS: [&str; 17] = [
    "user",
    "uid",
    "userns",
    "used",
    "limit",
    "percent",
    "watches_used",
    "watch_limit",
    "watch_percent",
    "created",
    "released",
    "per_minute",
    "seconds_left",
    "watches_added",
    "watches_removed",
    "watches_per_minute",
    "watch_seconds_left",
];

impl LimitsReport {
    /// Writes a row for each user, below the names of the columns if `has_names`; `node` is the name of
    /// the machine, if there are several.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_csv(
        &self,
        out: &mut impl Write,
        node: Option<&str>,
        has_names: bool,
        formulas: Formulas,
    ) -> io::Result<()> {
        let mut names = COLUMNS.to_vec();
        if node.is_some() {
            names.insert(0, "node");
        }
        let users = self.standings.as_ref().map(|it| self.everyone(it)).unwrap_or_default();
        let rows = users.into_iter().map(|user| {
            let node = node.map(Cell::from);
            node.into_iter().chain(self.row(user)).collect()
        });
        let rows: Vec<Vec<Cell>> = rows.collect();
        write_csv(&rows, out, has_names.then_some(names.as_slice()), formulas)
    }

    fn row(&self, user: User) -> Vec<Cell> {
        let none = Standing::default();
        let standing = self.standings.as_ref().and_then(|it| it.get(&user)).unwrap_or(&none);
        let mut row = vec![Cell::Text(self.names.payer(user)), user.uid.into(), user.userns.into()];
        for level in [standing.instances, standing.watches] {
            row.push(level.map(|level| level.used).into());
            row.push(level.map(|level| level.limit).into());
            row.push(level.map_or(Cell::Missing, Cell::Percent));
        }
        let levels =
            [(Resource::Instances, standing.instances), (Resource::Watches, standing.watches)];
        for (resource, level) in levels {
            let rate = self.rates.as_ref().and_then(|it| it.get(&(user, resource)));
            let figure = |number: f64| Cell::Figure(number.to_string());
            let left = rate.zip(level).and_then(|(rate, level)| rate.time_left(level));
            row.push(rate.map(|rate| rate.created).into());
            row.push(rate.map(|rate| rate.released).into());
            row.push(rate.and_then(|rate| rate.per_minute()).map_or(Cell::Missing, figure));
            row.push(left.map_or(Cell::Missing, |left| figure(left.as_secs_f64())));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::COLUMNS;

    #[test]
    fn the_columns_are_documented_in_their_order() {
        let document = include_str!("../../../../docs/json.md");
        let paragraph =
            document.split("\n\n").find(|it| it.starts_with("`limits -o csv`")).unwrap();
        let words: Vec<_> = paragraph.split('`').skip(1).step_by(2).collect();
        let named: Vec<_> = words.into_iter().filter(|it| COLUMNS.contains(it)).collect();
        assert_eq!(named, COLUMNS);
    }
}
