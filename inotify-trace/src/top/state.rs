//! What the person at the screen has chosen.

use std::{cmp::Reverse, sync::Arc};

use super::{
    scene::{Rows, Scene, Source},
    wish::{RowKey, View, Wish},
};
use crate::output::Cell;

/// The place of the table of watches, after those of the views.
const WATCHES: usize = View::ALL.len();

/// What is in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// The rows of the view.
    #[default]
    Rows,
    /// The page of one row.
    Page,
    /// The watches of one row.
    Watches,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text that rows must have.
    Filter(String),
    /// A time.
    Jump(String),
}

/// How a table is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The row with the cursor.
    pub selected: Option<RowKey>,
    /// The place of that row when it was last seen.
    pub place: usize,
    /// The first row on the screen.
    pub top: usize,
    /// The heading of the column that it is sorted by; None for the order in which rows come.
    pub sort: Option<&'static str>,
    /// Whether the last comes first.
    pub is_reversed: bool,
    /// Text that rows must have.
    pub filter: String,
    /// How many columns after the first are left out on the left.
    pub skip: usize,
}

/// The watches that a page shows, those that are asked for first in a table of them, and the most.
pub const WATCHES_OF_A_PAGE: usize = 500;
const FIRST_WATCHES: usize = 5_000;
const MOST_WATCHES: usize = 50_000;

/// The rows that are shown, by their places, and what they were sorted and filtered by.
#[derive(Clone, Debug, Default)]
struct Order {
    of: Option<(u64, usize, usize)>,
    sort: Option<&'static str>,
    is_reversed: bool,
    filter: String,
    places: Arc<Vec<usize>>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The tab.
    pub view: View,
    /// What is in front.
    pub front: Front,
    /// What is being typed, if anything.
    pub prompt: Option<Prompt>,
    /// Whether the help is open.
    pub has_help: bool,
    /// Whether time stands still.
    pub is_paused: bool,
    /// The last thing that was said.
    pub message: Option<String>,
    /// The first line of the page, or of the help.
    pub scroll: u16,
    /// The row whose page is open.
    pub open: Option<RowKey>,
    /// The number of the last wish.
    pub number: u64,
    /// The latest moment.
    pub scene: Scene,
    /// How many rows fit the screen.
    pub room: usize,
    /// The most watches of a row that are wanted.
    pub watches: usize,
    /// Counts the moments.
    moment: u64,
    /// The latest rows of each view, shown until newer ones come.
    views: [Arc<Rows>; WATCHES],
    order: Order,
    tables: [Shown; WATCHES + 1],
}

impl State {
    /// The beginning, with this view.
    #[must_use]
    pub fn new(view: View, source: Source) -> Self {
        let is_paused = source == Source::Recording;
        let mut state = Self { view, is_paused, room: 10, ..Self::default() };
        state.scene.header.source = source;
        state.scene.view = view;
        state
    }

    /// What is to be asked for.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let Self { number, view, is_paused, ref open, watches, .. } = *self;
        Wish { number, view, open: open.clone(), watches, is_paused }
    }

    /// Whether it is a recording.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.scene.header.source == Source::Recording
    }

    /// Takes the latest moment. One of another view, which was on its way, says nothing of its rows.
    pub fn take(&mut self, mut scene: Scene) {
        self.moment += 1;
        if scene.view != self.view {
            self.scene.header = scene.header;
            return;
        }
        let latest = &mut self.views[scene.view.place()];
        if scene.page.is_some() {
            // Behind a page no rows are made.
            scene.rows = Arc::clone(latest);
        } else {
            *latest = Arc::clone(&scene.rows);
        }
        self.scene = scene;
    }

    /// How the table in front is shown.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.tables[self.table()]
    }

    /// The same, to change it.
    pub fn shown_mut(&mut self) -> &mut Shown {
        &mut self.tables[self.table()]
    }

    /// The rows of the table in front.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        match (self.front, &self.scene.page) {
            (Front::Watches, Some(page)) => &page.watches,
            (Front::Watches, None) => &NONE,
            // Those from a little earlier are better than none, but not in place of another moment's.
            _ if self.scene.view == self.view || (!self.is_paused && !self.is_recording()) => {
                &self.views[self.view.place()]
            }
            _ => &NONE,
        }
    }

    fn table(&self) -> usize {
        if self.front == Front::Watches { WATCHES } else { self.view.place() }
    }

    /// Forgets how watches were shown: those of another row come.
    pub fn forget_watches(&mut self) {
        self.tables[WATCHES] = Shown::default();
    }

    /// Wants as many watches as what is in front needs. Returns whether these are more than before.
    pub fn want_watches(&mut self) -> bool {
        let before = self.watches;
        self.watches = match self.front {
            Front::Rows => 0,
            Front::Page => WATCHES_OF_A_PAGE,
            Front::Watches => {
                let (rows, shown) = (self.rows(), self.shown());
                let is_arranged =
                    shown.sort.is_some() || shown.is_reversed || !shown.filter.is_empty();
                let is_at_end = shown.place + 2 * self.room >= rows.rows.len();
                // The first ones are not the first in another order, nor all that have a text.
                let needs_all = rows.more > 0 && (is_arranged || is_at_end);
                let least = if needs_all { MOST_WATCHES } else { FIRST_WATCHES };
                least.max(before)
            }
        };
        self.watches > before
    }

    /// Sorts and filters the rows in front, and keeps the cursor on its row. Returns the places of the
    /// rows that are shown, in their order.
    pub fn arrange(&mut self) -> Arc<Vec<usize>> {
        let order = self.ordered();
        let selected = self.shown().selected.as_ref();
        let rows = &self.rows().rows;
        let found = selected.and_then(|key| order.iter().position(|&at| rows[at].key == *key));
        let place = found.unwrap_or(self.shown().place).min(order.len().saturating_sub(1));
        let selected = order.get(place).map(|&at| rows[at].key.clone());
        let room = self.room.max(1);
        let shown = self.shown_mut();
        // Where nothing came yet, the cursor waits for its row.
        shown.selected = selected.or(shown.selected.take());
        shown.place = if order.is_empty() { shown.place } else { place };
        shown.top = shown.top.min(place).max((place + 1).saturating_sub(room));
        order
    }

    /// The places of the rows that are shown. They are sorted and filtered when that, or what they show,
    /// has changed: not with every key that moves the cursor.
    fn ordered(&mut self) -> Arc<Vec<usize>> {
        let (rows, shown) = (self.rows(), self.shown());
        let of = Some((self.moment, self.table(), rows.rows.len()));
        let Order { sort, is_reversed, ref filter, .. } = self.order;
        let is_same = (sort, is_reversed, filter) == (shown.sort, shown.is_reversed, &shown.filter);
        if self.order.of != of || !is_same {
            let Shown { sort, is_reversed, ref filter, .. } = *shown;
            let (filter, places) = (filter.clone(), Arc::new(order(rows, shown)));
            self.order = Order { of, sort, is_reversed, filter, places };
        }
        Arc::clone(&self.order.places)
    }

    /// Puts the cursor this far down, or up.
    pub fn move_by(&mut self, by: isize) {
        let order = self.arrange();
        let last = order.len().saturating_sub(1);
        let place = self.shown().place.saturating_add_signed(by).min(last);
        // Where no row is, the cursor stays on the one that it waits for.
        let Some(&at) = order.get(place) else { return };
        let key = self.rows().rows[at].key.clone();
        let shown = self.shown_mut();
        (shown.place, shown.selected) = (place, Some(key));
    }
}

static NONE: Rows = Rows { columns: Vec::new(), rows: Vec::new(), more: 0 };

/// The places of the rows that are shown, in their order.
fn order(rows: &Rows, shown: &Shown) -> Vec<usize> {
    let filter = shown.filter.to_lowercase();
    let is_shown = |&at: &usize| {
        let mut cells = rows.rows[at].cells.iter();
        filter.is_empty() || cells.any(|cell| cell.text().to_lowercase().contains(&filter))
    };
    let mut order: Vec<_> = (0..rows.rows.len()).filter(is_shown).collect();
    let column = shown.sort.and_then(|sort| rows.columns.iter().position(|it| *it == sort));
    if let Some(column) = column {
        let none = Cell::Missing;
        let cell = |at: usize| rows.rows[at].cells.get(column).unwrap_or(&none);
        order.sort_by_cached_key(|&at| rank(cell(at)));
    }
    if shown.is_reversed {
        order.reverse();
    }
    order
}

/// Most first, then names in alphabetical order, and what is not known last.
fn rank(cell: &Cell) -> (u8, Reverse<u128>, String) {
    let share = match cell {
        Cell::Number(number) | Cell::Faults(number) => u128::from(*number) * 100_000,
        Cell::Percent(level) => u128::from(level.used) * 100_000 / u128::from(level.limit.max(1)),
        Cell::Missing => return (2, Reverse(0), String::new()),
        _ => return (1, Reverse(0), cell.text()),
    };
    (0, Reverse(share), String::new())
}
