//! Lines on a terminal fit it.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    fs::File,
    io::Read as _,
    os::fd::{FromRawFd as _, OwnedFd},
};

use crate::{
    agent,
    machine::{LONG, machine},
};

/// Recordings of a released format.
pub(crate) const RELEASED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../inotify-trace/tests/recordings/v1");

/// Opens both ends of a terminal of so many columns: the user's and the program's.
pub(crate) fn terminal(columns: u16) -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads the size and writes two numbers; all other arguments are null.
    let result = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            none,
            none.cast_const().cast(),
            &raw const size,
        )
    };
    assert_eq!(result, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: both descriptors were just opened and have no other owner.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// The lines that a command shows on a terminal without colours.
fn shown(columns: u16, arguments: &[&str]) -> Vec<String> {
    let (mut ours, theirs) = terminal(columns);
    let mut command = agent(arguments);
    command.env("NO_COLOR", "1").stdout(theirs).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the agent must start");
    // Only the child may hold the program's end of the terminal.
    drop(command);
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    // The end is EIO once the program has closed its side.
    while let Ok(read @ 1..) = ours.read(&mut some) {
        all.extend_from_slice(&some[..read]);
    }
    child.wait().unwrap();
    String::from_utf8(all).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn every_line_fits() {
    let directory = tempfile::tempdir().unwrap();
    let file = machine(&directory.path().join("a.itrec"));
    let file = file.to_str().unwrap();
    for arguments in [
        &["replay", file][..],
        &["list", "--recording", file],
        &["list", "--recording", file, "--watches"],
        &["list", "--recording", file, "--by", "user"],
        &["list", "--recording", file, "--by", "container"],
        &["limits", "--recording", file],
        &["leaks", "--recording", file, "--growth-span", "1s"],
        &["why", "--recording", file],
        &["report", "-f", "text", file],
        // With users' numbers as long as they get.
        &["limits", "--recording", RELEASED],
        &["report", "-f", "text", RELEASED],
    ] {
        for columns in [80, 100, 119, 120, 250] {
            let lines = shown(columns, arguments);
            assert!(!lines.is_empty(), "{arguments:?}");
            for line in lines {
                let length = line.chars().count();
                assert!(length <= columns.into(), "{arguments:?}, {length} of {columns}: {line}");
            }
        }
    }
}

#[test]
fn colours_mean_the_same_in_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let file = machine(&directory.path().join("a.itrec"));
    let file = file.to_str().unwrap();
    let (red, dim) = ("\x1b[1;31m", "\x1b[2m");
    for (arguments, colour, coloured) in [
        (&["replay", file][..], red, ""),
        (&["list", "--recording", file], red, "web is charged 128 of 128 instances"),
        (&["list", "--recording", file, "--by", "user"], red, "100%\x1b[0m"),
        (&["list", "--recording", file, "--by", "user", "-o", "wide"], red, "100%\x1b[0m"),
        (&["limits", "--recording", file], red, "100%\x1b[0m"),
        (&["limits", "--recording", file], red, "web has used 80% or more of a limit.\x1b[0m"),
        (&["why", "--recording", file], red, "PROBLEM"),
        (&["leaks", "--recording", file, "--idle", "0s"], dim, "NOTE"),
        (&["report", file, "-f", "text"], red, "PROBLEM: node-1"),
    ] {
        let shown = |more: &[&str], variable: (&str, &str)| {
            let mut command = agent(&[arguments, more].concat());
            for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
                command.env_remove(name);
            }
            let output = command.env(variable.0, variable.1).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let term = ("TERM", "xterm");
        let plain = shown(&[], term);
        assert!(!plain.is_empty() && !plain.contains('\x1b'), "{arguments:?}: {plain}");
        for (more, variable) in [(&["--color", "always"][..], term), (&[], ("CLICOLOR_FORCE", "1"))]
        {
            let text = shown(more, variable);
            assert!(
                text.contains(&format!("{colour}{coloured}")),
                "{arguments:?}: no {coloured}: {text}"
            );
            // Colours move nothing.
            let bare = text.replace(red, "").replace(dim, "").replace("\x1b[0m", "");
            assert_eq!(bare, plain, "{arguments:?}");
        }
        assert_eq!(shown(&["--color", "never"], ("CLICOLOR_FORCE", "1")), plain);
        let beaten = shown(&["--color=always"], ("NO_COLOR", "1"));
        assert!(beaten.contains(&format!("{colour}{coloured}")), "{arguments:?}");
    }
}

#[test]
fn a_wide_terminal_is_used_and_nothing_is_lost_on_a_narrow_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = machine(&directory.path().join("a.itrec"));
    let replayed = |columns| shown(columns, &["replay", file.to_str().unwrap(), "-p", "7"]);
    let whole = |lines: &[String]| lines.iter().filter(|it| it.ends_with(LONG)).count();
    assert_eq!(whole(&replayed(250)), 2);
    let narrow = replayed(80);
    assert_eq!(whole(&narrow), 0);
    let end = LONG.rsplit('/').next().unwrap();
    assert_eq!(narrow.iter().filter(|line| line.ends_with(end)).count(), 2, "{narrow:#?}");
    let all = narrow.join("\n");
    assert!(all.contains("EMFILE: inotify instance limit"), "{all}");
    let words = all.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("128 of 128 instances of web: node (7) in prod/shop-5d8f/web 128"),
        "{all}"
    );
    assert!(words.contains("remedy: look at container prod/shop-5d8f/web first"), "{all}");
}
