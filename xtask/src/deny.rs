//! Licences, sources, duplicates and known vulnerabilities of what the project depends on, by
//! cargo-deny and deny.toml.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::python;
use crate::step;
use crate::tool::Tool;
use crate::workspace::Workspace;

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    purpose: "building cargo-deny takes several minutes, once",
};

/// A ready-made cargo-deny, which is there in seconds, and the checksums of its files.
const READY_MADE: &str = "xtask/cargo-deny.txt";

/// For a database of a few megabytes.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// cargo-deny, installed if it was missing.
pub fn setup(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = DENY.existing(workspace) {
        return Ok(program);
    }
    let requirements = workspace.root.join(READY_MADE);
    let purpose = "for checking dependencies";
    match python::environment(&DENY.directory(workspace), &requirements, purpose) {
        Ok(_) => {}
        Err(error) => step::say(&format!("{error:#}; building cargo-deny instead")),
    }
    DENY.setup(workspace)
}

/// Fails if something is not as deny.toml has it. A database of vulnerabilities that cannot be had is
/// no failure: what was not checked is said.
pub fn run(workspace: &Workspace) -> Result<()> {
    let program = setup(workspace)?;
    let deny = |manifest: &str| {
        let mut command = Command::new(&program);
        // Cargo's own directories are for the program that it started.
        command.current_dir(&workspace.root).env_remove("LD_LIBRARY_PATH");
        command.args(["--locked", "--manifest-path", manifest, "--config", "deny.toml"]);
        command
    };
    check(deny("Cargo.toml"), "", &["bans", "licenses", "sources"])?;
    check(deny("fuzz/Cargo.toml"), " of fuzz/", &["bans", "licenses", "sources"])?;

    let mut fetch = deny("Cargo.toml");
    let what = "fetching the database of known vulnerabilities";
    if let Err(error) = step::run_within(FETCH_LIMIT, what, fetch.args(["fetch", "db"])) {
        step::say(&format!("{error:#}"));
        step::say("NOT CHECKED: known vulnerabilities, and crates that were withdrawn");
        return Ok(());
    }
    check(deny("Cargo.toml"), "", &["advisories"])?;
    check(deny("fuzz/Cargo.toml"), " of fuzz/", &["advisories"])
}

fn check(mut command: Command, whose: &str, kinds: &[&str]) -> Result<()> {
    command.args(["check", "--hide-inclusion-graph"]);
    // One file is for both workspaces: neither has all that it names.
    command.args(["--allow", "license-exception-not-encountered"]);
    if !whose.is_empty() {
        command.args(["--allow", "license-not-encountered", "--allow", "unmatched-skip"]);
    }
    let what = format!("checking the dependencies{whose}: {}", kinds.join(", "));
    step::run(&what, command.args(kinds))
}

#[cfg(test)]
mod tests {
    use super::DENY;

    #[test]
    fn the_ready_made_one_has_the_same_version_and_a_checksum() {
        let text = include_str!("../cargo-deny.txt");
        assert!(text.contains(&format!("{}=={} ", DENY.name, DENY.version)), "{text}");
        assert!(text.contains("--hash=sha256:"), "{text}");
    }
}
