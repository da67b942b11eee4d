//! The answer in English, for a person who was just woken up.

use std::io::{self, Write};

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::{BootTime, Comm, Files},
    findings::Remedy,
    resource::Resource,
};

use super::{Answer, Before, Problem, Quota, Subject};
use crate::{
    limits::{Assignment, Setting},
    output::{
        Approximate, Refused, Screen, Tone, UserNames, limit_remedy, printable, words, wrapped,
    },
};

/// The problems that are told in full: no more than fits on a screen.
const TOLD: usize = 3;

/// A problem: what is wrong, and lines that explain it.
pub(super) struct Told {
    pub(super) heading: String,
    pub(super) lines: Vec<(&'static str, String)>,
    /// What to do about it.
    pub(super) remedy: String,
}

impl Answer {
    /// Writes it.
    ///
    /// # Errors
    /// That of the writer.
    pub fn write(
        &self,
        out: &mut impl Write,
        names: &UserNames,
        clock: &mut Clock,
        screen: Screen,
    ) -> io::Result<()> {
        for problem in self.problems.iter().take(TOLD) {
            if let Problem::Finding(finding) = problem {
                write!(out, "{}", words::in_lines(finding, clock, self.now, screen))?;
                continue;
            }
            let told = told(problem, names, clock);
            let label = if problem.is_serious() { ("PROBLEM", Tone::Bad) } else { words::NOTE };
            let then = self.command(problem, clock).map(|it| ("then", format!("`{it}`")));
            let lines = told.lines.into_iter().chain(then).chain([("do", told.remedy)]);
            let lines = lines.map(|(label, line)| (6, format!("{label}: {line}")));
            write!(out, "{}", words::paragraph(label, &told.heading, lines, screen))?;
        }
        let more = self.problems.len().saturating_sub(TOLD);
        if more > 0 {
            let are = if more == 1 { "1 more is" } else { &format!("{more} more are") };
            let line = format!(
                "{are} left out: `inotify-trace limits` and `inotify-trace leaks` tell all"
            );
            writeln!(out, "{line}")?;
        }
        let more = match (self.is_healthy(), &self.before) {
            (Some(false), Before::Counted { since, refused: refused @ 1.., recording }) => {
                format!("Earlier: {}", counted(*since, *refused, recording.as_deref(), clock))
            }
            (Some(false), _) => return Ok(()),
            _ => self.reassurance(names, clock),
        };
        writeln!(out, "{}", wrapped(&more, 0).on(screen.width))?;
        Ok(())
    }

    /// The command that shows what was recorded of a problem of the past when it was one.
    pub(super) fn command(&self, problem: &Problem, clock: &Clock) -> Option<String> {
        let (Problem::Refused(refused), Before::Recorded(files)) = (problem, &self.before) else {
            return None;
        };
        // With the refusal itself, and in any time zone.
        let after = BootTime(refused.told.0.saturating_add(1_000_000));
        let time = clock.timestamp(after).to_zoned(clock.zone().clone());
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z");
        let files = files.iter().map(|file| format!(" --recording {}", quoted(file)));
        Some(format!("inotify-trace why{} --at {time}", files.collect::<String>()))
    }

    /// What is known of what went wrong before.
    fn earlier(&self, clock: &Clock) -> String {
        match &self.before {
            Before::Recorded(_) => String::new(),
            Before::Unknown => {
                " If it happened earlier, ask a recording: `inotify-trace why --recording FILE --at TIME`; \
                 to catch the next time, let `inotify-trace record` run."
                    .to_owned()
            }
            Before::Counted { since, refused: 0, .. } => format!(
                " The agent has seen no call refused at a user's limit since it began at {}.",
                clock.local(*since)
            ),
            Before::Counted { since, refused, recording } => {
                let counted = counted(*since, *refused, recording.as_deref(), clock);
                format!(" But it was: {counted}")
            }
        }
    }

    /// What is said where nothing has to be done.
    fn reassurance(&self, names: &UserNames, clock: &Clock) -> String {
        let instances = match self.instances {
            1 => "1 instance".to_owned(),
            count => format!("{count} instances"),
        };
        let what = match &self.subject {
            Subject::Machine => format!("with inotify, which has {instances}"),
            Subject::Selected(name, _) => {
                format!("with {}, which has {instances}", printable(name))
            }
            Subject::Message(_) => "that explains this message".to_owned(),
        };
        if !self.is_charged {
            return format!(
                "Nothing wrong was seen {what}, but what the limits are used by is not known: that can't \
                 be told without asking the kernel."
            );
        }
        let tightest = self.tightest.map(|(user, resource, level)| {
            let name = names.payer(user);
            format!(
                "; the fullest limit is {name}'s, at {} of {} {}",
                level.used,
                level.limit,
                resource.name()
            )
        });
        let (tightest, earlier) = (tightest.unwrap_or_default(), self.earlier(clock));
        let now = if matches!(self.before, Before::Recorded(_)) { "" } else { " now" };
        format!("Nothing is wrong {what}{now}{tightest}.{earlier}")
    }
}

/// What a running agent has counted.
fn counted(since: BootTime, refused: u64, recording: Option<&str>, clock: &Clock) -> String {
    let since = clock.local(since);
    let how = match recording {
        Some(directory) => format!(
            "`sudo inotify-trace why --recording {}` tells when, whom and by whom.",
            quoted(directory)
        ),
        None => {
            "to know more the next time, let it record: `inotify-trace serve --record DIR`.".into()
        }
    };
    let calls = if refused == 1 { "1 call was" } else { &format!("{refused} calls were") };
    format!("since the agent began at {since}, {calls} refused at a user's limit; {how}")
}

/// A problem in words.
pub(super) fn told(problem: &Problem, names: &UserNames, clock: &mut Clock) -> Told {
    match problem {
        Problem::Quota(it) => quota(it, names, clock),
        Problem::Finding(finding) => Told {
            heading: words::heading(finding),
            lines: Vec::new(),
            remedy: words::remedy(finding.remedy()).into_owned(),
        },
        Problem::Descriptors { pid, comm, files } => descriptors(*pid, *comm, *files),
        Problem::Files(files) => Told {
            heading: format!(
                "{} files of the machine are open (fs.file-max): not a limit of inotify",
                share(*files)
            ),
            lines: Vec::new(),
            remedy: words::remedy(Remedy::RaiseFiles).into_owned(),
        },
        Problem::Refused(it) => earlier(it, names, clock),
        Problem::Setting(setting) => Told {
            heading: format!(
                "{} is {}, and {} sets it to {}",
                setting.sysctl.key(),
                number(setting.live),
                place(setting),
                number(setting.configured.value())
            ),
            lines: Vec::new(),
            remedy: match (setting.configured.value() < setting.live, &setting.at_boot) {
                (true, None) => format!(
                    "change the file if {} is to stay: the next boot, or `sysctl --system`, \
                     lowers it",
                    number(setting.live)
                ),
                (true, Some(_)) => format!(
                    "change the file if {} is to stay: `sysctl --system` lowers it",
                    number(setting.live)
                ),
                (false, None) => format!("{}, or wait for the next boot", set(setting)),
                (false, Some(_)) => format!(
                    "{}; systemd does not read that file at boot (`inotify-trace limits`)",
                    set(setting)
                ),
            },
        },
    }
}

fn quota(quota: &Quota, names: &UserNames, clock: &mut Clock) -> Told {
    let exhausted = &quota.exhausted;
    let heading = words::used_up(exhausted, names);
    let next = match (quota.is_full(), exhausted.resource) {
        (false, _) => match quota.left {
            Some(left) => format!(
                "it is not used up at this moment, and will be in {} at the pace of the last minutes",
                Approximate(left)
            ),
            None => "it is not used up at this moment".to_owned(),
        },
        (true, Resource::Instances) => {
            "the next inotify_init fails: EMFILE, `too many open files`".to_owned()
        }
        (true, Resource::Watches) => {
            "the next inotify_add_watch fails: ENOSPC, `no space left on device`".to_owned()
        }
    };
    let mut lines = vec![("now", next)];
    lines.extend(quota.refused.as_ref().map(|it| ("refused", times(it, clock))));
    // What is mostly leaked is in the remedy, unless a setting is.
    if exhausted.leaked > 0 && (quota.waiting.is_some() || !exhausted.is_mostly_leaked()) {
        lines.push(("leak", format!("{} of these look leaked", exhausted.leaked)));
    }
    let remedy = match &quota.waiting {
        Some(setting) => {
            format!("{}: {} sets that, and it is not live", set(setting), place(setting))
        }
        None => words::remedy_for(exhausted),
    };
    Told { heading, lines, remedy }
}

/// The command that makes live what a file sets. `sysctl --system` would load all other settings, too,
/// some of which somebody else has changed since.
fn set(setting: &Setting) -> String {
    let value = number(setting.configured.value());
    format!("`sudo sysctl -w {}={value}`", setting.sysctl.key())
}

fn descriptors(pid: u32, comm: Comm, files: Files) -> Told {
    let share = share(files);
    let now = if files.reaches(100) {
        "whatever it opens next fails: EMFILE, `too many open files`"
    } else {
        "it is not used up yet"
    };
    Told {
        heading: format!(
            "{} ({pid}) has {share} descriptors open (RLIMIT_NOFILE): not a limit of inotify",
            printable(&comm.to_str())
        ),
        lines: vec![("now", now.to_owned())],
        remedy: words::remedy(Remedy::RaiseDescriptors { pid: Some(pid) }).into_owned(),
    }
}

fn earlier(refused: &Refused, names: &UserNames, clock: &mut Clock) -> Told {
    let who = refused.task.map(|it| format!("{} ({})", printable(&it.comm.to_str()), it.pid));
    let who = who.unwrap_or_else(|| "a process".to_owned());
    let heading = match &refused.exhausted {
        Some(exhausted) => format!(
            "{who} was refused {} at a limit that has room again: then {}",
            words::one(exhausted.resource),
            words::used_up(exhausted, names)
        ),
        None => format!("{who} was refused an instance by {}", words::limit(refused.limit)),
    };
    let remedy = match &refused.exhausted {
        Some(exhausted) => words::remedy_for(exhausted),
        None => {
            let pid = refused.task.map(|it| it.pid);
            let remedy = limit_remedy(refused.limit, pid);
            words::remedy(remedy.unwrap_or(Remedy::Raise)).into_owned()
        }
    };
    Told { heading, lines: vec![("refused", times(refused, clock))], remedy }
}

fn times(refused: &Refused, clock: &mut Clock) -> String {
    let mut time = |at: BootTime| {
        let mut text = String::new();
        clock.write(&mut text, at, Timestamps::Time);
        text
    };
    match refused.count {
        1 => format!("once, at {}", time(refused.first)),
        count => {
            format!("{count} times, from {} to {}", time(refused.first), time(refused.last))
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"/._-:@%+=,".contains(&it);
    let text = printable(path);
    if text.bytes().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn share(Files { used, limit }: Files) -> String {
    used.map_or_else(|| format!("fewer than {limit}"), |used| format!("{used} of {limit}"))
}

fn place(setting: &Setting) -> String {
    let winner = setting.configured.winner.as_ref();
    winner.map_or_else(|| "a file".to_owned(), Assignment::place)
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |it| it.to_string())
}
