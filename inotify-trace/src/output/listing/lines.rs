//! The rows of a listing.

use std::io;

use inotify_trace_model::tracker::Watch;

use super::Listing;
use crate::output::{Cell, Column, EachRow, Table, mask};

/// The rows of a listing, as its [`table`](Listing::table) has them.
#[derive(Debug)]
pub struct Lines<'a> {
    /// The listing.
    pub listing: &'a Listing<'a>,
    /// The columns.
    pub columns: Vec<Column>,
    /// Whether there is a row for each watch.
    pub watches: bool,
    /// The most rows.
    pub most: usize,
}

impl EachRow for Lines<'_> {
    fn each_row(&self, show: &mut dyn FnMut(&[Cell]) -> io::Result<()>) -> io::Result<()> {
        let Self { listing, columns, watches, most } = self;
        let mut left = *most;
        for group in &listing.groups {
            let mut row: Vec<_> =
                columns.iter().map(|&column| listing.cell(group, column)).collect();
            let watches_of = watches.then(|| listing.instances(group));
            let of_watches = watches_of.into_iter().flatten().flat_map(|it| it.watches());
            let rows = (!watches).then_some(None).into_iter().chain(of_watches.map(Some));
            let mut mask = None;
            for watch in rows.take(left) {
                // Most watches of an instance have the same.
                let new_mask = watch.map(|(_, it)| it.mask);
                let is_same_mask = std::mem::replace(&mut mask, new_mask) == new_mask;
                for (cell, &column) in row.iter_mut().zip(columns) {
                    let changes = !(is_same_mask && column == Column::Mask);
                    let watch = watch.filter(|_| changes);
                    let new = watch.and_then(|(&wd, it)| listing.watch_cell(column, wd, it));
                    if let Some(new) = new {
                        *cell = new;
                    }
                }
                show(&row)?;
                left -= 1;
            }
        }
        Ok(())
    }
}

impl Listing<'_> {
    /// The rows: one for each group, or one for each watch of its instances.
    #[must_use]
    pub fn table(&self, columns: &[Column], watches: bool) -> Table {
        let columns = columns.to_vec();
        let lines = Lines { listing: self, columns, watches, most: usize::MAX };
        let mut rows = Vec::new();
        // Nothing is written that could fail.
        let _ = lines.each_row(&mut |row| {
            rows.push(row.to_vec());
            Ok(())
        });
        Table { columns: lines.columns.iter().map(|column| column.name()).collect(), rows }
    }

    /// The number of watches that are listed, each where it is listed.
    #[must_use]
    pub fn watches(&self) -> usize {
        let instances = self.groups.iter().flat_map(|group| self.instances(group));
        instances.map(|instance| instance.watches().len()).sum()
    }

    /// The value of a column that belongs to a watch; None for others, which all of its group share.
    fn watch_cell(&self, column: Column, wd: i32, watch: &Watch) -> Option<Cell> {
        match column {
            Column::Wd => Some(Cell::Number(wd.unsigned_abs().into())),
            Column::Mask => {
                let names = mask::watch_mask(watch.mask).into_iter().map(str::to_owned);
                Some(Cell::List(names.collect()))
            }
            Column::Target => Some(Cell::Text(self.target(watch))),
            _ => None,
        }
    }
}
