//! `inotify-trace completions`: scripts that complete the command line in shells.
//!
//! clap's generator makes them of the definition of the options. What it cannot is added: recordings by
//! the end of their names, and, in bash, lists with commas.

use std::{io::Write as _, process::ExitCode};

use clap::{
    Command, CommandFactory as _, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use clap_complete::{Shell, generate};

use super::Cli;
use crate::{output::Patient, recording::EXTENSION};

/// The name by which shells know the program.
pub(super) const PROGRAM: &str = "inotify-trace";

/// The commands whose arguments are recordings.
const OF_RECORDINGS: [&str; 3] = ["replay", "report", "export"];

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Supported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Supported {
    Bash,
    Zsh,
    Fish,
}

const EXAMPLES: &str = "\
Examples:
  source <(inotify-trace completions bash)       in this shell only
  inotify-trace completions bash | sudo tee /usr/share/bash-completion/completions/inotify-trace
  inotify-trace completions zsh > ~/.zfunc/_inotify-trace     in a directory of $fpath
  inotify-trace completions fish > ~/.config/fish/completions/inotify-trace.fish

Packages and `cargo xtask install` put them into their places.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = Patient::stdout_to_the_end();
    out.write_all(script(args.shell).as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The script for a shell.
pub(super) fn script(shell: Supported) -> String {
    let generator = match shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut bytes = Vec::new();
    // The generator for bash gives functions of commands two names if the program's has a hyphen.
    let name = if shell == Supported::Bash { "inotify_trace" } else { PROGRAM };
    generate(generator, &mut with_times(Cli::command()), name, &mut bytes);
    let made = String::from_utf8_lossy(&bytes).into_owned();
    match shell {
        Supported::Bash => bash(&made),
        Supported::Zsh => zsh(&made),
        Supported::Fish => fish(&made),
    }
}

/// With forms of moments to choose from, which the parser of moments does not list: there are more.
fn with_times(command: Command) -> Command {
    let forms = [
        ("now", "The current time of this machine"),
        ("-10m", "Ten minutes before the end of the recording"),
        ("-1h", "An hour before the end of the recording"),
        ("+90s", "90 seconds after the beginning of the recording"),
    ];
    let forms = forms.map(|(form, help)| PossibleValue::new(form).help(help));
    command.mut_subcommands(|command| {
        command.mut_args(|it| {
            let is_moment = it.get_value_names().is_some_and(|names| names == ["TIME"]);
            if is_moment { it.value_parser(PossibleValuesParser::new(forms.clone())) } else { it }
        })
    })
}

/// The function, which another one uses.
fn bash(made: &str) -> String {
    let function = made.split_once("\n}\n").map_or(made, |(function, _)| function);
    format!("{function}\n}}\n{}", include_str!("completions/bash.sh"))
}

/// Files of recordings where a recording is expected.
fn zsh(made: &str) -> String {
    let is_recording = |line: &str| {
        ["'*--recording=[", "'*::files ", "'*:files "].iter().any(|it| line.starts_with(it))
    };
    let line = |line: &str| {
        if is_recording(line) {
            line.replace(":_files'", &format!(":_files -g \"*.{EXTENSION}\"'")) + "\n"
        } else {
            format!("{line}\n")
        }
    };
    made.lines().map(line).collect()
}

/// The same. What clap's generator leaves to the shell is added.
fn fish(made: &str) -> String {
    let recordings = format!("-a \"(__fish_complete_suffix .{EXTENSION})\"");
    let line = |line: &str| {
        let is_recording = line.contains(" -l recording ");
        let line = if is_recording {
            line.replace(" -r -F", &format!(" -x {recordings}"))
        } else {
            line.to_owned()
        };
        line + "\n"
    };
    let mut script: String = made.lines().map(line).collect();
    // An option of the program itself that lacks its value yet is no reason to complete nothing.
    script = script.replacen("    or return\n", "    or return 0\n", 1);
    for command in OF_RECORDINGS {
        let condition = format!("__fish_seen_subcommand_from {command}");
        script += &format!("complete -c {PROGRAM} -n \"{condition}\" -k -x {recordings}\n");
    }
    let condition = "__fish_seen_subcommand_from completions completion";
    script += &format!("complete -c {PROGRAM} -n \"{condition}\" -x -a \"bash zsh fish\"\n");
    script
}
