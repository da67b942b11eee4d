//! The command line: output, errors and exit codes.

mod answers;
mod damage;
mod examples;
mod hostile;
mod limits;
mod machine;
mod manual;
mod memory;
mod parts;
mod recordings;
mod settings;
mod several;
mod surroundings;
mod terminal;

use std::{
    ffi::CStr,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
};

use inotify_trace_tests::{Process, agent::binary, require_root, system};

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    agent(arguments).output().expect("the agent must start")
}

/// Makes a pipe that nobody opens.
fn make_pipe(path: &std::path::Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo must start");
    assert!(made.success(), "{made}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("messages are text")
}

/// Expects exit code 2, an empty standard output, and a message with all these words.
fn refuses(output: &Output, words: &[&str]) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(text(&output.stdout), "");
    for word in words {
        assert!(errors.contains(word), "no {word:?} in: {errors}");
    }
    assert!(!errors.contains("panicked") && !errors.contains("RUST_BACKTRACE"), "{errors}");
}

#[test]
fn what_traces_by_itself_takes_no_agent() {
    for command in ["leaks", "limits"] {
        let output = run(&[command, "--watch", "1s", "--agent=/nonexistent/socket"]);
        refuses(&output, &["'--watch [<DURATION>]' cannot be used with '--agent[=<PATH>]'"]);
    }
}

#[test]
fn what_is_for_every_command_may_stand_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("night.itrec");
    machine::machine(&path);
    let path = path.to_str().unwrap();
    for options in [&["--color", "always"][..], &["--utc"]] {
        let before = run(&[options, &["replay", path]].concat());
        let after = run(&[&["replay", path], options].concat());
        let said = text(&before.stdout);
        assert!(before.status.success() && !said.is_empty(), "{}", text(&before.stderr));
        assert_eq!(said, text(&after.stdout), "{options:?}");
    }
    // Those of traces, which need no command, would have no effect.
    let misplaced = run(&["-x", "list", "--recording", path]);
    refuses(&misplaced, &["--failed can't stand before a command", "behind list"]);
}

#[test]
fn help_promises_several_machines_only_where_they_are_shown() {
    for (command, shows_them) in [("top", false), ("list", true), ("why", true)] {
        let help = run(&[command, "--help"]);
        assert_eq!(text(&help.stdout).contains("of several machines"), shows_them, "{command}");
    }
}

#[test]
fn help_has_examples() {
    for option in ["--help", "-h", "help"] {
        let output = run(&[option]);
        assert!(output.status.success());
        let help = text(&output.stdout);
        for words in ["Usage:", "Examples:", "sudo inotify-trace", "--pid", "--failed", "check"] {
            assert!(help.contains(words), "{option}: no {words:?} in: {help}");
        }
        assert_eq!(text(&output.stderr), "");
    }
    let long = run(&["--help"]);
    for event in ["create-failed", "watch-failed", "cgroup-remove", "range-close"] {
        assert!(text(&long.stdout).contains(event), "{event}");
    }
    assert!(text(&run(&["trace", "--help"]).stdout).contains("--cgroup"));
    assert!(text(&run(&["check", "--help"]).stdout).contains("Usage:"));
    let export = run(&["export", "--help"]);
    for words in ["Examples:", "jsonl", "csv", "parquet", "perfetto", "--partition", "Exit code"] {
        assert!(text(&export.stdout).contains(words), "{words}");
    }
}

#[test]
fn version() {
    let [long, short] = ["--version", "-V"].map(|option| run(&[option]));
    assert!(long.status.success() && short.status.success());
    let short = text(&short.stdout);
    let number = short.trim_end().strip_prefix("inotify-trace ").expect("name and number");
    assert!(number.split('.').all(|part| part.parse::<u32>().is_ok()), "{short}");
    let mut lines = text(&long.stdout).lines();
    assert_eq!(lines.next(), Some(short.trim_end()));
    let names = ["commit: ", "features: ", "recording format: "];
    let [commit, features, format] =
        names.map(|name| lines.next().and_then(|it| it.strip_prefix(name)).expect(name));
    let id = commit.strip_suffix("-dirty").unwrap_or(commit);
    let is_id = id.len() == 12 && id.chars().all(|it| it.is_ascii_hexdigit());
    assert!(is_id || commit == "unknown", "{commit}");
    assert_eq!(features, "cri, parquet, top", "the features that there are by default");
    assert!(format.parse::<u16>().is_ok() && lines.next().is_none(), "{}", text(&long.stdout));
}

/// The error for an invalid duration.
const DURATION: &str = "must be a duration such as 90, 90s, 1m30s or 2h";

#[test]
fn values_are_explained_in_the_same_words() {
    let all = ["trace", "list", "limits", "leaks", "record", "replay"];
    let duration = "DURATION  90, 90s, 1m30s, 2h, 1.5h or 500ms; a number alone is seconds";
    let explanations: [(&[&str], &str); 3] = [
        (&all, duration),
        (&["trace", "record"], "SIZE      64K, 4M, 1G or 1GiB"),
        (&["list", "limits", "leaks", "replay"], "before the end of the recording"),
    ];
    for (commands, words) in explanations {
        for command in commands {
            let help = run(&[command, "--help"]);
            assert!(text(&help.stdout).contains(words), "{command}: {words}");
        }
    }
    assert!(text(&run(&["--help"]).stdout).contains(duration));
}

#[test]
fn mistakes_are_named() {
    let mistakes: [(&[&str], &[&str]); 18] = [
        (&["--nonsense"], &["--nonsense"]),
        (&["nonsense"], &["nonsense"]),
        (&["-e", "creat"], &["creat", "create"]),
        (&["-e", ""], &["--event"]),
        (&["--buffer", "3M"], &["3M", "power of two", "2M and 4M"]),
        (&["--buffer", "4K"], &["4K", "power of two from 64K to 1G", "nearest is 64K"]),
        (&["--buffer", "99999999M"], &["99999999M", "nearest is 1G"]),
        (&["--buffer", "lots"], &["lots", "such as 64K, 4M or 1G"]),
        (&["-d", "soon"], &["soon", DURATION]),
        (&["-d=-1"], &["-1", DURATION]),
        (&["-d", "0"], &["above 0"]),
        (&["-d", "1e300"], &["1e300", DURATION]),
        (&["-d", "1000000d"], &["1000000d", "at most 36500d"]),
        (&["leaks", "--settle", "99999999999999999999"], &["--settle", DURATION]),
        (&["limits", "--watch", "--interval", "1ms"], &["1ms", "at least 100ms"]),
        (&["leaks", "--watch", "soon"], &["soon", DURATION]),
        (&["-p", "init"], &["init", "--pid"]),
        (&["-o", "xml"], &["xml", "json"]),
    ];
    for (arguments, words) in mistakes {
        refuses(&run(arguments), words);
    }
}

#[test]
fn check_tells_what_works() {
    require_root!();
    let _machine = system::the_machine();
    let output = run(&["check"]);
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}");
    for subject in ["kernel", "BTF", "privileges", "ring buffer", "tracefs", "cgroup", "backend"] {
        assert!(report.lines().any(|line| line.starts_with(subject)), "{subject} in {report}");
    }
    let backend = report.lines().find(|line| line.starts_with("backend")).unwrap();
    assert!(["tracepoint", "fentry", "kprobe"].iter().any(|it| backend.contains(it)), "{backend}");
    assert!(!report.contains("MISSING"), "{report}");
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["check", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["works"], true, "{json}");
    let chosen = report.lines().find(|line| line.contains("CHOSEN")).unwrap();
    assert!(chosen.contains(json["backend"].as_str().unwrap()), "{chosen}");
    let named = |it: &serde_json::Value| report.contains(it["detail"].as_str().unwrap());
    assert!(json["findings"].as_array().unwrap().iter().all(named), "{json}");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    require_root!();
    let _machine = system::the_machine();
    for arguments in [&["-e", "create,release"][..], &["-o", "json"][..]] {
        let mut child = agent(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent must start");
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process::start();
        process.call("init1 0").unwrap();
        line.clear();
        out.read_line(&mut line).unwrap();
        drop(out);
        // The next output line makes the agent notice the closed pipe.
        process.call("close 3").unwrap();
        let status = child.wait().unwrap();
        let mut rest = String::new();
        errors.read_to_string(&mut rest).unwrap();
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    }
}

#[test]
fn help_to_a_reader_that_has_gone() {
    let mut child = agent(&["--help"]).stdout(Stdio::piped()).spawn().expect("the agent starts");
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Makes a command run as a user without privileges.
fn as_nobody(command: &mut Command) -> &mut Command {
    let become_nobody = || {
        // Plain system calls: the C library's wrappers would act on other threads too.
        for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
            // SAFETY: all arguments are numbers.
            if unsafe { libc::syscall(call, 65534, 65534, 65534) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(become_nobody) }
}

/// A copy of the agent that any user can execute.
fn copy_for_everybody() -> (tempfile::TempDir, Command) {
    let directory = system::directory();
    let copy = directory.path().join("inotify-trace");
    std::fs::copy(binary(), &copy).expect("room for a copy");
    let mut command = Command::new(copy);
    command.stdin(Stdio::null());
    (directory, command)
}

#[test]
fn without_privileges_it_says_which() {
    require_root!();
    let (_directory, mut command) = copy_for_everybody();
    let output = as_nobody(&mut command).output().expect("the agent must start");
    refuses(&output, &["CAP_BPF", "CAP_PERFMON", "sudo"]);
    let (_directory, mut command) = copy_for_everybody();
    let output = as_nobody(command.arg("check")).output().expect("the agent must start");
    assert_eq!(output.status.code(), Some(2));
    let report = text(&output.stdout);
    let privileges = report.lines().find(|line| line.starts_with("privileges")).unwrap();
    assert!(privileges.contains("MISSING") && privileges.contains("sudo"), "{privileges}");
    // What cannot be probed is not missing, and tracefs is there, though only for root.
    for subject in ["ring buffer", "program types", "helpers"] {
        let line = report.lines().find(|line| line.starts_with(subject)).unwrap();
        assert!(line.contains("unknown") && line.contains("sudo"), "{line}");
    }
    assert!(!report.contains("needs Linux 5.8"), "{report}");
    let (_directory, mut command) = copy_for_everybody();
    let output = as_nobody(command.args(["check", "-o", "json"])).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["works"], &report["backend"]), (&false.into(), &().into()), "{report}");
    assert_eq!(report["findings"][2]["state"], "missing", "{report}");
}

#[test]
fn a_tracefs_for_root_alone_is_not_called_missing() {
    require_root!();
    let _machine = system::the_machine();
    // A directory that is hidden as tracefs is by its mode 0700.
    let hide = || {
        let place = c"/sys/kernel/tracing".as_ptr();
        let kind = c"tmpfs".as_ptr();
        // SAFETY: strings that end with a zero.
        unsafe { libc::mount(kind, place, kind, 0, c"mode=0700".as_ptr().cast()) }
    };
    let (_directory, mut command) = copy_for_everybody();
    let output = as_nobody(with_mounts(command.arg("check"), hide)).output().unwrap();
    let report = text(&output.stdout);
    let tracefs = report.lines().find(|line| line.starts_with("tracefs")).unwrap();
    for words in ["is mounted at /sys/kernel/tracing", "only root", "CAP_DAC_READ_SEARCH"] {
        assert!(tracefs.contains(words), "{tracefs}");
    }
}

/// Makes a command run in a private mount namespace after `change`.
fn with_mounts(
    command: &mut Command,
    change: impl Fn() -> i32 + Send + Sync + 'static,
) -> &mut Command {
    let apart = move || {
        // SAFETY: affects only this process, which is about to execute the agent.
        let mut result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        if result == 0 {
            let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
            // SAFETY: strings that end with a zero; unused arguments are null.
            result = unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) };
        }
        if result == 0 {
            result = change();
        }
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(apart) }
}

/// Mounts an empty directory over another.
fn hide(directory: &CStr) -> i32 {
    let kind = c"tmpfs".as_ptr();
    // SAFETY: strings that end with a zero; the unused argument is null.
    unsafe { libc::mount(kind, directory.as_ptr(), kind, 0, std::ptr::null()) }
}

#[test]
fn without_btf_it_says_so() {
    require_root!();
    let mut command = agent(&["-d", "0.1"]);
    let output = with_mounts(&mut command, || hide(c"/sys/kernel/btf")).output();
    refuses(&output.expect("the agent must start"), &["BTF", "/sys/kernel/btf/vmlinux", "CONFIG_"]);
}

#[test]
fn tracefs_is_mounted_where_it_is_not() {
    require_root!();
    let _machine = system::the_machine();
    let unmount = || {
        for place in [c"/sys/kernel/tracing", c"/sys/kernel/debug/tracing", c"/sys/kernel/debug"] {
            // An error is fine: the path is not mounted.
            // SAFETY: a string that ends with a zero.
            unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
        }
        0
    };
    let mut command = agent(&["-d", "100ms", "-o", "json"]);
    let output = with_mounts(&mut command, unmount).output().expect("the agent must start");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""event":"summary""#));
}

#[test]
fn without_any_tracefs_it_says_how_to_mount_it() {
    require_root!();
    let _machine = system::the_machine();
    // The directories for the mount are hidden.
    let mut command = agent(&["-d", "0.1"]);
    let output = with_mounts(&mut command, || hide(c"/sys/kernel")).output();
    let output = output.expect("the agent must start");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn without_cgroups_it_still_traces() {
    require_root!();
    let _machine = system::the_machine();
    let mut command = agent(&["-d", "0.1", "-o", "json"]);
    let output = with_mounts(&mut command, || hide(c"/sys/fs/cgroup")).output();
    let output = output.expect("the agent must start");
    assert!(output.status.success(), "{}", text(&output.stderr));
}
