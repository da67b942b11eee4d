//! Each example of README and of `--help` works as it stands.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use inotify_trace_tests::{require_root, system};

use crate::{agent, machine::machine_during, run, text};

const README: &str = include_str!("../../../README.md");

/// The commands that have examples.
const COMMANDS: [&str; 13] = [
    "", "trace", "list", "limits", "leaks", "record", "replay", "report", "export", "serve",
    "check", "top", "why",
];

/// What is not run: the limits of the machine stay as they are, and there is no agent to ask.
const NOT_RUN: [&str; 2] = ["--apply", "--agent"];

/// A pod of the examples that no machine of these tests has, and what is said of it.
const NO_POD: (&str, &str) = ("prod/web-0", "\"prod/web-0\" is neither");

/// The commands that read recordings, with or without `--recording`.
const OFFLINE: [&str; 4] = ["replay", "report", "export", "--recording"];

/// The arguments of an example, without what comes after it in its line: a pipe to another program, a
/// comment or an explanation.
fn arguments(line: &str) -> Option<String> {
    let line = line.trim_start().trim_start_matches("$ ");
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let rest =
        line.strip_prefix("inotify-trace").filter(|it| it.is_empty() || it.starts_with(' '))?;
    let end = [" | ", "  ", "#"].iter().filter_map(|it| rest.find(it)).min();
    Some(rest[..end.unwrap_or(rest.len())].trim().to_owned())
}

/// All examples.
fn examples() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in README.lines() {
        let in_table = || line.strip_prefix("| `").and_then(|it| it.split_once('`'));
        let example = line.strip_prefix("    $ ").or_else(|| in_table().map(|it| it.0));
        all.extend(example.and_then(arguments));
    }
    let in_readme = all.len();
    assert!(in_readme >= 18, "README has lost its examples: {all:?}");
    for command in COMMANDS {
        let words = [command, "--help"];
        let output = run(&words[usize::from(command.is_empty())..]);
        let help = text(&output.stdout);
        let examples = help.split_once("Examples:\n").expect("examples").1;
        let lines = examples.lines().take_while(|line| line.starts_with("  "));
        let found: Vec<_> = lines.filter_map(arguments).collect();
        assert!(found.len() >= 2, "{command} --help has examples: {examples}");
        all.extend(found);
    }
    all
}

/// The files that examples name.
fn files(directory: &Path) {
    for (path, run) in [
        ("night.itrec", 1),
        ("node1.itrec", 1),
        ("node2.itrec", 2),
        ("n1/a.itrec", 1),
        ("n2/a.itrec", 2),
        ("lib/a.itrec", 1),
    ] {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // From 02:50 to 04:00.
        machine_during(&path, run, 10_200..14_400);
    }
}

/// An example's own words, for files in a directory of its own.
fn words(example: &str) -> Vec<String> {
    let file = if example.starts_with("record") { "new.itrec" } else { "night.itrec" };
    let word = |word: &str| match word {
        "FILE" => file.to_owned(),
        // A process that is there.
        "4711" => std::process::id().to_string(),
        "/var/lib/inotify-trace/" => "lib/".to_owned(),
        word => word.to_owned(),
    };
    example.split_whitespace().map(|it| word(it.trim_matches('"'))).collect()
}

fn is_offline(example: &str) -> bool {
    example.split_whitespace().any(|word| OFFLINE.contains(&word))
}

fn command(example: &str, directory: &Path) -> Command {
    let words = words(example);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut command = agent(&words);
    command.current_dir(directory).env("TZ", "UTC").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Whether an exit code is an answer: `limits`, `leaks` and `why` have two.
fn is_answer(example: &str, code: Option<i32>) -> bool {
    let has_two = ["limits", "leaks", "why"].iter().any(|it| example.starts_with(it));
    code == Some(0) || (has_two && code == Some(1))
}

#[test]
fn those_on_recordings_work() {
    let template = tempfile::tempdir().unwrap();
    files(template.path());
    let all: Vec<_> = examples().into_iter().filter(|it| is_offline(it)).collect();
    assert!(all.len() >= 20, "{all:#?}");
    for example in all {
        // None finds what another has written.
        let directory = tempfile::tempdir().unwrap();
        let copied =
            Command::new("cp").arg("-r").arg(template.path()).arg(directory.path()).status();
        assert!(copied.unwrap().success());
        let name = template.path().file_name().unwrap();
        let output = command(&example, &directory.path().join(name)).output().unwrap();
        let errors = text(&output.stderr);
        assert!(is_answer(&example, output.status.code()), "{example}: {errors}");
    }
}

#[test]
fn those_on_the_machine_work() {
    require_root!();
    let _machine = system::the_machine();
    let all: Vec<_> = examples().into_iter().filter(|it| !is_offline(it)).collect();
    assert!(all.len() >= 15, "{all:#?}");
    for example in all {
        if example.split_whitespace().any(|word| NOT_RUN.contains(&word)) {
            println!("{example}: not run, since it changes the machine, or needs an agent");
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = command(&example, directory.path()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut line) = (String::new(), String::new());
        while errors.read_line(&mut line).unwrap() > 0 {
            said += &line;
            // What goes on until Ctrl-C gets it as soon as it traces.
            if line.contains("Ctrl-C to end") {
                // SAFETY: the child has not been waited for, so its process id is valid.
                unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
            }
            line.clear();
        }
        errors.read_to_string(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        if example.contains(NO_POD.0) {
            assert!(code == Some(2) && said.contains(NO_POD.1), "{example}: {code:?} {said}");
            continue;
        }
        assert!(is_answer(&example, code), "{example}: {code:?} {said}");
    }
}
