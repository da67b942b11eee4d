//! Settings of `serve`, from the command line, variables and a file.

use std::{fs, path::Path, process::Output};

use crate::{agent, refuses, text};

/// All settings, as the packages install them.
const SAMPLE: &str = include_str!("../../../deploy/inotify-trace.toml");

/// What the packages' document quotes.
const INSTALL: &str = include_str!("../../../docs/install.md");

/// `serve --print-config` with a file and variables.
fn print(file: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = agent(&["serve", "--print-config", "--config"]);
    command.arg(file).args(arguments).envs(variables.iter().copied());
    command.output().expect("the agent must start")
}

/// The same with a file of this text.
fn print_of(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> (Output, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.toml");
    fs::write(&file, toml).expect("a file");
    (print(&file, variables, arguments), file.display().to_string())
}

fn lines((output, _): &(Output, String)) -> Vec<&str> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().collect()
}

#[test]
fn the_option_counts_before_the_variable_and_that_before_the_file() {
    let toml = "# Ours.\nlisten = '0.0.0.0:1'\nmemory = \"1M\"\nbuffer = '64K'\nno-socket = true\n";
    let variables = [
        ("INOTIFY_TRACE_LISTEN", "0.0.0.0:2"),
        ("INOTIFY_TRACE_MEMORY", "2M"),
        ("INOTIFY_TRACE_NO_SOCKET", "false"),
        // Of tests, and of Kubernetes.
        ("INOTIFY_TRACE_SERVICE_PORT", "80"),
        ("INOTIFY_TRACE_BACKEND", ""),
    ];
    let (output, file) = print_of(toml, &variables, &["--listen", "0.0.0.0:3", "--walk-proc"]);
    let output = (output, file);
    let file = &output.1;
    for line in [
        "listen = \"0.0.0.0:3\"  # --listen",
        "memory = \"2M\"  # INOTIFY_TRACE_MEMORY",
        "no-socket = false  # INOTIFY_TRACE_NO_SOCKET",
        &format!("buffer = \"64K\"  # {file}:4"),
        "socket = \"/run/inotify-trace.sock\"  # the default",
        "walk-proc = true  # --walk-proc",
        "program-stats = false  # the default",
        "# record is not set",
        "# backend is not set",
    ] {
        assert!(lines(&output).contains(&line), "no {line:?} in {:?}", lines(&output));
    }
    // It is a file that says the same.
    let again = print_of(text(&output.0.stdout), &[], &[]);
    let values = |output| {
        lines(output).into_iter().map(|it| it.split("  #").next().unwrap_or(it).to_owned())
    };
    assert!(values(&again).eq(values(&output)), "{:?}", lines(&again));
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (toml, variables, words) in [
        ("\nlisen = 'x'", &[][..], &[":2: there is no setting \"lisen\"", "listen, socket,"][..]),
        ("buffer = '3M'", &[], &[":1: buffer: ", "3M", "power of two"]),
        ("backend = 'ebpf'", &[], &[":1: backend: ", "fentry, kprobe, tracepoint"]),
        ("no-socket = 'yes'", &[], &[":1: no-socket: must be true or false"]),
        ("\n[record]\ndirectory = 'x'", &[], &[":2: record: a text in quotes", "not table"]),
        ("socket = '/a'\nsocket = '/b'", &[], &[":2: duplicate key"]),
        ("memory = ", &[], &[":1: "]),
        ("print-config = true", &[], &[":1: there is no setting"]),
        (
            "",
            &[("INOTIFY_TRACE_BUFFER", "3M")],
            &["INOTIFY_TRACE_BUFFER: buffer: ", "power of two"],
        ),
        ("", &[("INOTIFY_TRACE_LISTEN", "nowhere")], &["INOTIFY_TRACE_LISTEN: listen: "]),
    ] {
        let (output, file) = print_of(toml, variables, &[]);
        refuses(&output, words);
        if variables.is_empty() {
            refuses(&output, &[&file]);
        }
    }
    let missing = print(Path::new("/nonexistent/a.toml"), &[], &[]);
    refuses(&missing, &["cannot read /nonexistent/a.toml: No such file"]);
    // The same by its variable.
    let mut command = agent(&["serve", "--print-config"]);
    let output = command.env("INOTIFY_TRACE_CONFIG", "/nonexistent/b.toml").output().unwrap();
    refuses(&output, &["cannot read /nonexistent/b.toml"]);
}

#[test]
fn settings_that_need_others_are_refused() {
    let (size, _) = print_of("", &[], &[]);
    assert!(size.status.success());
    for (toml, words) in [
        ("record-max-total = '1G'", "--record-max-total goes with --record"),
        ("no-socket = true\nsocket-group = 'adm'", "--socket-group adm needs the socket"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.toml");
        fs::write(&file, toml).unwrap();
        let output = agent(&["serve", "--config"]).arg(&file).output().unwrap();
        refuses(&output, &[words]);
    }
}

#[test]
fn the_file_of_the_packages_has_every_setting() {
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let settings: Vec<_> = SAMPLE.lines().filter(is_setting).map(|line| &line[1..]).collect();
    let all = print_of(&settings.join("\n"), &[], &[]);
    for line in lines(&all) {
        assert!(line.contains("a.toml:"), "the file says nothing of this: {line}");
    }
    // As it comes, it changes nothing.
    let (as_it_comes, without) = (print_of(SAMPLE, &[], &[]), print_of("", &[], &[]));
    assert_eq!(lines(&as_it_comes), lines(&without));
}

#[test]
fn the_document_quotes_lines_that_are_in_the_file() {
    let quoted = INSTALL.lines().map(str::trim);
    let quoted = quoted.filter_map(|line| line.split_once("  # /etc/inotify-trace.toml:"));
    let quoted: Vec<_> = quoted.collect();
    assert!(!quoted.is_empty(), "it quotes none any more");
    for (setting, number) in quoted {
        let number: usize = number.parse().expect("a number");
        assert_eq!(SAMPLE.lines().nth(number - 1), Some(&*format!("#{setting}")));
    }
}
