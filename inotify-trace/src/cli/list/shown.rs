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
    output::{
        Cell, Column, EachRow, Lines, Listing, Patient, Screen, Tone, UserNames, printable,
        write_csv, write_within,
    },
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
    totals: Vec<(Tone, String)>,
    /// Whether the only machine is written already.
    is_written: bool,
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
        Ok(Self { args, most, out, columns, parts, totals, is_written: false })
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
        if args.output == Format::Json {
            listing.cut(self.most);
            let mut object = listing.json(is_told, left_out);
            if let Some(past) = past {
                past.name_in(&mut object);
            }
            if args.watches {
                serde_json::to_writer(&mut self.out, &listing.with_watches(object))?;
            } else {
                serde_json::to_writer(&mut self.out, &object)?;
            }
            return writeln!(self.out);
        }
        // Where watches are rows, they are counted, and not their holders.
        let dropped = if args.watches {
            listing.watches().saturating_sub(self.most)
        } else {
            listing.cut(self.most)
        };
        let columns = match args.columns.as_slice() {
            [] => listing.columns(args.output != Format::Table, args.watches),
            chosen => chosen.to_vec(),
        };
        let past = past.filter(|past| past.is_one_of_several);
        let node = past.map(|past| past.name.clone());
        if dropped > 0 {
            let of = node.iter().map(|node| format!(" of {}", printable(node))).collect::<String>();
            let more = format!("... and {dropped} more{of} (--all shows them)");
            self.totals.push((Tone::Aside, more));
        }
        self.totals.push((Tone::Plain, String::new()));
        self.totals.extend(past.map(|past| (Tone::Plain, past.heading())));
        self.totals.extend(listing.summary());
        let lines = Lines { listing: &listing, columns, watches: args.watches, most: self.most };
        if past.is_none() {
            let head = |name: fn(&Column) -> &'static str| {
                lines.columns.iter().map(name).collect::<Vec<_>>()
            };
            let (names, fields) = (head(|it| it.name()), head(|it| it.field()));
            self.is_written = true;
            return self.write(&names, &fields, &lines);
        }
        for &column in &lines.columns {
            if self.parts.is_empty() || !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
        let mut rows = Vec::new();
        lines.each_row(&mut |row| {
            rows.push(row.to_vec());
            Ok(())
        })?;
        self.parts.push(Part { columns: lines.columns, rows, node });
        Ok(())
    }

    /// Writes the table of several machines, whose columns are known only at the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.is_written {
            return self.out.flush();
        }
        let is_named = self.parts.iter().any(|part| part.node.is_some());
        let mut rows = Vec::new();
        for Part { columns, rows: cells, node } in std::mem::take(&mut self.parts) {
            let node = node.map(Cell::Text);
            rows.extend(cells.into_iter().map(|row| {
                let cell = |column| {
                    let at = columns.iter().position(|it| it == column);
                    at.and_then(|at| row.get(at).cloned()).unwrap_or(Cell::Missing)
                };
                node.iter().cloned().chain(self.columns.iter().map(cell)).collect::<Vec<_>>()
            }));
        }
        let head = |node, name: fn(&Column) -> &'static str| {
            let node = is_named.then_some(node);
            node.into_iter().chain(self.columns.iter().map(name)).collect::<Vec<_>>()
        };
        let (names, fields) = (head("NODE", |it| it.name()), head("node", |it| it.field()));
        self.write(&names, &fields, &rows)?;
        self.out.flush()
    }

    fn write(&mut self, names: &[&str], fields: &[&str], rows: &impl EachRow) -> io::Result<()> {
        let args = self.args;
        match args.output {
            Format::Json => {}
            Format::Csv => {
                let fields = (!args.no_headers).then_some(fields);
                write_csv(rows, &mut self.out, fields, args.csv.formulas())?;
            }
            Format::Table | Format::Wide => {
                let screen = Screen::of_stdout().wide_if(args.output == Format::Wide);
                write_within(names, rows, &mut self.out, !args.no_headers, screen)?;
                if !args.no_headers {
                    for (tone, line) in &self.totals {
                        writeln!(self.out, "{}", screen.colours.paint(*tone, line))?;
                    }
                }
            }
        }
        Ok(())
    }
}
