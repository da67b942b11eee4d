//! Findings in words, for a person who was just woken up.

use std::time::Duration;

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::{BootTime, Quota},
    findings::{Finding, Holder},
    resource::Resource,
    verdict::{Confidence, Detail as More, Growth, Kind, Near, Pile, Restarts, Watched},
};

use super::pod;
use crate::output::{Approximate, Screen, Tone, device, printable, wrapped};

/// Without a date, a time of day is useless after a day.
const DAY: Duration = Duration::from_secs(86_400);

/// The number of containers named, of those that the instances were for.
const NAMED: usize = 5;

/// One of the lines that explain a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    /// The line's subject; None if it belongs to the line before.
    pub(crate) label: Option<&'static str>,
    pub(crate) text: Text,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Words(String),
    /// The address of a page.
    Link(&'static str),
}

impl Detail {
    fn new(label: &'static str, words: String) -> Self {
        Self { label: Some(label), text: Text::Words(words) }
    }

    /// The line for a terminal: labels end in a colon, except that of the time.
    pub(crate) fn line(&self) -> String {
        match (self.label, &self.text) {
            (Some(SINCE), text) => format!("{SINCE} {}", text.as_str()),
            (Some(label), text) => format!("{label}: {}", text.as_str()),
            (None, text) => text.as_str().to_owned(),
        }
    }
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Words(words) => words,
            Self::Link(address) => address,
        }
    }
}

/// The labels of a leak, and of what is none.
pub(crate) const LEAK: (&str, Tone) = ("LEAK", Tone::Bad);
pub(crate) const NOTE: (&str, Tone) = ("NOTE", Tone::Aside);

/// The label of the time.
pub(crate) const SINCE: &str = "since";

/// The whole finding, in several lines.
pub(crate) fn in_lines(
    finding: &Finding,
    clock: &mut Clock,
    now: BootTime,
    screen: Screen,
) -> String {
    let label = if finding.kind.is_leak() { LEAK } else { NOTE };
    let details = details(finding, clock, now);
    let line = |it: &Detail| (if it.label.is_some() { 6 } else { 13 }, it.line());
    paragraph(label, &heading(finding), details.iter().map(line), screen)
}

/// A labelled heading, and lines below it, each so far from the left.
pub(crate) fn paragraph(
    (label, tone): (&str, Tone),
    heading: &str,
    lines: impl Iterator<Item = (usize, String)>,
    screen: Screen,
) -> String {
    let heading = format!("{label}  {heading}");
    let heading = wrapped(&heading, 0).hanging(6).on(screen.width);
    let mut text = format!("{}\n", screen.colours.paint(tone, heading));
    for (indent, line) in lines {
        text += &format!("{}\n", wrapped(&line, indent).on(screen.width));
    }
    text
}

/// The holder, the number, the problem and the pace, in one line without a newline.
pub(crate) fn line(finding: &Finding) -> String {
    let pace = pace(finding).map(|pace| format!(", {pace}")).unwrap_or_default();
    heading(finding) + &pace
}

/// The holder, the number and the problem.
pub(crate) fn heading(finding: &Finding) -> String {
    let pattern = finding.pattern.map(|it| format!(" ({})", it.name)).unwrap_or_default();
    let who = who(&finding.holder);
    let holds = format!("holds {}", some(finding.count, Resource::Instances));
    let what = match (finding.kind, &finding.detail) {
        (_, More::Pile(pile)) => return format!("{}{pattern}", piling_up(finding, *pile)),
        (_, More::Watches { now, .. }) => {
            let watches = some(*now as usize, Resource::Watches);
            format!("has an instance with {watches}, and seems to keep adding more")
        }
        (_, More::Near(near)) => {
            let near_by = coming_near(finding, *near);
            return match near.pile {
                Some(pile) => format!("{} {near_by}{pattern}", processes(finding, pile)),
                None => format!("{who} {near_by}{pattern}"),
            };
        }
        (Kind::Alike, More::Watched(watched)) => format!("{holds}{}", all_on(watched)),
        (_, More::Watched(watched)) => {
            format!("{holds}{}, and seems to keep making more", all_on(watched))
        }
        (kind, More::None) => {
            let what = match kind {
                Kind::TargetGone => "whose containers or cgroups are gone",
                Kind::ContainerGone => "of a container that is gone",
                Kind::QueueFull if finding.count == 1 => {
                    "whose queue was full: events were dropped"
                }
                Kind::QueueFull => "whose queues were full: events were dropped",
                Kind::Idle => "without a watch",
                _ => "and seems to keep making more",
            };
            format!("{holds} {what}")
        }
    };
    format!("{who} {what}{pattern}")
}

/// A number of something.
fn some(count: usize, resource: Resource) -> String {
    let name = if count == 1 { resource.singular() } else { resource.name() };
    format!("{count} {name}")
}

/// What all of the instances watch.
fn all_on(watched: &Watched) -> String {
    match watched {
        Watched::Same(target) => match &target.path {
            Some(path) => format!(" that all watch {}", printable(path)),
            None => {
                format!(" that all watch inode {} on {}", target.inode, device(target.dev))
            }
        },
        Watched::Nothing => " that watch nothing".to_owned(),
        Watched::Various => String::new(),
    }
}

fn piling_up(finding: &Finding, pile: Pile) -> String {
    let held = some(finding.count, Resource::Instances);
    format!("{} hold {held}, and seem to become ever more", processes(finding, pile))
}

/// The processes of a pile.
fn processes(finding: &Finding, pile: Pile) -> String {
    let comm = pile.comm.to_str();
    let place = finding.holder.place.as_deref();
    let place = place.map(|it| format!(" in {}", printable(it))).unwrap_or_default();
    format!("{} processes {}{place}", pile.processes, printable(&comm))
}

fn coming_near(finding: &Finding, near: Near) -> String {
    let resource = finding.growth.map_or(Resource::Instances, |it| it.resource);
    let Quota { used, limit, .. } = near.quota;
    let doing = match (resource, near) {
        (Resource::Watches, _) => "keeps adding watches to an instance".to_owned(),
        (_, Near { pile: Some(_), .. }) => {
            format!("hold {}, and become more", some(finding.count, Resource::Instances))
        }
        (_, Near { looks_used: false, .. }) => "keeps making instances".to_owned(),
        (_, Near { looks_used: true, .. }) => {
            format!("keeps making instances, {} so far, each with its own target", finding.count)
        }
    };
    let looks = if near.looks_used { "they look used" } else { "not decided yet if they leak" };
    let whose = if near.pile.is_some() { "their" } else { "its" };
    format!("{doing}: {used} of {limit} {} of {whose} user are used; {looks}", resource.name())
}

/// The start, the containers, the pace, the known bug if it is one, and the remedy.
pub(crate) fn details(finding: &Finding, clock: &mut Clock, now: BootTime) -> Vec<Detail> {
    let mut details = vec![Detail::new(SINCE, since(finding, clock, now))];
    let purposes = purposes(finding);
    if !purposes.is_empty() {
        details.push(Detail::new("for", purposes.join(", ")));
    }
    if let Some(queue) = finding.queue {
        let several = if finding.count == 1 { "" } else { "the longest had " };
        let words = super::overflowed(queue.queued, queue.limit);
        details.push(Detail::new("queue", format!("{several}{words}")));
    }
    details.extend(pace(finding).map(|pace| Detail::new("pace", pace)));
    if let Some(pattern) = finding.pattern {
        let fixed = pattern.fixed_in.as_deref();
        let fixed = fixed.map(|it| format!("; fixed in {it}")).unwrap_or_default();
        details.push(Detail::new("known", format!("{}{fixed}", pattern.about)));
        if let Some((version, has_it)) = &finding.version {
            let version = printable(version);
            let has_it = if *has_it { "has it" } else { "should not have it" };
            let words = format!("this is version {version}, which {has_it}");
            details.push(Detail { label: None, text: Text::Words(words) });
        }
        details.push(Detail { label: None, text: Text::Link(&pattern.source) });
    }
    details.push(Detail::new("do", super::remedy(finding.remedy()).into_owned()));
    details
}

fn since(finding: &Finding, clock: &mut Clock, now: BootTime) -> String {
    let age = now.since(finding.since);
    let form = if age < DAY { Timestamps::Time } else { Timestamps::Iso };
    let mut since = String::new();
    clock.write(&mut since, finding.since, form);
    let sure = match finding.confidence {
        Confidence::Certain => "",
        Confidence::Likely => "; inferred",
    };
    if finding.was_found {
        format!("before {since}, when it was found{sure}")
    } else {
        format!("{since}, {} ago{sure}", Approximate(age))
    }
}

/// The containers that the instances were for, and the number of instances for each.
fn purposes(finding: &Finding) -> Vec<String> {
    let Finding { purposes, nameless, .. } = finding;
    let mut parts: Vec<_> = purposes
        .iter()
        .take(NAMED)
        .map(|(name, count)| match (printable(name), count) {
            (name, 1) => name.into_owned(),
            (name, count) => format!("{name} x{count}"),
        })
        .collect();
    let more = purposes.len().saturating_sub(NAMED);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    if *nameless > 0 {
        let served = finding.holder.serves.as_ref();
        let what = if served.is_some() { "container" } else { "cgroup" };
        let (plural, were) = if *nameless == 1 { ("", "was") } else { ("s", "were") };
        let pod = served.and_then(pod).map(|pod| format!(" of {pod}")).unwrap_or_default();
        parts.push(format!("{nameless} {what}{plural}{pod} that {were} already gone"));
    }
    parts
}

/// A process: its name, its number, and the place it runs in.
pub(crate) fn who(holder: &Holder) -> String {
    let comm = holder.comm.map(|comm| printable(&comm.to_str()).into_owned());
    let served = holder.serves.as_ref().map(|it| format!(" of {}", super::served(it)));
    let place = holder.place.as_deref().map(|place| format!(" in {}", printable(place)));
    let comm = comm.as_deref().unwrap_or("a process");
    format!("{comm} ({}){}{}", holder.pid, served.unwrap_or_default(), place.unwrap_or_default())
}

/// The pace of the leak, by restarts and by time; None if it is not known.
fn pace(finding: &Finding) -> Option<String> {
    let says_left = finding.restarts.is_some_and(|it| it.left.is_some());
    let growth = finding.growth.map(|growth| by_time(growth, says_left));
    let parts: Vec<_> = finding.restarts.map(by_restarts).into_iter().chain(growth).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn by_restarts(restarts: Restarts) -> String {
    let Restarts { per_restart, is_inferred, limit, left, .. } = restarts;
    let rate = if per_restart.fract() == 0.0 {
        format!("{per_restart} a restart")
    } else {
        format!("{per_restart:.2} a restart")
    };
    let left = left.zip(limit).map(|(left, limit)| {
        let plural = if left == 1 { "" } else { "s" };
        format!(", {left} restart{plural} left until the limit of {limit}")
    });
    let inferred = if is_inferred { " (inferred)" } else { "" };
    format!("{rate}{}{inferred}", left.unwrap_or_default())
}

/// The pace by time. Adds the number left, unless the pace by restarts shows it.
fn by_time(growth: Growth, says_left: bool) -> String {
    let rate = match growth.per_minute {
        rate if rate >= 60.0 => format!("{:.1} more a second", rate / 60.0),
        rate if rate >= 1.0 => format!("{rate:.1} more a minute"),
        rate => format!("{:.1} more an hour", rate * 60.0),
    };
    if growth.left == Some(0) {
        return format!("{rate}, and the limit is reached");
    }
    let left = growth.left.filter(|_| !says_left).map(|left| format!(", {left} left"));
    let when = growth.time_left().filter(|it| *it < Duration::from_secs(30 * 86_400));
    let when = when.map(|it| format!(": the limit is reached in {}", Approximate(it)));
    format!("{rate}{}{}", left.unwrap_or_default(), when.unwrap_or_default())
}
