//! The section of one run.

use maud::{Markup, html};

use super::{badges, charts, clean, prose, table::table, time, warnings};
use crate::{
    output::{
        Cell, UserNames,
        words::{self, Detail, Text},
    },
    report::{Failure, Leak, Run},
};

/// Rows of a table at most, all runs together.
const ROWS: usize = 500;

/// The most leaks that are shown in full.
const LEAKS: usize = 100;

pub(super) fn section(run: &Run, at: usize, runs: usize) -> Markup {
    let rows = (ROWS / runs).max(20);
    let (holders, holders_left) = run.holders.first(rows);
    let (places, places_left) = run.places.first(rows);
    html! {
        article id=(format!("run-{at}")) {
            header class={"verdict " (class(run))} {
                p.where {
                    (badges(run)) " " strong { (clean(&run.header.host)) } ", "
                    (time(run, run.start)) " to " (time(run, run.end))
                }
                h1 { (clean(&run.title)) }
                @if !run.sentences.is_empty() {
                    ul.sentences { @for line in &run.sentences { li { (prose(line)) } } }
                }
                @if !run.remedies.is_empty() {
                    h2 { "What to do" }
                    ol.remedies { @for line in &run.remedies { li { (prose(line)) } } }
                }
            }
            @if run.is_incomplete() { (warnings("This report is incomplete", &run.warnings)) }
            @if !run.limitations.is_empty() {
                section {
                    h2 { "Not in this recording" }
                    ul { @for line in &run.limitations { li { (prose(line)) } } }
                }
            }
            section { h2 { "Over time" } (charts::all(run)) }
            section { h2 { "What failed" } (failures(run, rows)) }
            section { h2 { "Leaks" } (leaks(run)) }
            section {
                h2 { "Who holds instances, at the end" }
                @for line in &run.standing { p { (clean(line)) "." } }
                (table("Processes", &run.holders.table.columns, holders, holders_left))
            }
            section {
                h2 { "Containers" }
                p.note { "An instance counts where it was made, or first found." }
                (table("Containers", &run.places.table.columns, places, places_left))
            }
            section {
                h2 { "Limits, when the recording began" }
                @for note in &run.limits_notes { p { (prose(note)) } }
                (table("Limits", &run.limits.columns, &run.limits.rows, 0))
            }
            section {
                h2 { "The machine and the recording" }
                dl.facts {
                    @for (name, value) in &run.facts { div { dt { (name) } dd { (clean(value)) } } }
                }
            }
        }
    }
}

fn class(run: &Run) -> &'static str {
    match run.severity {
        crate::report::Severity::Good if run.is_incomplete() => "warning",
        crate::report::Severity::Good => "good",
        crate::report::Severity::Warning => "warning",
        crate::report::Severity::Bad => "bad",
    }
}

fn failures(run: &Run, rows: usize) -> Markup {
    let columns = [
        "PROGRAM",
        "CONTAINER",
        "WHAT",
        "WHY",
        "LIMIT OF",
        "TIMES",
        "FIRST",
        "LAST",
        "PIDS",
        "PATHS",
    ];
    let names = UserNames::from_map(run.header.users.clone());
    let row = |it: &Failure| {
        let pids = it.pids.iter().map(ToString::to_string).collect();
        let paths: Vec<_> = it.paths.iter().map(ToString::to_string).collect();
        vec![
            Cell::from(&it.comm[..]),
            Cell::from(&it.place[..]),
            Cell::from(it.resource.singular()),
            Cell::from(&words::failure(it.errno, it.limit, it.files)[..]),
            it.refused.map(|user| names.payer(user)).as_deref().into(),
            Cell::from(it.count),
            Cell::from(&run.times.short(it.first)[..]),
            Cell::from(&run.times.short(it.last)[..]),
            Cell::List(pids),
            if paths.is_empty() { Cell::Missing } else { Cell::List(paths) },
        ]
    };
    let all: Vec<_> = run.failures.iter().take(rows).map(row).collect();
    let left = run.failures.len() - all.len();
    html! {
        @for refusal in &run.refusals {
            div.card.bad {
                p { strong { (refusal.count) " " (refusal.by.resource.name()) " refused" }
                    ", from " (run.times.short(refusal.first)) " to " (run.times.short(refusal.last)) }
                p {
                    "Used up, as of " (run.times.short(refusal.blamed)) ": "
                    (prose(words::used_up(&refusal.by, &names).trim_end()))
                }
                p { (prose(&format!("remedy: {}", words::remedy_for(&refusal.by)))) }
            }
        }
        (table("Failures", &columns, &all, left))
        @if run.failures_left > 0 {
            p.note { (run.failures_left) " failures of other programs are left out." }
        }
    }
}

fn leaks(run: &Run) -> Markup {
    let left = run.leaks_left + run.leaks.len().saturating_sub(LEAKS);
    let is_past = |leak: &&Leak| leak.is_over && !leak.is_leak();
    let (past, present): (Vec<_>, Vec<_>) = run.leaks.iter().take(LEAKS).partition(is_past);
    html! {
        @if !run.leaks.iter().any(Leak::is_leak) { p { (run.no_leak()) } }
        @for leak in present { (card(leak, run)) }
        @if !past.is_empty() {
            div.card {
                p { strong { "NOTES" } " on what ended before the recording did" }
                ul { @for leak in past { li {
                    (run.times.short(leak.reached)) ": " (prose(&words::heading(&leak.finding)))
                } } }
            }
        }
        @if left > 0 { p.note { (left) " more are left out." } }
    }
}

fn card(leak: &Leak, run: &Run) -> Markup {
    let class = match (leak.is_leak(), leak.is_over) {
        (true, false) => "bad",
        (true, true) => "warning",
        (false, _) => "",
    };
    let label = if leak.is_leak() { "LEAK" } else { "NOTE" };
    let details = words::details(&leak.finding, &mut run.times.clock(), leak.said);
    html! {
        div class={"card leak " (class)} {
            p { strong { (label) } " " (prose(&words::heading(&leak.finding))) }
            ul { @for line in &details { li { (detail(line)) } } }
            @if let Some(then) = leak.afterwards { p { b { (words::afterwards(then)) } } }
            p.note {
                "Noticed at " (run.times.short(leak.reached)) "; as of " (run.times.short(leak.said)) "."
            }
        }
    }
}

/// One of the lines that explain a finding.
fn detail(detail: &Detail) -> Markup {
    match (detail.label, &detail.text) {
        (_, Text::Link(page)) => {
            html! { a href=(page) rel="noreferrer noopener" { (clean(page)) } }
        }
        (Some(label), Text::Words(words)) if label != words::SINCE => {
            html! { b { (label) ":" } " " (prose(words)) }
        }
        (_, Text::Words(_)) => prose(&detail.line()),
    }
}
