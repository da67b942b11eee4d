//! All tests.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::agent;
use crate::apt;
use crate::fuzz;
use crate::kernel;
use crate::privilege;
use crate::python;
use crate::step;
use crate::vm;
use crate::workspace::{Workspace, which};

/// Programs that the live tests trace, and their packages.
const TOOLS: &[(&str, &str)] = &[
    ("inotifywait", "inotify-tools"),
    ("stress-ng", "stress-ng"),
    ("node", "nodejs"),
    ("tail", "coreutils"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("containerd", "containerd"),
    // In the images of its containers, which have nothing else in them.
    ("busybox", "busybox-static"),
];

/// The browser that looks at reports, and a font for it.
const BROWSERS: &[&str] =
    &["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
const BROWSER_PACKAGES: &[&str] = &["chromium-headless-shell", "fonts-dejavu-core"];

/// Installs the programs the tests use. Without them those tests are skipped, and say so;
/// the others are still worth running.
pub fn setup() {
    let tools: Vec<_> = TOOLS.iter().filter(|(program, _)| which(program).is_none()).collect();
    let packages: Vec<_> = tools.iter().map(|(_, package)| *package).collect();
    // Ubuntu has no such package: one is not to keep the others from being installed.
    let browser =
        if BROWSERS.iter().any(|it| which(it).is_some()) { &[] } else { BROWSER_PACKAGES };
    let wanted = [(&packages[..], "that the live tests need"), (browser, "for tests of reports")];
    if wanted.iter().all(|(packages, _)| packages.is_empty()) {
        return;
    }
    let updated = apt::update();
    for (packages, purpose) in wanted.into_iter().filter(|(packages, _)| !packages.is_empty()) {
        let installed = match &updated {
            Ok(()) => apt::install(packages, purpose),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        if let Err(error) = installed {
            let packages = packages.join(", ");
            step::say(&format!("{error:#}; tests that need {packages} will be skipped"));
        }
    }
}

/// Installs what exports are checked with. Without it those tests are skipped, and say so.
pub fn python(workspace: &Workspace) -> Option<PathBuf> {
    python::setup(workspace)
        .inspect_err(|error| step::say(&format!("{error:#}; tests of exports will be skipped")))
        .ok()
}

/// Runs `cargo test` with `args` over the workspace, and then, if all of it is asked for, fuzzes for
/// a moment, and runs the live tests on other kernels.
/// `kernels` are those that may be missing; None leaves out all.
pub fn run(workspace: &Workspace, kernels: Option<Vec<vm::Kernel>>, args: &[String]) -> Result<()> {
    here(workspace, args)?;
    if !args.is_empty() {
        step::say("NOT RUN: fuzzing and tests on other kernels, because arguments choose tests");
        return Ok(());
    }
    fuzz::test(workspace)?;
    let Some(allow_missing) = kernels else {
        step::say("NOT RUN: tests on other kernels (--no-vm)");
        return Ok(());
    };
    step::say("tests in virtual machines; --no-vm leaves them out");
    vm::test(workspace, allow_missing)
}

/// Runs `cargo test` on this machine.
fn here(workspace: &Workspace, args: &[String]) -> Result<()> {
    setup();
    let python = python(workspace);
    let binary = agent::build(workspace, false)?;
    let skipped = workspace.target.join("skipped-tests.txt");
    forget(&skipped)?;

    let mut command = agent::cargo(workspace, &kernel::object(workspace)?);
    command.arg("test");
    if !names_packages(args) {
        command.args(["--workspace", "--exclude", kernel::PACKAGE]);
    }
    match privilege::prefix("run the live tests") {
        // As the program that starts the tests, sudo leaves the compiling to the user.
        Ok(prefix) if !prefix.is_empty() => {
            let runner = format!("target.'cfg(unix)'.runner={prefix:?}");
            command.args(["--config", &runner]);
        }
        Ok(_) => {}
        Err(error) => step::say(&format!("{error:#}; tests that need root will be skipped")),
    }
    command.env("INOTIFY_TRACE_BIN", &binary).env("INOTIFY_TRACE_SKIPPED", &skipped).args(args);
    if let Some(python) = python {
        command.env(python::VARIABLE, python);
    }
    let result = step::run("running the tests", &mut command);
    report(&skipped)?;
    result
}

/// Whether the user chose packages, which the choice of all would override.
fn names_packages(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package") || arg == "--workspace")
}

fn forget(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Shows what the tests wrote about themselves: the test harness hides what a passing test prints.
fn report(skipped: &Path) -> Result<()> {
    let lines = match fs::read_to_string(skipped) {
        Ok(lines) => lines,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", skipped.display()));
        }
    };
    if lines.is_empty() {
        step::say("no test reported that it was skipped");
        return Ok(());
    }
    step::say("skipped tests, and why:");
    for line in lines.lines() {
        step::say(&format!("  {line}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names_packages;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_looked_for_among_cargos_arguments_only() {
        assert!(names_packages(&args("-p inotify-trace some_test")));
        assert!(names_packages(&args("--package=inotify-trace")));
        assert!(!names_packages(&args("some_test -- -p")));
    }
}
