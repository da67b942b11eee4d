//! The files of a release: `cargo xtask dist`.
//!
//! The same commit is to lead to the same bytes, on the same system with the same tools: no file has
//! a path, a time or an owner of the machine that made it. `--check` compares.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::agent;
use crate::apt;
use crate::architecture::{self, ALL, Architecture};
use crate::image;
use crate::step;
use crate::testbed;
use crate::toolchain::Toolchain;
use crate::workspace::{Workspace, which};

mod build;
mod contents;
mod deb;
mod licences;
mod notes;
mod rpm;
mod tarball;

use contents::Contents;

/// What to make, and where.
#[derive(clap::Args)]
pub struct Args {
    /// A processor to build for, x86_64 or aarch64; may be repeated [default: both]
    #[arg(long = "arch", value_name = "ARCH", value_parser = Architecture::named)]
    architectures: Vec<&'static Architecture>,
    /// Where the files go, instead of `dist` in the target directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Make everything a second time from a copy of the commit elsewhere, and compare: takes twice
    /// as long.
    #[arg(long)]
    check: bool,
    /// Install the packages for this machine in clean Debian 11, 12 and 13, use and remove them there.
    #[arg(long)]
    test: bool,
}

/// What all files of a release are made with.
struct Release<'a> {
    workspace: &'a Workspace,
    version: String,
    /// The time of the commit, in seconds: that of everything in the files.
    time: u64,
}

impl Release<'_> {
    /// A command that takes its times from the commit.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOURCE_DATE_EPOCH", self.time.to_string()).env("TZ", "UTC");
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

impl<'a> Release<'a> {
    fn of(workspace: &'a Workspace) -> Result<Self> {
        Ok(Self { workspace, version: version(workspace)?, time: time(workspace)? })
    }
}

/// Installs what building for another architecture than this machine's needs.
pub fn setup_for(architecture: &Architecture) -> Result<()> {
    build::setup(architecture, &Toolchain::of_cargo()?.sysroot()?)
}

/// Builds the program of a release, and returns its path.
pub fn program(workspace: &Workspace, architecture: &Architecture) -> Result<PathBuf> {
    build::binary(&Release::of(workspace)?, architecture)
}

/// Makes the files of a release.
pub fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    ensure!(
        env::var_os(crate::workspace::OBJECT_VARIABLE).is_none(),
        "a release has kernel programs of its own: unset {}",
        crate::workspace::OBJECT_VARIABLE
    );
    setup()?;
    let out = args.out.clone().unwrap_or_else(|| workspace.target.join("dist"));
    let out = std::path::absolute(&out).with_context(|| out.display().to_string())?;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let chosen = &args.architectures[..];
    let architectures = if chosen.is_empty() { &ALL } else { chosen };
    make(workspace, architectures, &out)?;
    if args.check {
        compare(workspace, architectures, &out)?;
    }
    if args.test {
        let mut command = testbed::command(workspace, "packages");
        step::run("trying the packages", command.arg(&out))?;
    }
    Ok(())
}

const TOOLS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("dpkg-deb", "dpkg"),
    ("rpmbuild", "rpm"),
    ("sha256sum", "coreutils"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// Installs what packing needs.
fn setup() -> Result<()> {
    install(TOOLS)
}

fn install(tools: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|it| which(it.0).is_none()).map(|it| it.1).collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt::update()?;
    apt::install(&missing, "that make a release")
}

fn make(workspace: &Workspace, architectures: &[&Architecture], out: &Path) -> Result<()> {
    let release = Release::of(workspace)?;
    let mut made = vec![notes::write(&release, out)?];
    let mut programs = Vec::new();
    for architecture in architectures {
        let binary = build::binary(&release, architecture)?;
        programs.push(image::Program::new(architecture.debian, &binary)?);
        let contents = Contents::of(workspace, architecture, binary, out)?;
        made.push(tarball::make(&release, architecture, &contents, out)?);
        made.push(deb::make(&release, architecture, &contents, out)?);
        made.push(rpm::make(&release, architecture, &contents, out)?);
        made.push(contents.bill);
    }
    let archive = out.join(format!("{}-{}.oci.tar", agent::NAME, release.version));
    image::write(&programs, &archive)?;
    made.push(archive);
    sums(&made, out)?;
    for file in &made {
        let size = fs::metadata(file).map_or(0, |it| it.len());
        step::say(&format!("made {} ({} kB)", file.display(), size / 1000));
    }
    Ok(())
}

/// Makes only a Debian package, of a program for this machine that is there, in `out`.
pub fn debian(workspace: &Workspace, binary: &Path, out: &Path) -> Result<PathBuf> {
    let (release, architecture) = (Release::of(workspace)?, architecture::here()?);
    let contents = Contents::of(workspace, architecture, binary.to_path_buf(), out)?;
    deb::make(&release, architecture, &contents, out)
}

fn version(workspace: &Workspace) -> Result<String> {
    let path = workspace.root.join("Cargo.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version.with_context(|| format!("{} has no version", path.display()))?.to_owned())
}

/// The time that the user names, or else the commit's.
fn time(workspace: &Workspace) -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    let text = match env::var(VARIABLE) {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.arg("-C").arg(&workspace.root).args(["log", "-1", "--format=%ct"]);
            step::output_of(&mut git).with_context(|| {
                format!("the time of the commit is not known: set {VARIABLE} to seconds since 1970")
            })?
        }
    };
    text.trim().parse().with_context(|| format!("{text:?} is no time in seconds since 1970"))
}

/// Writes the checksums of files to `SHA256SUMS`, as `sha256sum --check` reads it.
fn sums(files: &[PathBuf], out: &Path) -> Result<()> {
    let mut names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    names.sort();
    let sums = step::output_of(Command::new("sha256sum").current_dir(out).args(names))?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the commit's release again, from a copy in another directory, and compares the checksums.
fn compare(workspace: &Workspace, architectures: &[&Architecture], out: &Path) -> Result<()> {
    let copy = workspace.target.join("dist-again");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot empty {}", copy.display()))?;
    }
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet"]).arg(&workspace.root).arg(&copy);
    step::output_of(&mut clone)?;
    let mut status = Command::new("git");
    status.arg("-C").arg(&workspace.root).args(["status", "--porcelain"]);
    if !step::output_of(&mut status)?.is_empty() {
        bail!("only a commit can be made again: commit what was changed");
    }
    let again = copy.join("out");
    let mut command = crate::environment::cargo();
    command.current_dir(&copy).args(["xtask", "dist"]);
    for architecture in architectures {
        command.args(["--arch", architecture.name]);
    }
    command.arg("--out").arg(&again).env("CARGO_TARGET_DIR", copy.join("target"));
    step::run("making everything again in another directory", &mut command)?;
    let read = |directory: &Path| {
        let path = directory.join("SHA256SUMS");
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (first, second) = (read(out)?, read(&again)?);
    let different: Vec<_> = first.lines().filter(|line| !second.contains(line)).collect();
    ensure!(
        different.is_empty() && first.len() == second.len(),
        "not the same as in {}:\n{}",
        again.display(),
        different.join("\n")
    );
    step::say("the same bytes twice");
    fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process;
    use std::thread;
    use std::time::SystemTime;

    use super::{Contents, Release, contents, deb, install, rpm, tarball};
    use crate::architecture::AARCH64;
    use crate::step;
    use crate::workspace::{Workspace, which};

    /// Packs a stand-in for the program in a directory of this name, and returns the files.
    fn pack(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let work = std::env::temp_dir().join(format!("{name}-{}", process::id()));
        let out = work.join("out");
        fs::create_dir_all(&out).unwrap();
        let (binary, bill) = (work.join("program"), work.join("bill"));
        fs::write(&binary, "\x7fELF and so on").unwrap();
        fs::write(&bill, "{}").unwrap();
        let workspace = Workspace { root, target: work.clone() };
        let release =
            Release { workspace: &workspace, version: "0.0.1".to_owned(), time: 1_769_828_700 };
        let manual = work.join("manual");
        for file in ["man/man1/inotify-trace.1", "zsh/site-functions/_inotify-trace"] {
            contents::write(&manual.join(file), file, 0o644).unwrap();
        }
        let contents = Contents { binary, bill, licences: "free\n".to_owned(), manual };
        let mut files = vec![
            tarball::make(&release, &AARCH64, &contents, &out).unwrap(),
            deb::make(&release, &AARCH64, &contents, &out).unwrap(),
        ];
        if which("rpmbuild").is_some() {
            files.push(rpm::make(&release, &AARCH64, &contents, &out).unwrap());
        } else {
            step::say(
                "skipped the RPM package: rpmbuild is missing (cargo xtask dist installs it)",
            );
        }
        let names = files.iter().map(|it| PathBuf::from(it.file_name().unwrap()));
        let made = names.zip(files.iter().map(|it| fs::read(it).unwrap())).collect();
        fs::remove_dir_all(&work).unwrap();
        made
    }

    #[test]
    fn packages_tell_neither_place_nor_time_of_their_making() {
        if which("dpkg-deb").is_none() {
            step::say("skipped: dpkg-deb is missing");
            return;
        }
        let first = pack("inotify-trace-here");
        // Times in packages are in seconds: the second making is in a later one.
        let seconds = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let start = seconds();
        while seconds() == start {
            thread::yield_now();
        }
        let second = pack("inotify-trace-in-another-place");
        for ((name, first), (_, second)) in first.iter().zip(&second) {
            assert!(first == second, "{} is not the same twice", name.display());
        }
        assert_eq!(first[0].0.to_str(), Some("inotify-trace-0.0.1-aarch64.tar.xz"));
        assert_eq!(first[1].0.to_str(), Some("inotify-trace_0.0.1-1_arm64.deb"));
    }

    #[test]
    fn what_is_there_is_not_installed() {
        install(&[("sh", "no-such-package")]).unwrap();
    }
}
