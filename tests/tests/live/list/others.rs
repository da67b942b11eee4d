//! Compares the counts of other tools with the truth. Writes the table of docs/correctness.md anew if
//! `INOTIFY_TRACE_WRITE_DOCS` is set.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use inotify_trace_tests::{Listing, listing::ROADS, live_test, system};

use super::Forty;

const WRITE: &str = "INOTIFY_TRACE_WRITE_DOCS";

/// A tool and its result.
struct Answer {
    /// The command, without paths and process ids.
    asked: String,
    /// None if the tool was not run.
    said: Option<Said>,
}

struct Said {
    instances: u64,
    users: BTreeSet<u32>,
    /// None if the tool does not count watches.
    watches: Option<u64>,
}

/// The output lines of a program; None if it is not installed. Ignores errors: some files in /proc
/// can never be read.
fn lines(program: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let program = system::which(program)?;
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Counts the lines about inotify, and collects their users. `user` is the index of the user's
/// word, `pids` that of the process id's word with the ids to count, if the output has all
/// processes.
fn count(lines: &[String], user: usize, pids: Option<(usize, &[u32])>) -> Said {
    let mut said = Said { instances: 0, users: BTreeSet::new(), watches: None };
    for line in lines.iter().filter(|line| line.contains("inotify")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u32>().ok();
        if pids.is_some_and(|(at, pids)| number(at).is_none_or(|pid| !pids.contains(&pid))) {
            continue;
        }
        said.instances += 1;
        said.users.extend(number(user));
    }
    said
}

/// The names in lsof's fields (`-F un`), each after its user.
fn with_user(fields: &[String]) -> Vec<String> {
    let mut user = "";
    let mut lines = Vec::new();
    for field in fields {
        match field.split_at_checked(1) {
            Some(("u", id)) => user = id,
            Some(("n", name)) => lines.push(format!("{user} {name}")),
            _ => {}
        }
    }
    lines
}

fn ask_others(pids: &[u32]) -> Vec<Answer> {
    let answer = |asked: &str, said| Answer { asked: asked.to_owned(), said };
    let list: Vec<_> = pids.iter().map(ToString::to_string).collect();
    // Columns would cut off long user ids.
    let lsof = lines("lsof", &["-nPwl", "-F", "un", "-p", &list.join(",")]);
    let lsof = lsof.map(|it| count(&with_user(&it), 0, None));
    let lsfd = lines("lsfd", &["-n", "-r", "-o", "PID,UID,NAME"]);
    let lsfd = lsfd.map(|it| count(&it, 1, Some((0, pids))));
    // `/` becomes a space, so that the process id is a word.
    let format = "%U %h %l\\n";
    let places = ["/proc", "-mindepth", "3", "-maxdepth", "3", "-path", "/proc/[0-9]*/fd/*"];
    let which = ["-lname", "anon_inode:inotify", "-printf", format];
    let find = lines("find", &[&places[..], &which].concat()).filter(|it| !it.is_empty());
    let find = find.map(|it| {
        let it: Vec<_> = it.iter().map(|line| line.replace('/', " ")).collect();
        count(&it, 0, Some((2, pids)))
    });
    let directories: Vec<_> = pids.iter().map(|pid| format!("/proc/{pid}/fd")).collect();
    let mut arguments = vec!["-ln"];
    arguments.extend(directories.iter().map(String::as_str));
    let ls = lines("ls", &arguments).map(|it| count(&it, 2, None));
    let counted: Vec<_> = pids.iter().map(|pid| format!("/proc/{pid}/fdinfo")).collect();
    let mut arguments = vec!["-rh", "^inotify"];
    arguments.extend(counted.iter().map(String::as_str));
    let watches = lines("grep", &arguments).map(|it| it.len() as u64);
    let ls = ls.map(|said| Said { watches, ..said });
    vec![
        answer("`lsof`", lsof),
        answer("`lsfd`", lsfd),
        answer("`find /proc/*/fd -lname anon_inode:inotify`", find),
        answer("`ls -l /proc/*/fd`, `grep inotify /proc/*/fdinfo/*`", ls),
    ]
}

fn ask_us(uid: u32, road: &[&str]) -> Answer {
    let listing = Listing::by("user", road);
    let row = listing.rows().iter().find(|row| row["user"]["uid"] == uid).unwrap();
    let number = |field: &str| row[field].as_u64().unwrap();
    let user = u32::try_from(row["user"]["uid"].as_u64().unwrap()).unwrap();
    let said = Said {
        instances: number("used"),
        users: [user].into(),
        watches: Some(number("watches_used")),
    };
    let (processes, fds) = (number("processes"), number("fds"));
    let options = if road.is_empty() { String::new() } else { format!(" {}", road.join(" ")) };
    let asked = format!(
        "`inotify-trace list --by user{options}`: held by {processes} processes with {fds} descriptors"
    );
    Answer { asked, said: Some(said) }
}

/// Derives the kernel's count from the number of further instances that the user can create.
fn ask_the_kernel(forty: &Forty) -> Answer {
    let payer = forty.world.payer_at(forty.payer);
    let mut other = forty.world.subject_of_root();
    other.process.call(&format!("uid {}", payer.uid)).unwrap();
    let fit = (0..payer.max_instances).take_while(|_| other.process.call("init1 0").is_ok());
    let fit = u32::try_from(fit.count()).unwrap();
    let asked = format!(
        "`inotify_init` as A until it fails: after {fit} more, with a limit of {}",
        payer.max_instances
    );
    let instances = (payer.max_instances - fit).into();
    Answer { asked, said: Some(Said { instances, users: [payer.uid].into(), watches: None }) }
}

fn table(answers: &[Answer], forty: &Forty) -> String {
    let (payer, holder) = (forty.world.payer_at(forty.payer).uid, forty.parent.actor.uid);
    let name = |&uid: &u32| match uid {
        0 => "root".to_owned(),
        uid if uid == payer => "A".to_owned(),
        uid if uid == holder => "B".to_owned(),
        uid => uid.to_string(),
    };
    let mut table = "| tool | instances | user | watches | right? |\n|---|---:|---|---:|---|\n\
                     | *truth* | *40* | *A* | *40* | |\n"
        .to_owned();
    for Answer { asked, said } in answers {
        let Some(said) = said else {
            let _ = writeln!(table, "| {asked} | | | | not run: not installed |");
            continue;
        };
        let users: Vec<_> = said.users.iter().map(name).collect();
        let watches = said.watches.map(|it| it.to_string()).unwrap_or_default();
        let right = if is_right(said, payer) { "yes" } else { "**no**" };
        let _ = writeln!(
            table,
            "| {asked} | {} | {} | {watches} | {right} |",
            said.instances,
            users.join(", ")
        );
    }
    table
}

fn is_right(said: &Said, payer: u32) -> bool {
    said.instances == 40
        && said.users.iter().eq([&payer])
        && said.watches.is_none_or(|watches| watches == 40)
}

/// Programs that count instances but are not in Debian 12.
const NOT_EVALUATED: [&str; 2] = ["inotify-info", "inotify-consumers"];

#[live_test]
fn what_is_right_here_others_get_wrong() {
    let _machine = system::the_machine();
    let forty = Forty::new();
    let payer = forty.world.payer_at(forty.payer);
    let ours = ROADS.map(|road| ask_us(payer.uid, road));
    for answer in &ours {
        assert!(answer.said.as_ref().is_some_and(|it| is_right(it, payer.uid)), "{}", answer.asked);
    }
    let mut answers: Vec<_> = ours.into();
    answers.extend(ask_others(&forty.pids()));
    for name in NOT_EVALUATED {
        if system::which(name).is_none() {
            answers.push(Answer { asked: format!("`{name}`"), said: None });
        } else {
            system::skip(name, "installed, but this test does not know its output");
        }
    }
    let kernel = ask_the_kernel(&forty);
    assert!(kernel.said.as_ref().is_some_and(|it| is_right(it, payer.uid)), "{}", kernel.asked);
    answers.insert(0, kernel);
    let table = table(&answers, &forty);
    println!("{table}");
    if std::env::var_os(WRITE).is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/correctness.md");
        let document = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, page(&document, &format!("{table}\n{}", versions()))).unwrap();
    }
}

/// What is before the table in the document, and after the versions below it.
const BEFORE: &str = "as they exist. Five processes hold them, with 201 descriptors.\n\n";
const AFTER: &str = "\n\nTools that read `/proc` count descriptors,";

/// The document with another table and other versions: all else in it is written by hand.
fn page(document: &str, measured: &str) -> String {
    let begin = document.find(BEFORE).expect("what is before the table") + BEFORE.len();
    let end = document.find(AFTER).expect("what is after the table");
    format!("{}{measured}{}", &document[..begin], &document[end..])
}

#[test]
fn the_document_keeps_what_was_written_by_hand() {
    let document = include_str!("../../../../docs/correctness.md");
    let other = page(document, "| tool |\n\nLinux 1.2.3.");
    assert!(
        other.contains("descriptors.\n\n| tool |\n\nLinux 1.2.3.\n\nTools that read"),
        "{other}"
    );
    assert!(other.ends_with(document.split_once("## Other situations").unwrap().1));
    assert!(other.starts_with(document.split_once("| tool |").unwrap().0));
}

/// This machine's kernel, and the tools' versions.
fn versions() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.split('-').next().unwrap_or_default().trim();
    let versions = [
        ("lsof", "-v", "revision:"),
        ("lsfd", "--version", "lsfd from "),
        ("find", "--version", "find "),
    ];
    let versions: Vec<_> =
        versions.map(|it| version(it.0, it.1, it.2)).into_iter().flatten().collect();
    format!("Linux {release}; {}.", versions.join(", "))
}

/// The text after `before` in a program's version output, on either stream.
fn version(program: &str, argument: &str, before: &str) -> Option<String> {
    let output = Command::new(system::which(program)?).arg(argument).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let version = text.lines().find_map(|line| line.trim().strip_prefix(before))?;
    Some(format!("{program} {}", version.trim()))
}
