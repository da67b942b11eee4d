//! Completions, used by the shells themselves, and manual pages, read by `man`.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use inotify_trace_tests::{agent::binary, system};

use crate::{run, text};

/// The script for a shell, and the shell if it is there.
fn script(shell: &str, directory: &Path, test: &str) -> Option<String> {
    if system::which(shell).is_none() {
        system::skip(test, &format!("no {shell} is installed: `cargo xtask setup` does"));
        return None;
    }
    let path = directory.join("completions");
    let output = run(&["completions", shell]);
    assert!(output.status.success(), "{output:?}");
    fs::write(&path, output.stdout).expect("a file");
    Some(path.display().to_string())
}

/// A directory with files to choose from.
fn files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["night.itrec", "notes.txt"] {
        fs::write(directory.path().join(name), "").expect("a file");
    }
    fs::create_dir(directory.path().join("nodes")).expect("a directory");
    directory
}

fn succeeds(output: &Output) -> &str {
    let errors = text(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
    text(&output.stdout)
}

/// Command lines, and what completes the last word of each.
const EXPECTED: [(&[&str], &[&str]); 7] = [
    (&["inotify-trace", "li"], &["limits", "list"]),
    (&["inotify-trace", "trace", "-e", "create-"], &["create-failed"]),
    (&["inotify-trace", "-e", "create-"], &["create-failed"]),
    (&["inotify-trace", "list", "--by", ""], &["container", "instance", "process", "user"]),
    (&["inotify-trace", "list", "--columns", "watch-l"], &["watch-limit"]),
    (&["inotify-trace", "list", "--at", ""], &["+90s", "-10m", "-1h", "now"]),
    (&["inotify-trace", "completions", "z"], &["zsh"]),
];

/// What completes the last word in bash, sorted.
fn bash(script: &str, directory: &Path, words: &[&str]) -> Vec<String> {
    const PROGRAM: &str = r#"
compopt() { :; }  # works only while bash itself completes
source "$1" && shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
complete=$(complete -p inotify-trace) && complete=${complete##*-F } && complete=${complete%% *}
"$complete" inotify-trace "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", PROGRAM, "bash", script]).args(words).current_dir(directory);
    let output = command.output().expect("the shell must start");
    let mut found: Vec<_> = succeeds(&output).lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn bash_completes() {
    let directory = files();
    let Some(script) = script("bash", directory.path(), "manual::bash_completes") else { return };
    let complete = |words: &[&str]| bash(&script, directory.path(), words);
    for (words, expected) in EXPECTED {
        assert_eq!(complete(words), expected, "{words:?}");
    }
    assert_eq!(complete(&["inotify-trace", "-e", "watch,create-"]), ["watch,create-failed"]);
    let recordings = ["night.itrec", "nodes"];
    for words in [
        &["inotify-trace", "replay", "n"][..],
        &["inotify-trace", "--utc", "replay", "n"],
        &["inotify-trace", "report", "--utc", "n"],
        &["inotify-trace", "why", "--recording", "n"],
        &["inotify-trace", "replay", "night.itrec", "n"],
    ] {
        assert_eq!(complete(words), recordings, "{words:?}");
    }
    // Names of arguments are no words to choose.
    assert_eq!(complete(&["inotify-trace", "replay", "<"]), [""]);
}

#[test]
fn fish_completes() {
    let directory = files();
    let Some(script) = script("fish", directory.path(), "manual::fish_completes") else { return };
    let complete = |line: &str| {
        let program = format!("source {script}; complete -C '{line}'");
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", &program]).current_dir(directory.path());
        let output = command.output().expect("the shell must start");
        let words = succeeds(&output).lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for (words, expected) in EXPECTED {
        let mut found = complete(&words.join(" "));
        found.sort();
        assert_eq!(found, expected, "{words:?}");
    }
    for line in ["inotify-trace replay n", "inotify-trace why --recording n"] {
        assert_eq!(complete(line)[0], "night.itrec", "{line}");
    }
}

#[test]
fn zsh_reads_the_script() {
    let directory = files();
    let Some(script) = script("zsh", directory.path(), "manual::zsh_reads_the_script") else {
        return;
    };
    // Defines the function, as zsh does when it is first needed.
    let program = format!(
        "autoload -U compinit && compinit -D -u && source {script} && whence -w _inotify-trace \
         && print $_comps[inotify-trace]"
    );
    let output = Command::new("zsh").args(["-f", "-c", &program]).output().unwrap();
    assert_eq!(succeeds(&output), "_inotify-trace: function\n_inotify-trace\n");
    let made = fs::read_to_string(&script).unwrap();
    for words in [
        "'*--recording=[",
        ":FILE:_files -g \"*.itrec\"'",
        "watch-failed",
        "watch-limit",
        "container",
    ] {
        assert!(made.contains(words), "{words}");
    }
}

#[test]
fn man_reads_every_page() {
    if system::which("man").is_none() {
        system::skip(
            "manual::man_reads_every_page",
            "no man is installed: `cargo xtask setup` does",
        );
        return;
    }
    let share = tempfile::tempdir().unwrap();
    let files = xtask::agent::manual(&|| Command::new(binary()), share.path()).expect("the files");
    let pages: Vec<_> = files.iter().filter(|it| it.starts_with("man")).collect();
    assert!(pages.len() > 10 && files.len() == pages.len() + 3, "{files:?}");
    for page in pages {
        let mut command = Command::new("man");
        command.args(["--warnings", "-E", "UTF-8", "-l"]).arg(share.path().join(page));
        let output = command.env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8").output().unwrap();
        let shown = succeeds(&output);
        for words in ["NAME", "SYNOPSIS", "OPTIONS", "SEE ALSO", "inotify-trace 0"] {
            assert!(shown.contains(words), "{}: {words}", page.display());
        }
        if page.ends_with("inotify-trace-list.1") {
            // Options that only the long help explains; lines that are not to be filled.
            assert!(shown.contains("even if the kernel has BPF iterators"), "{shown}");
            assert!(shown.contains("\n       sudo inotify-trace list --by container "), "{shown}");
        }
    }
}
