//! The programs under test, linked so that they run where there is no library.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::initramfs::Program;
use crate::agent;
use crate::kernel;
use crate::step;
use crate::workspace::Workspace;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const TESTS: &str = "inotify-trace-tests";

/// The live tests' binary, and the one that does what they tell it.
pub const LIVE: &str = "live";
pub const WORKLOAD: &str = "workload";

pub const AGENT: &str = "inotify-trace";

/// Builds the agent.
pub fn agent(workspace: &Workspace) -> Result<Program> {
    binary(workspace, AGENT, "the agent")
}

/// Builds a program of the workspace.
pub fn program(workspace: &Workspace, name: &str) -> Result<Program> {
    binary(workspace, name, name)
}

fn binary(workspace: &Workspace, name: &str, what: &str) -> Result<Program> {
    let mut command = cargo(workspace)?;
    command.args(["build", "--package", name, "--bin", name]);
    add_target(&mut command, workspace);
    step::run(&format!("building {what} statically"), &mut command)?;
    let path = workspace.target.join("static").join(TARGET).join("release").join(name);
    ensure!(path.is_file(), "{what} was built statically, but not as {}", path.display());
    Ok(Program::new(name, path))
}

/// Builds the live tests and what they run.
pub fn tests(workspace: &Workspace) -> Result<Vec<Program>> {
    let mut command = cargo(workspace)?;
    command.args(["test", "--no-run", "--package", TESTS, "--test", LIVE]);
    add_target(&mut command, workspace);
    // The names of test binaries contain a hash, which only these messages tell.
    command.args(["--message-format", "json-render-diagnostics"]);
    step::say("building static live tests");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", step::shown(&command)))?;
    if !output.status.success() {
        bail!("building the live tests failed; the command was: {}", step::shown(&command));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    [LIVE, WORKLOAD]
        .into_iter()
        .map(|name| {
            let path = executable(&messages, name)
                .with_context(|| format!("cargo does not say that it built {name} of {TESTS}"))?;
            Ok(Program::new(name, path))
        })
        .collect()
}

fn cargo(workspace: &Workspace) -> Result<Command> {
    let object = kernel::build(workspace)?;
    let mut command = agent::cargo(workspace, &object);
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(OsString::from(" -C target-feature=+crt-static"));
    // This one would go first.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags);
    Ok(command)
}

/// With a target of its own: flags for a static program break the build of procedural macros.
fn add_target(command: &mut Command, workspace: &Workspace) {
    command.args(["--release", "--target", TARGET]);
    command.arg("--target-dir").arg(workspace.target.join("static"));
}

/// The path of the executable `name` in cargo's messages, one JSON object a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let target = format!("\"name\":\"{name}\"");
    messages.lines().filter(|line| line.contains(&target)).find_map(|line| {
        let path = line.split_once("\"executable\":\"")?.1;
        let path = path.split_once('"')?.0;
        // A path that JSON has to escape is not looked for further.
        (!path.contains('\\')).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::executable;

    #[test]
    fn executables_are_found_by_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"live"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"workload"},"executable":"/t/workload","fresh":true}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"live"},"executable":"/t/live-0a","fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "live").as_deref(), Some(Path::new("/t/live-0a")));
        assert_eq!(executable(messages, "workload").as_deref(), Some(Path::new("/t/workload")));
        assert_eq!(executable(messages, "other"), None);
    }
}
