//! The report as one line of a monitoring plugin.

use std::fmt::Write as _;

use inotify_trace_model::{resource::Resource, tracker::User, usage::Level};

use super::LimitsReport;

/// The most bytes before the performance data: node-problem-detector cuts the rest.
const LONGEST: usize = 80;

/// The most users in performance data: NRPE and others cut after a kilobyte.
const USERS: usize = 5;

/// The percentages of a limit above which a plugin warns, or says that it is critical.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Above this percentage, it warns.
    pub warning: u32,
    /// Above this percentage, it is critical.
    pub critical: u32,
}

/// The answer of a monitoring plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No user is above a threshold.
    Ok,
    /// One is above that of warnings.
    Warning,
    /// One is above the critical one.
    Critical,
    /// The charges are not known.
    Unknown,
}

impl Status {
    /// As the Monitoring Plugins' guidelines spell it.
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A user's use of one limit.
#[derive(Clone, Copy)]
struct Use {
    user: User,
    resource: Resource,
    level: Level,
}

impl Thresholds {
    fn status(self, level: Level) -> Status {
        let is_above = |percent: u32| {
            u64::from(level.used) * 100 > u64::from(level.limit) * u64::from(percent)
        };
        match () {
            () if is_above(self.critical) => Status::Critical,
            () if is_above(self.warning) => Status::Warning,
            () => Status::Ok,
        }
    }
}

impl LimitsReport {
    /// The status, and what to print: one line, with performance data if `has_data`.
    #[must_use]
    pub fn plugin(&self, thresholds: Thresholds, has_data: bool) -> (Status, String) {
        let Some(standings) = &self.standings else {
            return (
                Status::Unknown,
                unknown("the users' charges are not known: run it as root, on the machine itself"),
            );
        };
        let mut uses: Vec<Use> = Vec::new();
        for (&user, standing) in standings {
            let both =
                [(Resource::Instances, standing.instances), (Resource::Watches, standing.watches)];
            let known = both.into_iter().filter_map(|(resource, level)| Some((resource, level?)));
            uses.extend(known.map(|(resource, level)| Use { user, resource, level }));
        }
        // Stable: of equals, the lower user comes first.
        uses.sort_by(|a, b| b.level.percent().total_cmp(&a.level.percent()));
        let status = uses.iter().map(|it| thresholds.status(it.level)).max().unwrap_or(Status::Ok);
        let worst = uses.first().map_or("nobody uses inotify".to_owned(), |it| self.told(it));
        let mut line = one_line(status, &worst);
        if has_data {
            data(&mut line, &uses, thresholds);
        }
        (status, line)
    }

    fn told(&self, Use { user, resource, level }: &Use) -> String {
        format!(
            "{}/{} {} ({}%) used by {}",
            level.used,
            level.limit,
            resource.name(),
            // Rounded down: a limit is at 100% when nothing is left, and not before.
            u64::from(level.used) * 100 / u64::from(level.limit.max(1)),
            self.names.payer(*user)
        )
    }
}

/// The line of a plugin that has found nothing out.
#[must_use]
pub fn unknown(why: &str) -> String {
    one_line(Status::Unknown, why)
}

/// A status with its reason. Names of users and errors may have anything in them, but not end the
/// line, or begin the performance data.
fn one_line(status: Status, why: &str) -> String {
    let why = why.chars().map(|c| match c {
        c if c.is_control() => ' ',
        '|' => '/',
        c => c,
    });
    let mut line = format!("INOTIFY {} - ", status.name());
    for c in why {
        if line.len() + c.len_utf8() > LONGEST {
            break;
        }
        line.push(c);
    }
    line.truncate(line.trim_end().len());
    line
}

/// Adds the largest share of each limit, and the counts of the users closest to one. Labels have
/// users' numbers, which nobody can choose freely, and no names.
fn data(line: &mut String, uses: &[Use], thresholds: Thresholds) {
    let Thresholds { warning, critical } = thresholds;
    line.push_str(" |");
    for resource in [Resource::Instances, Resource::Watches] {
        let most = uses.iter().find(|it| it.resource == resource);
        let percent = most.map_or(0.0, |it| it.level.percent());
        // A String takes all that is written to it.
        let _ = write!(line, " {}={percent:.1}%;{warning};{critical};0;100", resource.name());
    }
    let mut users: Vec<User> = Vec::new();
    for it in uses {
        if !users.contains(&it.user) && users.len() < USERS {
            users.push(it.user);
        }
    }
    for user in users {
        for Use { resource, level, .. } in uses.iter().filter(|it| it.user == user) {
            let place = match user.userns {
                User::INITIAL => String::new(),
                userns => format!("_userns{userns}"),
            };
            let share = |percent: u32| u64::from(level.limit) * u64::from(percent) / 100;
            let _ = write!(
                line,
                " uid{}{place}_{}={};{};{};0;{}",
                user.uid,
                resource.name(),
                level.used,
                share(warning),
                share(critical),
                level.limit
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use inotify_trace_model::usage::Standing;

    use super::*;
    use crate::{limits::Seen, output::UserNames};

    const LEVELS: Thresholds = Thresholds { warning: 80, critical: 95 };

    fn root() -> User {
        User { userns: User::INITIAL, uid: 0 }
    }

    fn report(users: &[(User, u32, u32)], names: &[(u32, &str)]) -> LimitsReport {
        let standing = |&(user, used, limit): &(User, u32, u32)| {
            let instances = Some(Level { used, limit });
            let watches = Some(Level { used: 1, limit: 1000 });
            (user, Standing { instances, watches, ..Standing::default() })
        };
        let names = names.iter().map(|(uid, name)| (*uid, (*name).to_owned())).collect();
        LimitsReport {
            names: UserNames::from_map(names),
            standings: Some(users.iter().map(standing).collect()),
            rates: None,
            settings: Vec::new(),
            recommendation: crate::limits::recommend(&Seen::default(), None, Default::default()),
            plan: None,
            warn: 80,
            own_namespace: None,
            notes: Vec::new(),
            done: None,
        }
    }

    #[test]
    fn a_threshold_is_exceeded_above_it_only() {
        for (used, limit, expected) in [
            (0, 0, Status::Ok),
            (80, 100, Status::Ok),
            (102, 128, Status::Ok),
            (103, 128, Status::Warning),
            (95, 100, Status::Warning),
            (96, 100, Status::Critical),
            (128, 128, Status::Critical),
            (u32::MAX, u32::MAX, Status::Critical),
        ] {
            assert_eq!(LEVELS.status(Level { used, limit }), expected, "{used} of {limit}");
        }
    }

    #[test]
    fn the_line_has_the_worst_first_and_data_for_all() {
        let namespace = User { userns: 4_026_532_000, uid: 7 };
        let report = report(&[(root(), 10, 128), (namespace, 110, 128)], &[(0, "root")]);
        let (status, line) = report.plugin(LEVELS, true);
        assert_eq!(status, Status::Warning);
        assert_eq!(
            line,
            "INOTIFY WARNING - 110/128 instances (85%) used by 7@userns:4026532000 | \
             instances=85.9%;80;95;0;100 watches=0.1%;80;95;0;100 \
             uid7_userns4026532000_instances=110;102;121;0;128 \
             uid7_userns4026532000_watches=1;800;950;0;1000 \
             uid0_instances=10;102;121;0;128 uid0_watches=1;800;950;0;1000"
        );
        assert!(!report.plugin(LEVELS, false).1.contains('|'));
    }

    #[test]
    fn no_name_breaks_the_line() {
        let long = "x".repeat(500);
        for name in [
            "a|b=1;;",
            "a\nb",
            "a\u{2028}b\u{1b}[31m",
            "'q'",
            "",
            "\u{e4}".repeat(99).as_str(),
            &long,
        ] {
            let report = report(&[(root(), 128, 128)], &[(0, name)]);
            let (status, line) = report.plugin(LEVELS, true);
            assert_eq!((status, line.lines().count()), (Status::Critical, 1), "{line}");
            let at = line.find(" | ").expect("data");
            let (text, data) = (&line[..at], &line[at..][3..]);
            assert!(text.len() <= LONGEST && !data.contains(['|', '\'']), "{line}");
            assert!(text.starts_with("INOTIFY CRITICAL - 128/128 instances (100%)"), "{line}");
        }
        // Longer than a monitoring system reads, if all users were in it.
        let many: Vec<_> =
            (0..2000).map(|uid| (User { userns: User::INITIAL, uid }, uid, u32::MAX)).collect();
        let (_, line) = report(&many, &[]).plugin(LEVELS, true);
        assert!(line.len() < 1024, "{}", line.len());
    }

    #[test]
    fn what_is_not_known_is_not_ok() {
        let mut report = report(&[], &[]);
        assert_eq!(
            report.plugin(LEVELS, false),
            (Status::Ok, "INOTIFY OK - nobody uses inotify".to_owned())
        );
        report.standings = None::<BTreeMap<_, _>>;
        let (status, line) = report.plugin(LEVELS, true);
        assert_eq!(status, Status::Unknown);
        assert!(line.starts_with("INOTIFY UNKNOWN - the users' charges") && !line.contains('|'));
    }
}
