//! The answer to "why does it say `too many open files`?": what is wrong, who is behind it, and what
//! to do, from facts that other commands tell one by one.
//!
//! [`answer`] is pure: it is given what was seen of a machine, now or in a recording.

mod json;
mod message;
mod text;

use std::{collections::BTreeSet, time::Duration};

use inotify_trace_model::{
    event::{BootTime, Comm, Files, Level},
    findings::{Exhausted, Finding},
    resource::Resource,
    tracker::{Tracker, User},
    usage::{Culprits, total_of},
    verdict::{Grace, Kind, verdicts},
};

pub use message::Suspects;

use crate::{
    limits::{Pace, Setting, State, Sysctl, reaches},
    output::{Refusals, Refused, Selection},
};

/// From which share of a limit on it is nearly reached, in percent.
pub const NEAR: u32 = 80;

/// From which share of a limit on it is nearly reached if it grows, in percent, and soon enough. The
/// alerts of deploy/prometheus have the same.
const FILLING: u32 = 50;
const SOON: Duration = Duration::from_secs(4 * 3600);

/// What is known of what happened before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: it is a look.
    Unknown,
    /// All that these recordings tell.
    Recorded(Vec<String>),
    /// What a running agent has counted.
    Counted {
        /// The time from which on.
        since: BootTime,
        /// The calls refused at users' limits.
        refused: u64,
        /// Where it records.
        recording: Option<String>,
    },
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The machine.
    Machine,
    /// Whoever is selected, with the name that was given.
    Selected(String, Selection),
    /// Whatever may be behind a message.
    Message(Suspects),
}

/// What was seen of a machine.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Its instances.
    pub tracker: &'a Tracker,
    /// The moment.
    pub now: BootTime,
    /// For how long something must have looked leaked.
    pub grace: Grace,
    /// The limits in files and live.
    pub settings: &'a [Setting],
    /// Processes that are short of descriptors.
    pub descriptors: &'a [(u32, Comm, Files)],
    /// The machine's open files.
    pub files: Option<Files>,
    /// What was refused before; None at a look, which doesn't see that.
    pub refusals: Option<&'a Refusals>,
    /// How fast limits are used up, where that was seen.
    pub pace: Option<&'a Pace>,
    /// What is known of what happened before.
    pub before: Before,
    /// Whether the kernel's charges are known.
    pub is_charged: bool,
    /// Who would pay for what the selected process makes, whether it has made any or not.
    pub payer: Option<User>,
}

/// Something that is wrong, or about to be.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A user's limit is used up, or nearly.
    Quota(Box<Quota>),
    /// A leak, or something that is noted.
    Finding(Box<Finding>),
    /// A process has, nearly, all the descriptors that it may have.
    Descriptors {
        /// The process.
        pid: u32,
        /// Its name.
        comm: Comm,
        /// Its descriptors.
        files: Files,
    },
    /// The machine has, nearly, all the files open that it may have.
    Files(Files),
    /// Something was refused earlier, by a limit that is not reached any more.
    Refused(Box<Refused>),
    /// A file sets another value than is live.
    Setting(Box<Setting>),
}

/// A user's limit that is used up, or nearly.
#[derive(Clone, Debug)]
pub struct Quota {
    /// Who uses how much of it.
    pub exhausted: Exhausted,
    /// A setting of the limit that only has to be loaded: a file sets more than is live.
    pub waiting: Option<Setting>,
    /// What it has refused so far.
    pub refused: Option<Refused>,
    /// The time until it is used up, if it grows.
    pub left: Option<Duration>,
}

impl Quota {
    /// Whether the next one is refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.exhausted.used >= self.exhausted.limit
    }
}

impl Problem {
    /// Whether something has to be done; the others are notes.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        match self {
            Self::Quota(_) | Self::Descriptors { .. } | Self::Files(_) => true,
            Self::Finding(finding) => {
                finding.kind.is_leak() || matches!(finding.kind, Kind::QueueFull | Kind::LimitNear)
            }
            Self::Refused(_) | Self::Setting(_) => false,
        }
    }

    /// The most pressing first.
    fn rank(&self) -> u8 {
        match self {
            Self::Quota(quota) if quota.is_full() => 0,
            Self::Files(files) if files.reaches(100) => 1,
            Self::Descriptors { files, .. } if files.reaches(100) => 2,
            Self::Quota(_) => 3,
            Self::Finding(finding) if finding.kind.is_leak() => 4,
            Self::Files(_) | Self::Descriptors { .. } => 5,
            Self::Finding(_) if self.is_serious() => 6,
            Self::Refused(_) => 7,
            Self::Finding(_) => 8,
            Self::Setting(_) => 9,
        }
    }
}

/// What is to be said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked about.
    pub subject: Subject,
    /// The problems, the most pressing first.
    pub problems: Vec<Problem>,
    /// The limit with the least room, of those that the subject is about.
    pub tightest: Option<(User, Resource, Level)>,
    /// The number of instances that belong to the subject.
    pub instances: usize,
    /// Whether limits can be compared with what is used.
    pub is_charged: bool,
    /// What is known of what happened before.
    pub before: Before,
    /// The moment.
    pub now: BootTime,
}

impl Answer {
    /// Whether something has to be done; None if that can't be told.
    #[must_use]
    pub fn is_healthy(&self) -> Option<bool> {
        match self.problems.iter().any(Problem::is_serious) {
            true => Some(false),
            false => self.is_charged.then_some(true),
        }
    }
}

/// What a subject is made of.
struct Scope<'a> {
    subject: &'a Subject,
    /// The users who pay for what is selected, those above them included.
    payers: BTreeSet<User>,
    /// The processes that hold it.
    pids: BTreeSet<u32>,
    instances: usize,
}

/// The answer to a question about a machine.
#[must_use]
pub fn answer(subject: Subject, seen: &Seen<'_>) -> Answer {
    let mut scope = Scope::of(&subject, seen.tracker);
    if let Some(payer) = seen.payer {
        scope.pay(payer, seen.tracker);
    }
    let mut problems = Vec::new();
    let mut tightest: Option<(User, Resource, Level)> = None;
    for resource in [Resource::Instances, Resource::Watches] {
        for user in seen.tracker.users().binding_payers(resource) {
            let Some(account) = seen.tracker.users().get(user) else { continue };
            let Some(level) = account.own(resource) else { continue };
            if !scope.is_about(user, resource) {
                continue;
            }
            if tightest.is_none_or(|(_, _, most)| level.percent() > most.percent()) {
                tightest = Some((user, resource, level));
            }
            let left = seen.pace.and_then(|pace| pace.left(user, resource, level));
            let fills = reaches(level, FILLING) && left.is_some_and(|left| left <= SOON);
            if reaches(level, NEAR) || fills {
                problems.push(Problem::Quota(Box::new(quota(user, resource, level, left, seen))));
            }
        }
    }
    problems.extend(scope.findings(seen));
    problems.extend(scope.files(seen));
    problems.extend(scope.refusals(seen, &problems));
    let differs = |it: &&Setting| it.state() == State::Differs && scope.is_about_sysctl(it.sysctl);
    let told = |it: &&Setting| !problems.iter().any(|problem| problem.tells_of(it));
    let settings = seen.settings.iter().filter(differs).filter(told);
    let settings: Vec<_> = settings.cloned().map(|it| Problem::Setting(Box::new(it))).collect();
    problems.extend(settings);
    problems.sort_by_key(Problem::rank);
    let instances = scope.instances;
    Answer {
        problems,
        tightest,
        instances,
        is_charged: seen.is_charged,
        before: seen.before.clone(),
        now: seen.now,
        subject,
    }
}

impl Problem {
    fn tells_of(&self, setting: &Setting) -> bool {
        matches!(self, Self::Quota(quota) if quota.waiting.as_ref() == Some(setting))
    }
}

fn quota(
    user: User,
    resource: Resource,
    level: Level,
    left: Option<Duration>,
    seen: &Seen<'_>,
) -> Quota {
    let culprits = Culprits::now(user, resource, level, seen.tracker);
    let exhausted = Exhausted::by(&culprits, seen.tracker);
    let is_waiting = |it: &&Setting| {
        it.sysctl.key() == resource.sysctl()
            && it.state() == State::Differs
            && it.configured.value() > it.live
            // It may have been loaded since the setting was read.
            && it.configured.value() > Some(level.limit.into())
    };
    // A namespace's own limit is in no file.
    let waiting = (user.userns == User::INITIAL).then(|| seen.settings.iter().find(is_waiting));
    let refused = seen.refusals.and_then(|it| it.of(user, resource)).cloned();
    Quota { exhausted, waiting: waiting.flatten().cloned(), refused, left }
}

impl<'a> Scope<'a> {
    fn of(subject: &'a Subject, tracker: &Tracker) -> Self {
        let mut scope =
            Self { subject, payers: BTreeSet::new(), pids: BTreeSet::new(), instances: 0 };
        let Subject::Selected(_, selection) = subject else {
            scope.instances = tracker.instances().count();
            return scope;
        };
        let picked =
            total_of(tracker, |instance, pid| selection.picks_holder(instance, pid, tracker));
        scope.instances = picked.instances.len();
        scope.pids = picked.processes;
        picked.users.into_iter().flatten().for_each(|user| scope.pay(user, tracker));
        scope.pids.extend(&selection.pids);
        scope
    }

    /// Adds a user, and those above who pay as well.
    fn pay(&mut self, user: User, tracker: &Tracker) {
        self.payers.insert(user);
        let above = tracker.users().get(user).map(|account| account.payers.iter().copied());
        self.payers.extend(above.into_iter().flatten());
    }

    fn is_about(&self, user: User, resource: Resource) -> bool {
        match self.subject {
            Subject::Machine => true,
            // A user is known by what it pays for, whoever holds that, and whether anybody still does.
            Subject::Selected(_, selection) => {
                self.payers.contains(&user) || selection.uids.contains(&user.uid)
            }
            Subject::Message(suspects) => suspects.has(resource),
        }
    }

    fn is_about_sysctl(&self, sysctl: Sysctl) -> bool {
        match self.subject {
            Subject::Machine => true,
            Subject::Selected(..) => false,
            Subject::Message(suspects) => match sysctl {
                Sysctl::Instances => suspects.instances,
                Sysctl::Watches => suspects.watches,
                Sysctl::QueuedEvents => suspects.queue,
            },
        }
    }

    fn findings(&self, seen: &Seen<'_>) -> Vec<Problem> {
        let is_meant = |finding: &Finding| match self.subject {
            Subject::Machine => true,
            Subject::Selected(..) => self.pids.contains(&finding.holder.pid),
            Subject::Message(suspects) => match (finding.kind, &finding.growth) {
                (Kind::QueueFull, _) => suspects.queue,
                (_, Some(growth)) => suspects.has(growth.resource),
                (_, None) => suspects.instances,
            },
        };
        let all = verdicts(seen.tracker, seen.now, &seen.grace);
        let all = all.iter().map(|it| Finding::of(it, seen.tracker));
        // An instance that is not used yet is nobody's trouble.
        let told = all.filter(|it| is_meant(it) && it.kind != Kind::Idle);
        told.map(|it| Problem::Finding(Box::new(it))).collect()
    }

    fn files(&self, seen: &Seen<'_>) -> Vec<Problem> {
        let (all, of_machine) = match self.subject {
            Subject::Machine => (true, true),
            Subject::Selected(..) => (false, false),
            Subject::Message(suspects) => (suspects.descriptors, suspects.files),
        };
        let meant = seen.descriptors.iter().filter(|(pid, ..)| all || self.pids.contains(pid));
        let processes = meant.map(|&(pid, comm, files)| Problem::Descriptors { pid, comm, files });
        let machine = seen.files.filter(|it| of_machine && it.reaches(NEAR));
        processes.chain(machine.map(Problem::Files)).collect()
    }

    /// Those of limits that are not told of already.
    fn refusals(&self, seen: &Seen<'_>, told: &[Problem]) -> Vec<Problem> {
        let is_told = |it: &Refused| {
            it.quota().is_some_and(|of| {
                told.iter().any(|problem| {
                    matches!(problem, Problem::Quota(quota)
                        if (quota.exhausted.user, quota.exhausted.resource) == of)
                })
            })
        };
        let is_meant = |it: &Refused| match it.quota() {
            Some((user, resource)) => self.is_about(user, resource),
            None => match self.subject {
                Subject::Machine => true,
                Subject::Selected(..) => it.task.is_some_and(|it| self.pids.contains(&it.pid)),
                Subject::Message(suspects) => suspects.descriptors || suspects.files,
            },
        };
        let all = seen.refusals.map(Refusals::latest).unwrap_or_default();
        let meant = all.into_iter().filter(|it| is_meant(it) && !is_told(it));
        meant.cloned().map(|it| Problem::Refused(Box::new(it))).collect()
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{
        clock::Clock,
        event::{Charge, EventKind},
        story::Audience as _,
        testing::{Machine, at},
    };
    use jiff::tz::TimeZone;

    use super::*;
    use crate::output::{Screen, UserNames, Width};

    fn seen<'a>(tracker: &'a Tracker, now: BootTime, pace: &'a Pace) -> Seen<'a> {
        Seen {
            tracker,
            now,
            grace: Grace::at_once(),
            settings: &[],
            descriptors: &[],
            files: None,
            refusals: None,
            pace: Some(pace),
            before: Before::Recorded(vec!["it's night.itrec".to_owned()]),
            is_charged: true,
            payer: None,
        }
    }

    #[test]
    fn use_that_grows_is_told_from_half_of_a_limit_on_if_it_lasts_hours_only() {
        let (mut machine, mut pace) = (Machine::new(), Pace::default());
        let mut told = |second: u64, used| {
            let watches = Some(Level { used, limit: 1000 });
            let charge = Charge { uid: 0, userns: User::INITIAL, instances: None, watches };
            machine.tell(second, None, EventKind::Charged { charges: [charge].into() });
            let Ok(()) = pace.moment(&machine.0, at(second));
            let answer = answer(Subject::Machine, &seen(&machine.0, at(second), &pace));
            let mut text = Vec::new();
            let names = UserNames::from_map([(0, "root".to_owned())].into());
            let mut clock = Clock::of_machine_booted(0, TimeZone::UTC);
            answer.write(&mut text, &names, &mut clock, Screen::from(Width::Unlimited)).unwrap();
            (answer.is_healthy(), String::from_utf8(text).unwrap())
        };
        assert_eq!(told(10, 400).0, Some(true));
        // A quarter more in a minute, and still less than half.
        assert_eq!(told(70, 499).0, Some(true));
        let (is_healthy, text) = told(130, 600);
        assert_eq!(is_healthy, Some(false), "{text}");
        assert!(text.contains("PROBLEM  600 of 1000 watches of root"), "{text}");
        assert!(text.contains("will be in 4m00s at the pace of the last minutes"), "{text}");
        // It has stopped.
        assert_eq!(told(500, 600).0, Some(true));
    }
}
