//! What is run and tested: the agent, and the tests with the programs that they use.
//!
//! All of it is linked statically, so that the same files run on this machine, in virtual machines
//! without any library, and on machines whose C library is older than this one's.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::architecture::{self, Architecture};
use crate::environment;
use crate::kernel;
use crate::step;
use crate::workspace::{Workspace, expect_built};

/// Tells the tests where the agent is.
pub const AGENT_VARIABLE: &str = "INOTIFY_TRACE_BIN";

/// Tells inotify-trace's build script which commit is built.
pub const COMMIT_VARIABLE: &str = "INOTIFY_TRACE_COMMIT";

/// The number of characters of a commit's id: always the same, unlike git's own choice.
const COMMIT_LENGTH: usize = 12;

/// The tests of the workspace.
pub struct Tests {
    /// One for each library, program and file of tests.
    pub binaries: Vec<Binary>,
    programs: Vec<(String, PathBuf)>,
}

/// A program made by the test harness.
pub struct Binary {
    /// The library's, the program's, or the file's.
    pub name: String,
    /// Where the program is.
    pub path: PathBuf,
    /// The directory in which its tests run: its package's.
    pub directory: PathBuf,
}

impl Tests {
    /// A test binary, by name.
    pub fn binary(&self, name: &str) -> Result<&Binary> {
        let found = self.binaries.iter().find(|binary| binary.name == name);
        found.with_context(|| format!("cargo does not say that it built the tests {name}"))
    }

    /// A program that tests use, by name.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.programs.iter().find(|(program, _)| program == name);
        let (_, path) =
            found.with_context(|| format!("cargo does not say that it built {name}"))?;
        Ok(path.clone())
    }
}

/// Builds a program of the workspace as users get it, and returns its path.
pub fn program(workspace: &Workspace, name: &str, debug: bool) -> Result<PathBuf> {
    program_for(workspace, architecture::here()?, name, debug)
}

/// Builds a program of the workspace for machines of `architecture`, and returns its path. For another
/// than this machine's, [`crate::dist::program`] is what users get.
pub fn program_for(
    workspace: &Workspace,
    architecture: &Architecture,
    name: &str,
    debug: bool,
) -> Result<PathBuf> {
    let (mut command, target) = cargo(workspace, "build", architecture)?;
    command.args(["--package", name, "--bin", name]);
    if !debug {
        command.arg("--release");
    }
    step::run(&format!("building {name}"), &mut command)?;
    let profile = if debug { "debug" } else { "release" };
    expect_built(name, workspace.target.join(target).join(profile).join(name))
}

/// Builds all tests of this machine. Always all: cargo would build what they depend on again for some of them.
pub fn tests(workspace: &Workspace) -> Result<Tests> {
    built(workspace, tests_command(workspace)?.0)
}

/// Builds the tests `name` of a package, with its programs, for machines of `architecture`.
pub fn tests_for(
    workspace: &Workspace,
    architecture: &Architecture,
    package: &str,
    name: &str,
) -> Result<Tests> {
    let (mut command, _) = cargo(workspace, "test", architecture)?;
    command.args(["--package", package, "--test", name]);
    built(workspace, command)
}

fn built(workspace: &Workspace, mut command: Command) -> Result<Tests> {
    command.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let what = "building the tests";
    let output = step::output_with_errors_shown(what, &mut command)?;
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut tests = Tests { binaries: Vec::new(), programs: Vec::new() };
    for message in messages {
        let Some(executable) = message["executable"].as_str() else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        let path = PathBuf::from(executable);
        if message["profile"]["test"] != true {
            tests.programs.push((name, path));
            continue;
        }
        let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
        let directory = manifest.parent().unwrap_or(&workspace.root).to_path_buf();
        tests.binaries.push(Binary { name, path, directory });
    }
    if tests.binaries.is_empty() {
        bail!("cargo built no tests; the command was: {}", step::shown(&command));
    }
    Ok(tests)
}

/// `cargo test` over the workspace, with the flags that [`tests`] builds with. The caller may add
/// arguments; packages among them make cargo build again.
pub fn tests_command(workspace: &Workspace) -> Result<(Command, String)> {
    let (mut command, target) = cargo(workspace, "test", architecture::here()?)?;
    command.args(["--workspace", "--exclude", kernel::PACKAGE]);
    Ok((command, target))
}

/// A cargo command for static programs that contain the kernel programs, and the target it builds
/// for. This machine's is named all the same: flags for static programs are not for the procedural
/// macros, which the compiler loads.
pub fn cargo(
    workspace: &Workspace,
    task: &str,
    architecture: &Architecture,
) -> Result<(Command, String)> {
    let (mut command, target) = if architecture.is_here() {
        (kernel::cargo(workspace)?, host()?)
    } else {
        (kernel::cargo_for(workspace, architecture)?, architecture.target.to_owned())
    };
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(OsString::from("-Ctarget-feature=+crt-static"));
    // This one would go first.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags);
    if let (None, Some(commit)) = (env::var_os(COMMIT_VARIABLE), commit(workspace)) {
        command.env(COMMIT_VARIABLE, commit);
    }
    command.args([task, "--target", &target]);
    Ok((command, target))
}

/// The commit that is checked out, with `-dirty` if files that git knows were changed. None without a
/// repository, as in an unpacked archive, which may lie in a repository of something else.
pub fn commit(workspace: &Workspace) -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&workspace.root).args(arguments).stdin(Stdio::null());
        step::output_of(&mut command).ok()
    };
    if !workspace.root.join(".git").exists() {
        return None;
    }
    let id = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let dirty = if changed.trim().is_empty() { "" } else { "-dirty" };
    Some(format!("{}{dirty}", id.trim().get(..COMMIT_LENGTH)?))
}

/// The target that cargo itself is built for.
pub fn host() -> Result<String> {
    let version = step::output_of(environment::cargo().arg("-vV").stdin(Stdio::null()))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` names no host")?.to_owned())
}
