//! Building, starting and installing inotify-trace.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::privilege;
use crate::programs;
use crate::sbom;
use crate::step;
use crate::workspace::Workspace;

/// The program's name.
pub const NAME: &str = "inotify-trace";

/// Builds the kernel programs and the agent, and returns the agent's path.
pub fn build(workspace: &Workspace, debug: bool) -> Result<PathBuf> {
    programs::program(workspace, NAME, debug)
}

/// Builds the agent, and becomes it: signals and the exit status are its own.
pub fn run(workspace: &Workspace, debug: bool, args: &[String]) -> Result<()> {
    let binary = build(workspace, debug)?;
    let binary = binary.to_str().context("the target directory's name is not UTF-8")?;
    let mut command = privilege::as_root(binary, "trace the kernel")?;
    command.args(args).env_remove("LD_LIBRARY_PATH");
    step::say(&format!("starting {}", step::shown(&command)));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", step::shown(&command)))
}

/// Where shells look for completions below a prefix's share, and what they call each shell's file.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/inotify-trace"),
    ("zsh", "zsh/site-functions/_inotify-trace"),
    ("fish", "fish/vendor_completions.d/inotify-trace.fish"),
];

/// Has a built agent, which `start` starts, write its manual pages and completions below `share`,
/// which is as PREFIX/share is. Returns the files' paths from there.
pub fn manual(start: &dyn Fn() -> Command, share: &Path) -> Result<Vec<PathBuf>> {
    let pages = share.join("man/man1");
    step::output_of(start().arg("man").arg(&pages))?;
    let entries =
        fs::read_dir(&pages).with_context(|| format!("cannot read {}", pages.display()))?;
    let mut files = entries
        .map(|entry| Ok(Path::new("man/man1").join(entry?.file_name())))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    for (shell, file) in COMPLETIONS {
        let script = step::output_of(start().args(["completions", shell]))?;
        let path = share.join(file);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(file.into());
    }
    Ok(files)
}

/// Builds the agent, and copies it to `prefix`/bin, and what belongs to it to `prefix`/share: its bill of
/// materials, manual pages and completions.
pub fn install(workspace: &Workspace, prefix: &Path) -> Result<()> {
    let binary = build(workspace, false)?;
    let bill = sbom::run(workspace, None)?;
    let share = prefix.join("share").join(NAME).join(sbom::FILE);
    put(&binary, &prefix.join("bin").join(NAME), "755")?;
    put(&bill, &share, "644")?;
    let made = workspace.target.join("share");
    for file in manual(&|| Command::new(&binary), &made)? {
        put(&made.join(&file), &prefix.join("share").join(&file), "644")?;
    }
    Ok(())
}

/// Copies a file to its place, as root if need be.
fn put(from: &Path, to: &Path, mode: &str) -> Result<()> {
    let arguments = |command: &mut Command| {
        command.args(["-D", "-m", mode]).arg(from).arg(to);
    };
    // A prefix in the user's home needs no root.
    let mut plain = Command::new("install");
    arguments(&mut plain);
    if privilege::is_root() || step::output_of(&mut plain).is_err() {
        let mut command = privilege::as_root("install", "write there")?;
        arguments(&mut command);
        step::run(&format!("installing {}", to.display()), &mut command)?;
    }
    step::say(&format!("installed {}", to.display()));
    Ok(())
}
