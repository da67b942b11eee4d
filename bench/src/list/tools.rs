//! The looks themselves, timed from the start of a program to its end. This part is root's, and
//! runs in a virtual machine, too; its lines are read by `measured`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::step;
use xtask::workspace::which;

use super::held::Held;
use crate::load::Hold;
use crate::machine;
use crate::scratch::Scratch;

/// This program's task that is the plain scanner.
const SCAN: &str = "scan";

/// A program that looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// The agent with these arguments.
    List(&'static [&'static str]),
    Scanner,
    Find,
    Lsfd,
    Lsof,
}

pub const JSON: &str = "inotify-trace list --by process -o json";
pub const WALK: &str = "the same with --walk-proc";
pub const SCANNER: &str = "plain compiled scanner (in bench)";
pub const FIND: &str = "find /proc/*/fd -lname anon_inode:inotify";
pub const LSOF: &str = "lsof -nP";

/// The tools, by name.
pub const TOOLS: [(&str, Tool); 7] = [
    (JSON, Tool::List(&["--by", "process", "-o", "json"])),
    (WALK, Tool::List(&["--by", "process", "-o", "json", "--walk-proc"])),
    ("inotify-trace list", Tool::List(&[])),
    (SCANNER, Tool::Scanner),
    (FIND, Tool::Find),
    ("lsfd", Tool::Lsfd),
    (LSOF, Tool::Lsof),
];

/// The tools whose growth is shown: the others are far slower.
pub const GROWING: [&str; 3] = [JSON, FIND, SCANNER];

/// The load of the comparison.
pub const PROCESSES: usize = 200;

/// The descriptors and watches of each of these processes.
pub fn each() -> Hold {
    Hold { threads: 6, instances: 4, watches: 30, others: 5, directory: PathBuf::new(), uid: 0 }
}

/// A process with many descriptors: a hundred with the standard ones.
pub fn each_growing() -> Hold {
    Hold { threads: 1, instances: 2, watches: 10, others: 95, directory: PathBuf::new(), uid: 0 }
}

/// The first words of lines: a look, the reason why looks are missing, a look with a number of
/// descriptors, and whether other programs kept processors busy in a round.
pub const LOOK: &str = "look";
pub const MISSING: &str = "missing";
pub const SCALE: &str = "scale";
pub const DISTURBED: &str = "disturbed";

/// What to measure.
#[derive(clap::Args)]
pub struct Rounds {
    #[arg(long)]
    agent: PathBuf,
    #[arg(long)]
    rounds: usize,
    /// Rounds with what takes seconds.
    #[arg(long)]
    slow_rounds: usize,
    /// With so many processes one after the other; may be repeated.
    #[arg(long)]
    scale: Vec<usize>,
    #[arg(long, default_value_t = 0)]
    scale_rounds: usize,
}

/// Prints a line for each look.
pub fn measure(rounds: &Rounds) -> Result<()> {
    let scratch = Scratch::new()?;
    let looker = Looker { agent: &rounds.agent, output: scratch.path().join("looked") };
    step::say(&format!("starting {PROCESSES} processes with inotify instances"));
    let mut held = Held::new(each(), scratch.path().join("watched"))?;
    held.grow(PROCESSES)?;
    for (name, tool) in TOOLS {
        if let Some(why) = tool.missing(rounds) {
            step::say(&format!("NOT MEASURED: {name}, because {why}"));
            println!("{MISSING}\t{name}\t{why}");
        } else {
            // Programs must come from memory, not from the disk, for all alike.
            looker.look(tool)?;
        }
    }
    for round in 0..rounds.rounds {
        step::say(&format!("looking, round {} of {}", round + 1, rounds.rounds));
        tell_disturbance();
        for place in 0..TOOLS.len() {
            let (name, tool) = TOOLS[(round + place) % TOOLS.len()];
            let skipped = tool == Tool::Lsof && round >= rounds.slow_rounds;
            if skipped || tool.missing(rounds).is_some() {
                continue;
            }
            let (ms, told) = looker.look(tool)?;
            println!("{LOOK}\t{name}\t{ms}\t{}\t{}", told.instances, told.watches);
        }
    }
    drop(held);

    let mut held = Held::new(each_growing(), scratch.path().join("watched"))?;
    for &processes in &rounds.scale {
        step::say(&format!("looking at {processes} processes more than there were"));
        held.grow(processes)?;
        let (_, told) = looker.look(Tool::Scanner)?;
        for round in 0..rounds.scale_rounds {
            tell_disturbance();
            for place in 0..GROWING.len() {
                let name = GROWING[(round + place) % GROWING.len()];
                let tool = TOOLS.iter().find(|(other, _)| *other == name).map(|(_, tool)| *tool);
                let (ms, _) = looker.look(tool.context("no such tool")?)?;
                println!("{SCALE}\t{name}\t{processes}\t{}\t{ms}", told.descriptors);
            }
        }
    }
    Ok(())
}

/// The loads only wait, so other programs cause any CPU use.
fn tell_disturbance() {
    let by = if machine::other_programs().is_some() { "yes" } else { "no" };
    println!("{DISTURBED}\t{by}");
}

impl Tool {
    /// The reason why the tool cannot be measured, if there is one.
    fn missing(self, rounds: &Rounds) -> Option<String> {
        let program = match self {
            Self::List(_) | Self::Scanner => return None,
            Self::Find => "find",
            Self::Lsfd => "lsfd",
            Self::Lsof => "lsof",
        };
        if self == Self::Lsof && rounds.slow_rounds == 0 {
            return Some("it would take minutes on an emulated processor".to_owned());
        }
        which(program).is_none().then(|| format!("there is no {program} on this machine"))
    }
}

/// The counts that a look found; empty if the tool does not count them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub instances: String,
    pub watches: String,
    pub descriptors: String,
}

struct Looker<'a> {
    agent: &'a Path,
    output: PathBuf,
}

impl Looker<'_> {
    /// Runs a tool; returns its milliseconds and its counts.
    fn look(&self, tool: Tool) -> Result<(f64, Told)> {
        let mut command = match tool {
            Tool::List(arguments) => {
                let mut command = Command::new(self.agent);
                command.arg("list").args(arguments);
                command
            }
            Tool::Scanner => {
                let mut command = Command::new(env::current_exe()?);
                command.arg(SCAN);
                command
            }
            // The command as users type it: the shell finds the processes. Busybox's shell would
            // take its own program by this name.
            Tool::Find => {
                let program = which("find").context("there is no find")?;
                let arguments = FIND.trim_start_matches("find");
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exec {}{arguments}", program.display())]);
                command
            }
            Tool::Lsfd => Command::new("lsfd"),
            Tool::Lsof => {
                let mut command = Command::new("lsof");
                command.arg("-nP");
                command
            }
        };
        let output = File::create(&self.output).context("cannot make a file for output")?;
        command.stdin(Stdio::null()).stdout(output);
        let is_ours = matches!(tool, Tool::List(_) | Tool::Scanner);
        if !is_ours {
            // The tools report errors for processes that end meanwhile.
            command.stderr(Stdio::null());
        }
        let started = Instant::now();
        let status =
            command.status().with_context(|| format!("cannot start {}", step::shown(&command)))?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        ensure!(!is_ours || status.success(), "{} failed: {status}", step::shown(&command));
        let text = fs::read(&self.output).context("cannot read what it wrote")?;
        Ok((ms, told(tool, &String::from_utf8_lossy(&text))))
    }
}

fn told(tool: Tool, text: &str) -> Told {
    // Users who come near a limit follow after the totals.
    let total = text.lines().rfind(|line| line.contains(" instances with "));
    let last = total.or(text.lines().last()).unwrap_or_default();
    let words: Vec<_> = last.split_whitespace().map(str::to_owned).collect();
    let word = |index: usize| words.get(index).cloned().unwrap_or_default();
    match tool {
        Tool::List(arguments) if arguments.contains(&"json") => {
            let total = text.split_once("\"total\":").map_or("", |(_, total)| total);
            let number = |name: &str| {
                let rest = total.split_once(&format!("\"{name}\":")).map_or("", |(_, rest)| rest);
                rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().to_owned()
            };
            Told { instances: number("instances"), watches: number("watches"), ..Told::default() }
        }
        // "800 instances with 6000 watches ..."
        Tool::List(_) => Told { instances: word(0), watches: word(3), ..Told::default() },
        Tool::Scanner => Told { instances: word(1), watches: word(2), descriptors: word(3) },
        Tool::Find => Told { instances: text.lines().count().to_string(), ..Told::default() },
        Tool::Lsfd | Tool::Lsof => {
            let lines = text.lines().filter(|line| line.ends_with("inotify")).count();
            Told { instances: lines.to_string(), ..Told::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Told, Tool, told};

    #[test]
    fn every_tool_is_understood() {
        let ours = |instances: &str, watches: &str| Told {
            instances: instances.to_owned(),
            watches: watches.to_owned(),
            descriptors: String::new(),
        };
        let json = r#"{"rows":[{"instances":7}],"total":{"fds":9,"instances":8,"watches":60}}"#;
        assert_eq!(told(Tool::List(&["-o", "json"]), json), ours("8", "60"));
        let table =
            "PID\n1\n\n8 instances with 60 watches and 9 descriptors in 2 processes\nroot: 8\n";
        assert_eq!(told(Tool::List(&[]), table), ours("8", "60"));
        assert_eq!(told(Tool::Find, "/proc/1/fd/3\n/proc/1/fd/4\n"), ours("2", ""));
        assert_eq!(told(Tool::Lsof, "NAME\nx inotify\nx pipe\n"), ours("1", ""));
        let scanned = Told { descriptors: "90".to_owned(), ..ours("8", "60") };
        assert_eq!(told(Tool::Scanner, "5 8 60 x\ntotal 8 60 90\n"), scanned);
    }
}
