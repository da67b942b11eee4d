//! A report in lines of at most 100 columns, or as a terminal has them, for that or a ticket.

use std::fmt::Write as _;

use super::{Charts, Leak, Report, Run, Severity};
use crate::output::{
    Cell, Colours, Screen, Table, Tone, UserNames, Width, printable, printable_lines, shorten_end,
    words, wrapped, write_within,
};

const WIDTH: usize = 100;

/// Rows of a table at most.
const ROWS: usize = 20;

/// How many bars a chart has.
const BARS: usize = 80;

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The report.
#[must_use]
pub fn render(report: &Report, screen: Screen) -> String {
    let mut page = Page::on(screen);
    if !report.unreadable.is_empty() {
        page.list("FILES THAT COULD NOT BE READ", &report.unreadable);
    }
    if report.runs.len() > 1 {
        let row = |run: &Run| {
            vec![
                Cell::from(&run.header.host[..]),
                Cell::from(&run.times.full(run.start)[..]),
                Cell::from(&label(run)[..]),
                Cell::from(&run.title[..]),
            ]
        };
        page.heading(&format!("{} RECORDINGS", report.runs.len()));
        let columns = vec!["HOST", "FROM", "STATE", "WHAT HAPPENED"];
        let rows = report.runs.iter().map(row).collect::<Vec<_>>();
        page.table(&Table { columns, rows }, 0, usize::MAX);
    }
    for (at, run) in report.runs.iter().enumerate() {
        if report.is_full(at) {
            page.run(run);
        }
    }
    if report.runs.is_empty() {
        page.line("There is nothing to report.");
    }
    page.text
}

fn label(run: &Run) -> String {
    match (run.is_incomplete(), run.severity) {
        (true, Severity::Good) => "INCOMPLETE".to_owned(),
        (true, severity) => format!("INCOMPLETE, {}", severity.label()),
        (false, severity) => severity.label().to_owned(),
    }
}

/// The text written so far.
struct Page {
    text: String,
    colours: Colours,
    width: usize,
}

impl Page {
    fn on(screen: Screen) -> Self {
        let width = screen.width.columns().min(WIDTH);
        Self { text: String::new(), colours: screen.colours, width }
    }

    /// Adds lines. Names in them are whatever a container, or who made the recording, chose.
    fn add(&mut self, tone: Tone, lines: &str) {
        let lines = printable_lines(lines);
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", self.colours.paint(tone, lines));
    }

    fn prose(&mut self, tone: Tone, sentence: &str, indent: usize) {
        let lines = wrapped(sentence, indent).on(Width::Columns(self.width)).to_string();
        // A long word may have made one too wide.
        let lines: Vec<_> = lines.lines().map(|line| shorten_end(line, self.width)).collect();
        self.add(tone, &lines.join("\n"));
    }

    fn line(&mut self, line: &str) {
        self.prose(Tone::Plain, line, 0);
    }

    fn indented(&mut self, line: &str) {
        self.prose(Tone::Plain, line, 2);
    }

    fn heading(&mut self, heading: &str) {
        self.toned_heading(Tone::Plain, heading);
    }

    fn toned_heading(&mut self, tone: Tone, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.prose(tone, heading, 0);
    }

    fn list(&mut self, heading: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.heading(heading);
            lines.iter().for_each(|line| self.indented(&format!("- {line}")));
        }
    }

    fn run(&mut self, run: &Run) {
        let is_bad = run.is_incomplete() || run.severity == Severity::Bad;
        let heading = format!(
            "{}: {}, {} to {}",
            label(run),
            run.header.host,
            run.times.full(run.start),
            run.times.full(run.end)
        );
        self.toned_heading(if is_bad { Tone::Bad } else { Tone::Plain }, &heading);
        self.line(&run.title);
        run.sentences.iter().for_each(|line| self.indented(&format!("- {line}")));
        self.list("WHAT TO DO", &run.remedies);
        self.list("THIS REPORT IS INCOMPLETE", &run.warnings);
        self.list("NOT IN THIS RECORDING", &run.limitations);
        self.charts(&run.charts);
        self.failures(run);
        self.leaks(run);
        self.heading("WHO HOLDS INSTANCES, AT THE END");
        run.standing.iter().for_each(|line| self.indented(line));
        // A named container's name includes its pod's.
        self.table(&without(&run.holders.table, "POD"), run.holders.left, ROWS);
        self.heading("CONTAINERS");
        self.table(&without(&run.places.table, "POD"), run.places.left, ROWS);
        self.heading("LIMITS, WHEN THE RECORDING BEGAN");
        self.table(&run.limits, 0, ROWS);
        run.limits_notes.iter().for_each(|line| self.indented(line));
        self.heading("THE MACHINE AND THE RECORDING");
        for (name, value) in &run.facts {
            self.indented(&format!("{name}: {value}"));
        }
    }

    fn charts(&mut self, charts: &Charts) {
        if charts.users.is_empty() {
            return;
        }
        self.heading("WHEN");
        let bars_fit = BARS.min(self.width - 2);
        for charged in &charts.users {
            let ((most, allowed), what) = (charged.most(), charged.resource.name());
            self.indented(&format!("{}: at most {most} of {allowed} {what}", charged.name));
            self.indented(&bars(&charged.used, &charts.unknown, bars_fit));
        }
        if charts.failed.iter().any(|&it| it > 0) {
            let total: u64 = charts.failed.iter().map(|&it| u64::from(it)).sum();
            self.indented(&format!("calls that failed at a limit: {total}"));
            self.indented(&bars(&charts.failed, &charts.unknown, bars_fit));
        }
        if charts.unknown.contains(&true) {
            self.indented("?: not everything is known of that time");
        }
    }

    fn failures(&mut self, run: &Run) {
        self.heading("WHAT FAILED");
        let names = UserNames::from_map(run.header.users.clone());
        for refusal in &run.refusals {
            let at = run.times.short(refusal.blamed);
            let used_up = words::used_up(&refusal.by, &names);
            self.indented(&format!("as of {at}: {}", used_up.trim_end()));
            self.indented(&format!("remedy: {}", words::remedy_for(&refusal.by)));
        }
        let row = |it: &super::Failure| {
            vec![
                Cell::from(&it.comm[..]),
                Cell::from(&it.place[..]),
                Cell::from(it.resource.singular()),
                Cell::from(&words::failure(it.errno, it.limit, it.files)[..]),
                it.refused.map(|user| names.payer(user)).as_deref().into(),
                Cell::from(it.count),
                Cell::from(&run.times.short(it.first)[..]),
                Cell::from(&run.times.short(it.last)[..]),
            ]
        };
        let columns =
            vec!["PROGRAM", "CONTAINER", "WHAT", "WHY", "LIMIT OF", "TIMES", "FIRST", "LAST"];
        let rows = run.failures.iter().map(row).collect::<Vec<_>>();
        self.table(&Table { columns, rows }, 0, ROWS);
        if run.failures_left > 0 {
            self.indented(&format!("{} failures of others are left out", run.failures_left));
        }
    }

    fn leaks(&mut self, run: &Run) {
        self.heading("LEAKS");
        if !run.leaks.iter().any(Leak::is_leak) {
            self.indented(run.no_leak());
        }
        for leak in run.leaks.iter().take(ROWS) {
            self.leak(leak, run);
        }
        let left = run.leaks_left + run.leaks.len().saturating_sub(ROWS);
        if left > 0 {
            self.indented(&format!("{left} more are left out"));
        }
    }

    fn leak(&mut self, leak: &Leak, run: &Run) {
        let (label, tone) = if leak.is_leak() { words::LEAK } else { words::NOTE };
        self.prose(tone, &format!("{label} {}", words::heading(&leak.finding)), 2);
        for detail in words::details(&leak.finding, &mut run.times.clock(), leak.said) {
            self.prose(Tone::Plain, &detail.line(), 6);
        }
        let (reached, said) = (run.times.short(leak.reached), run.times.short(leak.said));
        let noticed = format!("noticed at {reached}; as of {said}");
        for line in leak.afterwards.map(words::afterwards).into_iter().chain([noticed]) {
            self.prose(Tone::Plain, &line, 6);
        }
    }

    fn table(&mut self, table: &Table, left: usize, most: usize) {
        if table.rows.is_empty() {
            return self.indented("none");
        }
        let rows = table.rows.get(..most).unwrap_or(&table.rows);
        let left = left + table.rows.len() - rows.len();
        let mut text = Vec::new();
        let screen = Width::Columns(self.width - 2).into();
        // Writing to memory cannot fail.
        let _ = write_within(&table.columns, &rows.to_vec(), &mut text, true, screen);
        for line in String::from_utf8_lossy(&text).lines() {
            self.add(Tone::Plain, &format!("  {}", shorten_end(line, self.width - 2)));
        }
        if left > 0 {
            self.indented(&format!("{left} more are left out: a page has more (-o report.html)"));
        }
    }
}

fn without(table: &Table, column: &str) -> Table {
    let is_kept = |at: &usize| table.columns.get(*at) != Some(&column);
    let kept: Vec<_> = (0..table.columns.len()).filter(is_kept).collect();
    let row = |row: &Vec<Cell>| kept.iter().filter_map(|&at| row.get(at).cloned()).collect();
    Table {
        columns: kept.iter().filter_map(|&at| table.columns.get(at).copied()).collect(),
        rows: table.rows.iter().map(row).collect(),
    }
}

/// A chart in one line: the peak of each part of the time, or `?` if something of it is not known.
fn bars(points: &[u32], unknown: &[bool], fit: usize) -> String {
    let most = points.iter().max().copied().unwrap_or_default().max(1);
    let size = points.len().div_ceil(fit).max(1);
    let is_unknown = |at: usize| unknown.iter().skip(at * size).take(size).any(|&it| it);
    let bar = |(at, part): (usize, &[u32])| {
        if is_unknown(at) {
            return '?';
        }
        let value = part.iter().max().copied().unwrap_or_default();
        let height = (u64::from(value) * 8).div_ceil(u64::from(most));
        match usize::try_from(height).ok().and_then(|it| it.checked_sub(1)) {
            Some(at) => HEIGHTS.get(at).copied().unwrap_or(' '),
            None => '.',
        }
    };
    printable(&points.chunks(size).enumerate().map(bar).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_the_most_and_where_nothing_was() {
        assert_eq!(bars(&[0, 1, 4, 8], &[false; 4], BARS), ".▁▄█");
        assert_eq!(bars(&[0, 1, 4, 8], &[false, true, true, false], BARS), ".??█");
        let mut many = vec![0; 600];
        many[599] = 1;
        let line = bars(&many, &[], BARS);
        assert!(line.chars().count() <= BARS && line.ends_with('█'), "{line}");
    }

    #[test]
    fn tables_fit_whatever_is_in_them() {
        let long = "/a/long/path".repeat(30);
        let words = "many words ".repeat(30);
        let row = vec![Cell::from(&long[..]), Cell::from(7_u64), Cell::from(&words[..])];
        let mut page = Page::on(Screen::default());
        page.table(&Table { columns: vec!["A", "B", "C"], rows: vec![row; 30] }, 5, ROWS);
        let text = page.text;
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("15 more are left out") && text.contains(" 7 "), "{text}");
    }
}
