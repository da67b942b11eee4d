//! The summary of a run in a few sentences.

use std::collections::BTreeSet;

use inotify_trace_model::{
    event::BootTime, findings::Remedy, resource::Resource, tracker::User, usage::Level,
    verdict::Kind,
};

use super::{Failure, Leak, Refusal};
use crate::{
    limits::reaches,
    output::{UserNames, limit_remedy, words},
    report::Times,
};

/// How many programs, leaks and users a sentence names.
const NAMED: usize = 3;

/// The severity of a run's problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No problem was found.
    Good,
    /// A user came close to a limit, or another problem is near.
    Warning,
    /// Calls failed, or instances are leaked.
    Bad,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "OK",
            Self::Warning => "WARNING",
            Self::Bad => "PROBLEM",
        }
    }
}

/// How close a user came to a limit.
#[derive(Clone, Debug)]
pub(super) struct Closest {
    pub(super) user: User,
    pub(super) resource: Resource,
    pub(super) level: Level,
    pub(super) time: BootTime,
}

/// The facts that sentences are made of.
pub(super) struct Headline<'a> {
    /// Whether something is missing: then what was not found may have been in it.
    pub(super) is_incomplete: bool,
    pub(super) refusals: &'a [Refusal],
    pub(super) failures: &'a [Failure],
    pub(super) leaks: &'a [Leak],
    /// How close users came to their limits, the closest first.
    pub(super) closest: &'a [Closest],
    pub(super) times: &'a Times,
    pub(super) names: &'a UserNames,
}

impl Headline<'_> {
    fn leaks(&self) -> impl Iterator<Item = &Leak> {
        self.leaks.iter().filter(|leak| leak.is_leak())
    }

    /// Failures at a limit that is no user's quota: of open files.
    fn other_limits(&self) -> impl Iterator<Item = &Failure> {
        self.failures.iter().filter(|it| it.limit.is_some() && it.refused.is_none())
    }

    /// A user in a sentence.
    fn user(&self, user: User) -> String {
        let name = self.names.payer(user);
        if name.starts_with(|c: char| c.is_ascii_digit()) { format!("user {name}") } else { name }
    }

    /// A limit in a sentence.
    fn quota(&self, user: User, resource: Resource) -> String {
        format!("{} of {}", resource.name(), self.user(user))
    }

    fn close(&self) -> impl Iterator<Item = &Closest> {
        self.closest.iter().filter(|it| is_close(it.level))
    }

    pub(super) fn severity(&self) -> Severity {
        let failed = self.failures.iter().any(|it| it.limit.is_some());
        if failed || self.leaks().any(|leak| !leak.is_over) {
            Severity::Bad
        } else if self.close().next().is_some() || self.leaks().next().is_some() {
            Severity::Warning
        } else {
            Severity::Good
        }
    }

    pub(super) fn title(&self) -> String {
        let now = || self.leaks().filter(|leak| !leak.is_over);
        let leaking: BTreeSet<_> = now().map(|leak| leak.comm.clone()).collect();
        let is_sure = now().any(|leak| leak.finding.kind.is_certain());
        let verb = match (leaking.len(), is_sure) {
            (1, true) => "leaks",
            (_, true) => "leak",
            (1, false) => "seems to leak",
            (_, false) => "seem to leak",
        };
        let is_watches = now().all(|leak| leak.finding.kind == Kind::WatchesGrowing);
        let leaked = if is_watches { Resource::Watches } else { Resource::Instances }.name();
        let leaking =
            (!leaking.is_empty()).then(|| some(leaking.into_iter().collect(), "programs"));
        let ran_out = self.ran_out();
        match (ran_out, self.other_limits().next(), leaking) {
            (Some(ran_out), _, Some(leaking)) => format!("{ran_out}; {leaking} {verb} {leaked}"),
            (Some(ran_out), _, None) => ran_out,
            (None, Some(failure), _) => {
                let when = self.times.short(failure.first);
                let why = words::failure(failure.errno, failure.limit, failure.files);
                format!("{} failed at {when}: {why}", failure.comm)
            }
            (None, None, Some(leaking)) => format!("{leaking} {verb} inotify {leaked}"),
            (None, None, None) => match self.close().next() {
                Some(Closest { user, level, resource, .. }) => {
                    let who = self.user(*user);
                    let (Level { used, limit }, what) = (level, resource.name());
                    format!("{who} came close to the limit: {used} of {limit} {what}")
                }
                None if self.leaks().next().is_some() => {
                    "Instances were leaked for a time".to_owned()
                }
                None if self.is_incomplete => {
                    "Parts are missing; in the rest no limit was reached, and no leak was found"
                        .to_owned()
                }
                None => "No limit was reached, and no leak was found".to_owned(),
            },
        }
    }

    /// The problems of the run in sentences, the worst first.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        for refusal in self.refusals.iter().take(NAMED) {
            let what = words::one(refusal.by.resource);
            let failed = self.failures.iter().filter(|it| {
                it.refused == Some(refusal.by.user) && it.resource == refusal.by.resource
            });
            let who =
                some(failed.map(|it| format!("{} in {}", it.comm, it.place)).collect(), "programs");
            let when = self.when(refusal.count, refusal.first, refusal.last);
            let of = match self.refusals.len() {
                1 => String::new(),
                _ => format!(" charged to {}", self.user(refusal.by.user)),
            };
            let at = self.times.short(refusal.blamed);
            let used_up = words::used_up(&refusal.by, self.names);
            let used_up = used_up.trim_end();
            all.push(format!(
                "{who} could not get {what}{of}, {when}. Used up, as of {at}: {used_up}."
            ));
        }
        let more = self.refusals.iter().skip(NAMED);
        let more: Vec<_> = more.map(|it| self.quota(it.by.user, it.by.resource)).collect();
        if !more.is_empty() {
            all.push(format!("Used up as well: {}.", more.join(", ")));
        }
        for failure in self.other_limits().take(NAMED) {
            let when = self.when(failure.count, failure.first, failure.last);
            let why = words::failure(failure.errno, failure.limit, failure.files);
            all.push(format!("{} in {} failed, {when}: {why}.", failure.comm, failure.place));
        }
        for leak in self.leaks().take(NAMED) {
            let said = self.times.short(leak.said);
            let line = words::line(&leak.finding);
            all.push(match leak.afterwards {
                Some(then) => format!("Leak, as of {said}: {line}. {}", words::afterwards(then)),
                None => format!("Leak: {line}."),
            });
        }
        let more = self.leaks().count().saturating_sub(NAMED);
        if more > 0 {
            all.push(format!("{more} more leaks are below."));
        }
        // A user with a refusal reached the limit, and already has a sentence.
        let is_said = |it: &&Closest| {
            let key = (it.user, it.resource);
            self.refusals.iter().any(|refusal| (refusal.by.user, refusal.by.resource) == key)
        };
        let mut told: Vec<_> = self.close().filter(|it| !is_said(it)).take(NAMED).collect();
        if told.is_empty() && self.refusals.is_empty() {
            told.extend(self.closest.first());
        }
        for Closest { user, resource, level: Level { used, limit }, time } in told {
            let who = self.user(*user);
            let percent = (u64::from(*used) * 100).div_ceil(u64::from(*limit).max(1));
            let (when, what) = (self.times.short(*time), resource.name());
            all.push(format!(
                "{who} came closest to the limit at {when}: {used} of {limit} {what} ({percent}%)."
            ));
        }
        all
    }

    /// Who ran out of what.
    fn ran_out(&self) -> Option<String> {
        let mut refusals: Vec<_> = self.refusals.iter().collect();
        refusals.sort_by_key(|it| it.first);
        let when = self.times.short(refusals.first()?.first);
        let mut users: Vec<_> = Vec::new();
        for refusal in &refusals {
            let user = self.user(refusal.by.user);
            if !users.contains(&user) {
                users.push(user);
            }
        }
        let when = if users.len() > 1 { format!("from {when} on") } else { format!("at {when}") };
        let mut what: Vec<_> = refusals.iter().map(|it| it.by.resource.name()).collect();
        what.sort_unstable();
        what.dedup();
        Some(format!("{} ran out of inotify {} {when}", some(users, "users"), what.join(" and ")))
    }

    /// The remedies, each once.
    pub(super) fn remedies(&self) -> Vec<String> {
        let told = self.leaks().filter(|leak| !leak.is_over);
        let leaks =
            told.map(|leak| format!("{}: {}", leak.comm, words::remedy(leak.finding.remedy())));
        let refusals = self.refusals.iter().map(|it| {
            format!("{}: {}", self.quota(it.by.user, it.by.resource), words::remedy_for(&it.by))
        });
        let files = self.other_limits().filter_map(|it| {
            let pid = it.pids.first().copied().filter(|_| it.pids.len() == 1);
            Some(words::remedy(limit_remedy(it.limit?, pid)?).into_owned())
        });
        let mut all = Vec::new();
        for remedy in leaks.chain(refusals).chain(files) {
            if !all.contains(&remedy) && all.len() < 2 * NAMED {
                all.push(remedy);
            }
        }
        if let (true, Some(close)) = (all.is_empty(), self.close().next()) {
            let quota = self.quota(close.user, close.resource);
            all.push(format!("{quota}: {}", words::remedy(Remedy::Raise)));
        }
        all
    }

    fn when(&self, count: u64, first: BootTime, last: BootTime) -> String {
        match (count, self.times.short(first), self.times.short(last)) {
            (1, first, _) => format!("once, at {first}"),
            (_, first, last) if first == last => format!("{count} times, at {first}"),
            (_, first, last) => format!("{count} times from {first} to {last}"),
        }
    }
}

/// The first few, and how many more.
fn some(names: Vec<String>, what: &str) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut named: Vec<_> = names.into_iter().take(NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more {what}"));
    }
    match named.split_last() {
        None => "A program".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Whether the level is close to the limit.
fn is_close(level: Level) -> bool {
    reaches(level, 80)
}
