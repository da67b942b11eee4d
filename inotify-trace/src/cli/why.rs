//! `inotify-trace why`: what is wrong, who is behind it, and what to do.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use inotify_trace_model::{
    clock::Clock, event::BootTime, tracker::Tracker, usage::total_of, verdict::Grace,
};

use super::{
    EXIT_ERROR,
    agent::AgentArgs,
    agent_state,
    format::TextOrJson,
    leaks::observe,
    list,
    memory::Memory,
    past::{Past, PastArgs},
    select::{Users, uid},
    session::event_loop,
    units::{self, duration},
};
use crate::{
    feed::Options,
    host::{self, procfs},
    limits::{self, Pace, files::Root},
    output::{Patient, Refusals, Screen, Selection, UserNames},
    why::{Answer, Before, Seen, Subject, Suspects, answer},
};

/// Exit code if something has to be done.
const EXIT_PROBLEM: u8 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
pub(super) struct Args {
    /// What to tell about: the number of a process, the name of a pod, a namespace, a container, a
    /// command or a user, or an error message as it was printed [default: the machine]
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Time to observe instances that look leaked, since those of a container that is just ending
    /// look the same. With --recording: time for which they must have looked leaked
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    settle: Duration,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextOrJson,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    host: super::Host,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace why                   what is wrong on this machine
  sudo inotify-trace why 4711              whether it is about this process
  sudo inotify-trace why prod/web-0        or this pod
  sudo inotify-trace why \"failed to create fsnotify watcher: too many open files\"
  inotify-trace why --recording night.itrec --at 03:05    what was wrong then

Exit code: 0 if nothing is wrong, 1 if there is something to do, 2 if that can't be told,
also for want of privileges, or if the command failed.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    let what = args.what.join(" ");
    if args.past.is_given() {
        return look_back(args, &what);
    }
    let Look { tracker, now, grace, is_charged, before } = look(args)?;
    let users = host::users();
    let subject = subject(&what, &tracker, &users)?;
    let payer = match &subject {
        Subject::Selected(_, Selection { pids, .. }) if !pids.is_empty() => {
            if !procfs::is_there(pids[0]) {
                bail!("no process has the number {what} now; a recording may know it: --recording");
            }
            procfs::charged_user(pids[0])
        }
        _ => None,
    };
    let (sysctls, _) = Root::new(&args.host.root()).sysctls();
    let answer = answer(
        subject,
        &Seen {
            tracker: &tracker,
            now,
            grace,
            settings: &sysctls.settings(),
            descriptors: &procfs::short_of_descriptors(NEAR_DESCRIPTORS),
            files: host::OpenFiles::open().count(),
            refusals: None,
            pace: None,
            before,
            is_charged,
            payer,
        },
    );
    print(args, &answer, UserNames::from_map(users), host::clock(), None)?;
    Ok(exit_code(&answer))
}

/// What exists now.
struct Look {
    tracker: Tracker,
    now: BootTime,
    /// The time for which what looks leaked has done so.
    grace: Grace,
    /// Whether the kernel's charges are known.
    is_charged: bool,
    before: Before,
}

fn look(args: &Args) -> anyhow::Result<Look> {
    if let Some(known) = args.agent.state(args.host.is_default())? {
        let grace = Grace { target: args.settle, ..Grace::at_once() };
        let before = Before::Counted {
            since: known.header.started,
            refused: agent_state::refused(args.agent.path())?,
            recording: recorded_by(&known.header.command),
        };
        let (tracker, now) = (known.tracker, known.now);
        return Ok(Look { tracker, now, grace, is_charged: true, before });
    }
    let before = Before::Unknown;
    let registry = args.host.registry();
    let options = || Options { registry: registry.clone(), find_paths: true, ..Options::default() };
    Ok(match event_loop()?.block_on(observe(options, args.settle)) {
        Ok((story, grace)) => {
            let now = story.now();
            Look { tracker: story.into_tracker(), now, grace, is_charged: true, before }
        }
        // Says why the kernel can't be asked, and finds what can be found without it.
        Err(_) => {
            let look = list::look(false, false, &registry)?;
            let (now, grace, is_charged) = (host::now(), Grace::at_once(), look.is_told);
            Look { tracker: look.tracker, now, grace, is_charged, before }
        }
    })
}

/// Where an agent of this command line records.
fn recorded_by(command: &[String]) -> Option<String> {
    let joined = command.iter().find_map(|word| word.strip_prefix("--record=")).map(str::to_owned);
    let after = || command.iter().skip_while(|word| *word != "--record").nth(1).cloned();
    joined.or_else(after)
}

/// `PID_MAX_LIMIT` of 64-bit kernels.
const MOST_PIDS: u32 = 4_194_304;

/// From which share of its descriptors on a process is short of them: many keep a large part open.
const NEAR_DESCRIPTORS: u32 = 95;

/// The answer for each recorded machine.
fn look_back(args: &Args, what: &str) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut has_problem = false;
    let files: Vec<_> = args.past.recordings.iter().map(|it| it.display().to_string()).collect();
    let is_damaged = args.past.each(&args.memory, |past, (refusals, pace): (Refusals, Pace)| {
        let users = past.header.users.clone();
        let subject = subject(what, &past.tracker, &users)?;
        let answer = answer(
            subject,
            &Seen {
                tracker: &past.tracker,
                now: past.time,
                grace: Grace { target: args.settle, ..Grace::at_once() },
                settings: &limits::as_of(&past.tracker, past.header.sysctls.settings()),
                descriptors: &[],
                files: None,
                refusals: Some(&refusals),
                pace: Some(&pace),
                before: Before::Recorded(files.clone()),
                is_charged: true,
                payer: None,
            },
        );
        if !has_problem {
            code = exit_code(&answer);
        }
        has_problem |= answer.is_healthy() == Some(false);
        print(args, &answer, UserNames::from_map(users), past.header.clock(), Some(&past))?;
        Ok(())
    })?;
    Ok(if is_damaged { ExitCode::from(EXIT_ERROR) } else { code })
}

/// What is meant by the words on the command line.
fn subject(what: &str, tracker: &Tracker, users: &Users) -> anyhow::Result<Subject> {
    let what = what.trim();
    if what.is_empty() {
        return Ok(Subject::Machine);
    }
    // Larger numbers are those of users.
    if let Some(pid) = what.parse().ok().filter(|pid| *pid <= MOST_PIDS) {
        let selection = Selection { pids: vec![pid], ..Selection::default() };
        return Ok(Subject::Selected(format!("process {pid}"), selection));
    }
    let name = || vec![what.to_owned()];
    let selections = [
        ("pod", Selection { pods: name(), ..Selection::default() }),
        ("container", Selection { containers: name(), ..Selection::default() }),
        ("namespace", Selection { namespaces: name(), ..Selection::default() }),
        ("command", Selection { comms: name(), ..Selection::default() }),
    ];
    for (kind, selection) in selections {
        let picked =
            total_of(tracker, |instance, pid| selection.picks_holder(instance, pid, tracker));
        if !picked.instances.is_empty() {
            return Ok(Subject::Selected(format!("{kind} {what}"), selection));
        }
    }
    if let Some(suspects) = Suspects::of(what) {
        return Ok(Subject::Message(suspects));
    }
    if let Some(uid) = uid(what, users) {
        let selection = Selection { uids: vec![uid], ..Selection::default() };
        return Ok(Subject::Selected(format!("user {what}"), selection));
    }
    bail!(
        "{what:?} is neither the number of a process nor the name of a user, nor that of a pod, container \
         or command that has inotify instances, nor a message that is known: without it, `inotify-trace \
         why` tells about the machine"
    )
}

fn print(
    args: &Args,
    answer: &Answer,
    names: UserNames,
    mut clock: Clock,
    past: Option<&Past>,
) -> io::Result<()> {
    let mut out = BufWriter::new(Patient::stdout_to_the_end());
    match args.output {
        TextOrJson::Json => {
            let mut object = answer.json(&names, &mut clock);
            if let Some(past) = past {
                past.name_in(&mut object);
            }
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
        }
        TextOrJson::Text => {
            if let Some(past) = past {
                writeln!(out, "{}", past.heading())?;
            }
            answer.write(&mut out, &names, &mut clock, Screen::of_stdout())?;
        }
    }
    out.flush()
}

fn exit_code(answer: &Answer) -> ExitCode {
    match answer.is_healthy() {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(EXIT_PROBLEM),
        None => ExitCode::from(EXIT_ERROR),
    }
}
