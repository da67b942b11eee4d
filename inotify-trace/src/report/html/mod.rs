//! A report as one page that loads nothing: it needs no network, and no script for its content.

mod chart;
mod charts;
mod run;
mod table;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Report, Run, Severity};
use crate::{output::printable, output::shorten};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The only script that may run, should something have escaped the escaping. After a change:
/// `openssl dgst -sha256 -binary script.js | base64`; browsers say it too.
const SCRIPT_HASH: &str = "WYwoHt0YIMO1Q3zfCE2a0UYDY0aLFa07YUx2Y0wcCXo=";

/// The longest sentence that is shown whole: names in it may be long.
const SENTENCE: usize = 2000;

/// The longest name from outside that is shown whole.
const LONGEST: usize = 300;

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let hosts: Vec<_> = report.runs.iter().map(|run| run.header.host.as_str()).collect();
    let host = hosts.first().copied().unwrap_or_default();
    let title = match report.title() {
        Some(title) if report.runs.len() == 1 => format!("{title} – {host}"),
        Some(title) => format!("{title} – {} recordings", report.runs.len()),
        None => "inotify report".to_owned(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{SCRIPT_HASH}'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (clean(&title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body(report)) }
                footer {
                    "Made by inotify-trace " (env!("CARGO_PKG_VERSION"))
                    ". Nothing on this page comes from the network."
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn body(report: &Report) -> Markup {
    // All tables together are to stay of a size that a phone can show.
    let full = report.runs.len().clamp(1, super::FULL);
    html! {
        @if !report.unreadable.is_empty() {
            (warnings("Files that could not be read", &report.unreadable))
        }
        @if report.runs.len() > 1 { (overview(report)) }
        @for (at, run) in report.runs.iter().enumerate() {
            @if report.is_full(at) { (run::section(run, at, full)) }
        }
        @if report.runs.is_empty() { p { "There is nothing to report." } }
    }
}

/// The overview of several runs, with links to those that are shown in full.
fn overview(report: &Report) -> Markup {
    html! {
        section.overview {
            h1 { (report.runs.len()) " recordings" }
            div.scroll tabindex="0" role="region" aria-label="Recordings" {
                table {
                    thead { tr {
                        th scope="col" { "Host" } th scope="col" { "From" } th scope="col" { "To" }
                        th scope="col" { "What happened" }
                    } }
                    tbody {
                        @for (at, run) in report.runs.iter().enumerate() {
                            tr {
                                td { (clean(&run.header.host)) }
                                td { (time(run, run.start)) }
                                td { (time(run, run.end)) }
                                td.wide {
                                    (badges(run)) " "
                                    @if report.is_full(at) {
                                        a href=(format!("#run-{at}")) { (clean(&run.title)) }
                                    } @else {
                                        (clean(&run.title))
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if report.runs.len() > super::FULL {
                p.note { "The newest " (super::FULL) " are shown in full; give fewer files for the others." }
            }
        }
    }
}

fn time(run: &Run, time: inotify_trace_model::event::BootTime) -> Markup {
    html! { time datetime=(run.times.utc(time)) { (run.times.full(time)) } }
}

/// How it stands with a run: first of all, whether something is missing.
fn badges(run: &Run) -> Markup {
    let class = match run.severity {
        Severity::Good => "good",
        Severity::Warning => "warning",
        Severity::Bad => "bad",
    };
    let is_shown = !(run.is_incomplete() && run.severity == Severity::Good);
    html! {
        @if run.is_incomplete() { span.badge.warning { "INCOMPLETE" } " " }
        @if is_shown { span class={"badge " (class)} { (run.severity.label()) } }
    }
}

fn warnings(title: &str, lines: &[String]) -> Markup {
    html! {
        div.warnings role="note" {
            h2 { (title) }
            ul { @for line in lines { li { (prose(line)) } } }
        }
    }
}

/// A sentence, in which `this` is code.
fn prose(text: &str) -> Markup {
    let cut: String = text.chars().take(SENTENCE).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    html! {
        @for (at, part) in cut.split('`').enumerate() {
            @if at % 2 == 1 { code { (plain(part)) } } @else { (plain(part)) }
        }
        (more)
    }
}

/// A name from outside, cut to a length; of a path the end is kept.
fn clean(text: &str) -> String {
    plain(&shorten(text, LONGEST))
}

/// Text without characters that would move the text around it.
fn plain(text: &str) -> String {
    printable(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_where_it_is() {
        assert_eq!(clean("a\u{202e}b\u{1b}[2J\nc"), "a\\xe2\\x80\\xaeb\\x1b[2J\\x0ac");
        let long = clean(&format!("{}/end", "/dir".repeat(200)));
        assert!(long.starts_with('…') && long.ends_with("/end"), "{long}");
        assert_eq!(long.chars().count(), LONGEST);
        let sentence = prose(&format!("128 of 128: `{}`", "x".repeat(5000))).into_string();
        assert!(sentence.starts_with("128 of 128: <code>x"), "{sentence}");
        assert!(sentence.len() < 2100 && sentence.ends_with('…'), "{sentence}");
    }
}
