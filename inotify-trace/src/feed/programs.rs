//! Reads the programs of processes that hold many instances, by which known bugs are recognized.

use std::time::Duration;

use inotify_trace_model::{
    event::{Event, EventKind, Task},
    identity::Program,
    numbered::ByNumber,
    tracker::{Process, Tracker},
    verdict::known_arguments,
};

use super::now;
use crate::host::{
    helper::{AT_ONCE, Helper, Request},
    procfs,
};

/// Adds an event for each process that creates an instance in `events`, or is found with one, holds
/// many then, and whose program is not known yet. `tracker` is the state before these events. The helper
/// reads the arguments, which a process may keep in a file that never answers.
pub(super) fn identify(events: &mut Vec<Event>, tracker: &Tracker, helper: &mut Helper) {
    let mut new: ByNumber<u32, (Task, usize)> = ByNumber::default();
    for Event { task, kind, .. } in &*events {
        let is_new =
            matches!(kind, EventKind::InstanceCreated { .. } | EventKind::InstanceFound { .. });
        if let Some(task) = task.filter(|_| is_new) {
            let (latest, count) = new.entry(task.pid).or_insert((task, 0));
            (*latest, *count) = (task, *count + 1);
        }
    }
    let mut many: Vec<_> = new
        .into_values()
        .filter(|(task, count)| {
            let known = tracker.process(task.pid);
            let held = known.map_or(0, |process| process.descriptors.len());
            held + count >= Process::IS_READ_AT && known.is_none_or(|it| it.program.is_none())
        })
        .map(|(task, _)| task)
        .collect();
    many.sort_unstable_by_key(|task| task.pid);
    let mut left = &many[..];
    while !left.is_empty() {
        let asked = &left[..left.len().min(AT_ONCE)];
        let requests: Vec<_> = asked.iter().map(|task| Request::Arguments(task.pid)).collect();
        let answers = helper.ask_all::<Option<Vec<_>>>(&requests, Duration::ZERO);
        // They end with the first that is missing: those after it are asked for again.
        left = &left[answers.len()..];
        for (&task, arguments) in asked.iter().zip(answers) {
            let Some(exe) = procfs::program_file(task.pid) else { continue };
            let arguments = arguments.ok().flatten().unwrap_or_default();
            let Program { exe, arguments } = program(&exe, &arguments);
            events.push(Event {
                task: Some(task),
                ..now(EventKind::ProgramIdentified { exe, arguments })
            });
        }
    }
}

/// What is kept of a program: the name of its file, and those arguments that patterns look for.
fn program(exe: &str, arguments: &[String]) -> Program {
    let is_given = |word: &str| {
        let names = |argument: &String| argument.rsplit('/').next() == Some(word);
        arguments.iter().any(names)
    };
    let mut known: Vec<Box<str>> =
        known_arguments().filter(|it| is_given(it)).map(Into::into).collect();
    known.sort_unstable();
    known.dedup();
    let longest = exe.len().min(Program::LONGEST);
    let end = (0..=longest).rfind(|&at| exe.is_char_boundary(at)).unwrap_or_default();
    Program { exe: Some(exe[..end].into()), arguments: known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arguments_that_are_looked_for_are_kept() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
            program("java", &arguments).arguments
        };
        assert_eq!(of(&["java", "-Dpassword=x", "-jar", "/opt/cas.war"]), ["cas.war".into()]);
        assert_eq!(of(&["java", "-jar", "mycas.war", "--homeassistant"]), []);
    }

    #[test]
    fn a_name_is_cut_at_a_character() {
        let long = "é".repeat(200);
        assert_eq!(program(&long, &[]).exe.unwrap().len(), 254);
    }
}
