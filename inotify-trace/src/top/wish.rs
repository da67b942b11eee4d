//! What the screen asks for, and what a row stands for.

use inotify_trace_model::{usage::Key, verdict::Kind};

/// The views, in the order of their tabs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Containers, and cgroups that are none
    #[default]
    Containers,
    /// Processes
    Processes,
    /// Users and their limits
    Users,
    /// What was refused, grouped, and who is to blame
    Failures,
    /// Leaks and notes
    Leaks,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Containers, Self::Processes, Self::Users, Self::Failures, Self::Leaks];

    /// As users type it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Processes => "processes",
            Self::Users => "users",
            Self::Failures => "failures",
            Self::Leaks => "leaks",
        }
    }

    /// Its tab.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Containers => "Containers",
            Self::Processes => "Processes",
            Self::Users => "Users",
            Self::Failures => "Failures",
            Self::Leaks => "Leaks",
        }
    }

    /// Its place among the tabs.
    #[must_use]
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap_or_default()
    }

    /// The view that is `by` tabs to the right.
    #[must_use]
    pub fn shifted(self, by: usize) -> Self {
        Self::ALL[(self.place() + by) % Self::ALL.len()]
    }
}

/// What a row stands for: it stays selected wherever it moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Instances with something in common.
    Group(Key),
    /// Failures of one kind, by number.
    Failure(u64),
    /// A verdict on a process.
    Verdict(Kind, u32),
    /// A row that is nothing by itself, by its place.
    Place(usize),
}

/// What is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Counts up, so that an answer is told from one to a wish before.
    pub number: u64,
    /// The rows.
    pub view: View,
    /// The row whose page is open.
    pub open: Option<RowKey>,
    /// The most watches of that page.
    pub watches: usize,
    /// Whether time stands still.
    pub is_paused: bool,
}

/// A request of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Show this from now on.
    Show(Wish),
    /// One step in the time of a recording.
    Step {
        /// Or else back.
        is_forward: bool,
    },
    /// Go to the time that was typed.
    Jump(String),
}
