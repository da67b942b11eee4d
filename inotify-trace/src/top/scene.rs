//! All that is drawn, in values: a moment of the machine as one view shows it.

use std::{sync::Arc, time::Duration};

use inotify_trace_model::{event::Level, resource::Resource};

use super::wish::{RowKey, View};
use crate::output::Cell;

/// A moment, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// The number of the wish that it answers.
    pub answers: u64,
    /// Whose rows these are.
    pub view: View,
    /// About the whole machine.
    pub header: Header,
    /// The rows of the view; none behind a page.
    pub rows: Arc<Rows>,
    /// The page of the row that is open; None if there is none any more.
    pub page: Option<Page>,
}

/// Where the moment comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The kernel.
    #[default]
    Live,
    /// The agent that `serve` runs.
    Agent,
    /// A recording.
    Recording,
}

/// What is shown of the machine above all views.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Where it comes from.
    pub source: Source,
    /// Whether time stands still.
    pub is_paused: bool,
    /// The moment.
    pub time: String,
    /// The machine's name.
    pub host: String,
    /// What tells of events.
    pub backend: String,
    /// Open instances.
    pub instances: usize,
    /// Their watches.
    pub watches: usize,
    /// The processes that hold them.
    pub processes: usize,
    /// How many calls failed.
    pub failures: u64,
    /// What was lost, and how much.
    pub losses: Vec<(String, u64)>,
    /// The users closest to their limits, the closest first.
    pub meters: Vec<Meter>,
}

/// How much of a limit is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Meter {
    /// Who pays.
    pub user: String,
    /// For what.
    pub resource: Resource,
    /// How much of it.
    pub level: Level,
    /// The time until the limit at the rate of the last minutes; None if there is no rate to tell.
    pub left: Option<Duration>,
}

/// Rows below names of columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns' headings.
    pub columns: Vec<&'static str>,
    /// The rows, in the order of their kind.
    pub rows: Vec<Row>,
    /// Rows that are left out, since they are too many.
    pub more: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it stands for.
    pub key: RowKey,
    /// A cell for each column.
    pub cells: Vec<Cell>,
}

/// All about one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What it is about.
    pub key: RowKey,
    /// The same for people.
    pub title: String,
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// What it was before, and what these numbers are.
    pub history: Option<(String, Vec<u32>)>,
    /// Sentences: what is wrong, the evidence and what to do.
    pub text: Vec<String>,
    /// Its watches.
    pub watches: Rows,
}
