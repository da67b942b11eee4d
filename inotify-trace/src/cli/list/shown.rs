//! Writes what was found on one machine, or on several.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    iter,
};

use inotify_trace_model::tracker::Tracker;

use super::{Args, Format, SCREEN};
use crate::{
    cli::{
        past::Past,
        say::say,
        select::{Users, warn_of_unknown},
    },
    output::{Cell, Column, Formulas, Listing, Patient, Table, UserNames, Width, printable},
};

/// What is shown of one machine, or of several.
pub(super) struct Shown<'a> {
    args: &'a Args,
    /// The most rows of each machine.
    most: usize,
    out: BufWriter<Patient<io::Stdout>>,
    columns: Vec<Column>,
    parts: Vec<Part>,
    /// Lines after the table.
    totals: Vec<String>,
}

/// The rows of one machine.
struct Part {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// The machine's name, if there are several.
    node: Option<String>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(args: &'a Args) -> io::Result<Self> {
        args.hint_at_columns()?;
        let most = match args.top {
            Some(most) => most,
            None if args.all || args.output == Format::Json || !io::stdout().is_terminal() => {
                usize::MAX
            }
            None => SCREEN,
        };
        let (columns, parts, totals) = (Vec::new(), Vec::new(), Vec::new());
        let out = BufWriter::new(Patient::stdout_to_the_end());
        Ok(Self { args, most, out, columns, parts, totals })
    }

    /// Adds a recorded machine.
    pub(super) fn add_past(&mut self, past: &Past) -> anyhow::Result<()> {
        let users = past.header.users.clone();
        self.args.select.check_users(iter::once(&users))?;
        Ok(self.add(&past.tracker, true, 0, users, Some(past))?)
    }

    /// Adds a machine; JSON is written at once.
    pub(super) fn add(
        &mut self,
        tracker: &Tracker,
        is_told: bool,
        left_out: usize,
        users: Users,
        past: Option<&Past>,
    ) -> io::Result<()> {
        let args = self.args;
        let selection = args.select.selection(&users);
        warn_of_unknown(&selection, tracker)?;
        let is_narrowed = !selection.is_everything();
        let mut listing = Listing::of(selection, tracker, args.by, UserNames::from_map(users));
        if is_narrowed && listing.is_empty() {
            say(format_args!("inotify-trace: no instance matches the filter"))?;
        }
        if let Some(column) = args.sort {
            listing.sort(column);
        }
        // Where watches are rows, they are counted, and not their holders.
        let has_rows_of_watches = args.watches && args.output != Format::Json;
        let mut dropped = if has_rows_of_watches { 0 } else { listing.cut(self.most) };
        if args.output == Format::Json {
            let mut object = listing.json(args.watches, is_told, left_out);
            if let Some(past) = past {
                past.name_in(&mut object);
            }
            serde_json::to_writer(&mut self.out, &object)?;
            return writeln!(self.out);
        }
        let columns = match args.columns.as_slice() {
            [] => listing.columns(args.output != Format::Table, args.watches),
            chosen => chosen.to_vec(),
        };
        for &column in &columns {
            if self.parts.is_empty() || !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
        let past = past.filter(|past| past.is_one_of_several);
        let node = past.map(|past| past.name.clone());
        let mut rows = listing.table(&columns, args.watches).rows;
        if has_rows_of_watches {
            dropped = rows.len().saturating_sub(self.most);
            rows.truncate(self.most);
        }
        if dropped > 0 {
            let of = node.iter().map(|node| format!(" of {}", printable(node))).collect::<String>();
            self.totals.push(format!("... and {dropped} more{of} (--all shows them)"));
        }
        let summary = listing.summary();
        self.totals.push(match past {
            None => format!("\n{summary}"),
            Some(past) => format!("\n{}\n{summary}", past.heading()),
        });
        self.parts.push(Part { columns, rows, node });
        Ok(())
    }

    /// Writes the table.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let args = self.args;
        let is_named = self.parts.iter().any(|part| part.node.is_some());
        let mut rows = Vec::new();
        for Part { columns, rows: cells, node } in self.parts {
            let node = node.map(Cell::Text);
            rows.extend(cells.into_iter().map(|row| {
                let cell = |column| {
                    let at = columns.iter().position(|it| it == column);
                    at.and_then(|at| row.get(at).cloned()).unwrap_or(Cell::Missing)
                };
                node.iter().cloned().chain(self.columns.iter().map(cell)).collect()
            }));
        }
        let head = |node, name: fn(&Column) -> &'static str| {
            let node = is_named.then_some(node);
            node.into_iter().chain(self.columns.iter().map(name)).collect::<Vec<_>>()
        };
        let table = Table { columns: head("NODE", |it| it.name()), rows };
        match args.output {
            Format::Json => {}
            Format::Csv => {
                let names = head("node", |it| it.field());
                let names = (!args.no_headers).then_some(names.as_slice());
                table.write_csv(&mut self.out, names, Formulas::quoted_if(args.csv_safe))?;
            }
            Format::Table | Format::Wide => {
                let is_wide = args.output == Format::Wide;
                let width = if is_wide { Width::Unlimited } else { Width::of_stdout() };
                table.write_within(&mut self.out, !args.no_headers, width)?;
                if !args.no_headers {
                    for line in &self.totals {
                        writeln!(self.out, "{line}")?;
                    }
                }
            }
        }
        self.out.flush()
    }
}
