//! The facts of a run, ready to be shown.

use inotify_trace_model::{
    event::{BootTime, Loss},
    resource::Resource,
    tracker::{Tracker, User},
    usage::{By, Level},
};

use super::{
    Builder, Failure, Leak, Refusal, Severity, UserLine,
    drawn::Charts,
    headline::{Closest, Headline},
};
use crate::{
    limits::{Setting, State},
    output::{Cell, Column, Listing, Table, UserNames},
    recording::Header,
    report::Times,
};

/// Rows of a table at most, if it is the only run.
const ROWS: usize = 500;

/// So many containers that came and went have a row each; more of them share one.
const FOLDED: usize = 5;

/// Names in a cell at most.
const LISTED: usize = 4;

/// A table, and the number of rows left out.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows with the highest counts first.
    pub table: Table,
    /// The number of rows left out.
    pub left: usize,
}

/// The facts of one run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The header of the recording, with the machine.
    pub header: Header,
    /// The format of points in time.
    pub times: Times,
    /// The first moment of the run.
    pub start: BootTime,
    /// The last moment of the run.
    pub end: BootTime,
    /// The severity of its problems.
    pub severity: Severity,
    /// The worst problem, in a few words.
    pub title: String,
    /// The events that matter, in sentences, the worst first.
    pub sentences: Vec<String>,
    /// The remedies.
    pub remedies: Vec<String>,
    /// The reasons why this report is incomplete. If there are any, nothing is said to be well.
    pub warnings: Vec<String>,
    /// What such a recording does not have.
    pub limitations: Vec<String>,
    /// The machine and the recording, by name.
    pub facts: Vec<(&'static str, String)>,
    /// The sysctls.
    pub limits: Table,
    /// Odd values of the sysctls.
    pub limits_notes: Vec<String>,
    /// The charts.
    pub charts: Charts,
    /// Limits that were reached, and their culprits.
    pub refusals: Vec<Refusal>,
    /// Failures of one sort each.
    pub failures: Vec<Failure>,
    /// The number of failures of other sorts.
    pub failures_left: u64,
    /// Verdicts.
    pub leaks: Vec<Leak>,
    /// The number of verdicts left out.
    pub leaks_left: usize,
    /// The counts and limits at the end, one line for each user; the first line is for all.
    pub standing: Vec<String>,
    /// Containers, those with most at their peak first.
    pub places: Rows,
    /// Processes at the end.
    pub holders: Rows,
}

impl Run {
    /// Whether something is missing.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// The sentence for a run without leaks.
    #[must_use]
    pub fn no_leak(&self) -> &'static str {
        if self.is_incomplete() {
            "No leak was found in what could be read."
        } else {
            "No leak was found."
        }
    }

    /// Keeps only the facts that a list of runs shows.
    #[must_use]
    pub fn brief(self) -> Self {
        Self {
            charts: Charts { grid: self.charts.grid, ..Charts::default() },
            refusals: Vec::new(),
            failures: Vec::new(),
            leaks: Vec::new(),
            places: Rows::default(),
            holders: Rows::default(),
            ..self
        }
    }
}

impl Rows {
    /// The first `most` rows, and the number of rows left out.
    #[must_use]
    pub fn first(&self, most: usize) -> (&[Vec<Cell>], usize) {
        let shown = self.table.rows.get(..most).unwrap_or(&self.table.rows);
        (shown, self.left + self.table.rows.len() - shown.len())
    }
}

impl Builder {
    /// The facts of the run, which ended with `tracker`; `problems` are the parts of the recording
    /// that could not be read.
    #[must_use]
    pub fn finish(self, tracker: &Tracker, problems: &[String]) -> Run {
        let times = Times::new(self.header.clock(), self.header.started, self.end);
        let warnings = self.warnings(problems, &times);
        let mut listing =
            Listing::new(tracker, By::Process, UserNames::from_map(self.header.users.clone()));
        let standing = listing.summary().into_iter().map(|(_, line)| line).collect();
        let left = listing.cut(ROWS);
        let mut holders = Rows { table: listing.table(&HOLDERS, false), left };
        holders.table.rows.iter_mut().flatten().for_each(shorten_list);
        let refusals = self.failures.refusals();
        let (failures, leaks) = (self.failures.sorted(), self.leaks.all());
        let closest = self.closest();
        let limitations = self.limitations(problems);
        let headline = Headline {
            is_incomplete: !warnings.is_empty(),
            refusals: &refusals,
            failures: &failures,
            leaks: &leaks,
            closest: &closest,
            times: &times,
            names: &UserNames::from_map(self.header.users.clone()),
        };
        Run {
            severity: headline.severity(),
            title: headline.title(),
            sentences: headline.sentences(),
            remedies: headline.remedies(),
            facts: self.facts(&times, warnings.is_empty()),
            warnings,
            limitations,
            limits: limits(&self.header.sysctls.settings()),
            limits_notes: limits_notes(&self.header.sysctls.settings()),
            charts: self.charts(),
            places: self.places(&times),
            failures_left: self.failures.others,
            leaks_left: self.leaks.others.len(),
            start: self.header.started,
            end: self.end,
            header: self.header,
            times,
            refusals,
            failures,
            leaks,
            standing,
            holders,
        }
    }

    fn closest(&self) -> Vec<Closest> {
        let closest = |(&(user, resource), line): (&(User, Resource), &UserLine)| {
            let (used, limit, time) = line.closest;
            let level = Level { used, limit };
            Closest { user, resource, level, time }
        };
        self.closest_lines().into_iter().map(closest).collect()
    }

    fn warnings(&self, problems: &[String], times: &Times) -> Vec<String> {
        // The problems say which parts of the recording are missing.
        let is_told =
            |what| !problems.is_empty() && matches!(what, Loss::Frames | Loss::Files | Loss::End);
        let lost = self.losses.iter().filter(|it| !is_told(it.0));
        let lost = lost.map(|&(what, count, first, last)| {
            let when = match (times.short(first), times.short(last)) {
                (first, last) if first == last => format!("at {first}"),
                (first, last) => format!("from {first} to {last}"),
            };
            format!("Lost {when}: {count} {what}. Counts of that time may be too low.")
        });
        let gaps = self.gaps.iter().map(|&(from, to)| {
            let (from, to) = (times.short(from), times.short(to));
            format!(
                "Nothing is known of what happened from {from} to {to}: a file is missing or \
                 damaged, or could not be written."
            )
        });
        let has_lost_frames = self.losses.iter().any(|it| it.0 == Loss::Frames);
        let stale = has_lost_frames.then(|| {
            "What changed in the missing frames is not known: until the next file, instances that ended \
             there look as if they still existed."
                .to_owned()
        });
        let more = (self.gaps_left > 0).then(|| format!("{} more such gaps.", self.gaps_left));
        problems.iter().cloned().chain(gaps).chain(more).chain(stale).chain(lost).collect()
    }

    fn limitations(&self, problems: &[String]) -> Vec<String> {
        let is_growing = !self.has_end && problems.is_empty();
        let end = is_growing.then(|| "It has no end yet: it is still recorded.".to_owned());
        let files = self.header.begins_later().map(|place| format!("What came before: {place}"));
        self.header.not_seen().chain(files).chain(end).collect()
    }

    fn facts(&self, times: &Times, is_complete: bool) -> Vec<(&'static str, String)> {
        let header = &self.header;
        let span = self.end.since(header.started);
        let or_unknown = |text: &str| if text.is_empty() { "not known" } else { text }.to_owned();
        let losses: Vec<_> = self
            .losses
            .iter()
            .map(|(what, count, ..)| format!("{count} {}", what.name()))
            .collect();
        vec![
            ("Host", or_unknown(&header.host)),
            ("Kernel", format!("Linux {}", header.kernel)),
            ("From", times.full(header.started)),
            ("To", times.full(self.end)),
            ("Length", crate::output::Approximate(span).to_string()),
            ("Events", self.events.to_string()),
            (
                "Lost",
                match &losses[..] {
                    [] if is_complete => "nothing".to_owned(),
                    [] => "not known".to_owned(),
                    losses => losses.join(", "),
                },
            ),
            ("Created", self.created.total.to_string()),
            ("Released", self.released.total.to_string()),
            ("Backend", or_unknown(&header.backend)),
            ("Recorded by", format!("inotify-trace {}", header.tool_version)),
            ("Command", or_unknown(&header.command.join(" "))),
        ]
    }

    fn places(&self, times: &Times) -> Rows {
        let (short, sorted): (Vec<_>, Vec<_>) =
            self.places.sorted().into_iter().partition(|place| place.came_and_went());
        // A few are as short as a line about them.
        let (short, sorted) =
            if short.len() > FOLDED { (short, sorted) } else { (Vec::new(), self.places.sorted()) };
        let row = |place: &&super::places::Place| {
            let peak_at = (place.held.peak > 0).then(|| times.short(place.held.peak_at));
            vec![
                Cell::from(&place.name[..]),
                place.pod.as_deref().into(),
                Cell::from(place.held.now),
                Cell::from(place.held.peak),
                peak_at.as_deref().into(),
                Cell::from(place.made),
                Cell::from(place.refused),
            ]
        };
        let columns = vec!["CONTAINER", "POD", "AT END", "PEAK", "PEAK AT", "MADE", "REFUSED"];
        let mut rows: Vec<_> = sorted.iter().take(ROWS).map(row).collect();
        if !short.is_empty() {
            let (missing, made) = (Cell::Missing, short.iter().map(|it| it.made).sum::<u64>());
            rows.push(vec![
                Cell::Text(format!("{} others that came and went", short.len())),
                missing.clone(),
                Cell::from(0_u64),
                Cell::from(short.iter().map(|it| it.held.peak).max().unwrap_or_default()),
                missing,
                Cell::from(made),
                Cell::from(0_u64),
            ]);
        }
        Rows { table: Table { columns, rows }, left: sorted.len().saturating_sub(ROWS) }
    }
}

/// A daemon may serve every container of the machine.
fn shorten_list(cell: &mut Cell) {
    if let Cell::List(texts) = cell
        && texts.len() > LISTED
    {
        let more = texts.len() - LISTED;
        texts.truncate(LISTED);
        texts.push(format!("{more} more"));
    }
}

/// The columns of the processes.
const HOLDERS: [Column; 8] = [
    Column::Pid,
    Column::Comm,
    Column::User,
    Column::Container,
    Column::Pod,
    Column::Instances,
    Column::Watches,
    Column::Serves,
];

fn limits(settings: &[Setting]) -> Table {
    let row = |setting: &Setting| {
        let winner = setting.configured.winner.as_ref();
        let place = winner.map(|it| format!("{}:{}", it.file.display(), it.line));
        vec![
            Cell::from(setting.sysctl.key()),
            setting.live.into(),
            setting.configured.value().into(),
            place.as_deref().into(),
            Cell::from(match setting.state() {
                State::Same => "same",
                State::Differs => "DIFFERS",
                State::NotConfigured => "no file sets it",
                State::Invalid => "no number",
                State::Unknown => "not known",
            }),
        ]
    };
    let columns = vec!["SYSCTL", "LIVE", "CONFIGURED", "WHERE", "STATE"];
    Table { columns, rows: settings.iter().map(row).collect() }
}

fn limits_notes(settings: &[Setting]) -> Vec<String> {
    let differs = settings.iter().filter(|it| it.state() == State::Differs);
    let note = |it: &Setting| {
        let who = match it.at_boot {
            None => "the next boot, or `sysctl --system`",
            Some(_) => "`sysctl --system`",
        };
        format!("What {} was is not what is configured: it changes with {who}.", it.sysctl.key())
    };
    differs.map(note).collect()
}
