//! Fuzzes the code that reads recordings: `fuzz/`, run by libFuzzer.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum as _;

use crate::apt;
use crate::kernel;
use crate::programs;
use crate::step;
use crate::toolchain::{self, Toolchain};
use crate::workspace::{OBJECT_VARIABLE, Workspace, expect_built, which};

/// Whatever a file says of itself, reading it takes no more than this at once, and in all. The
/// address sanitizer's own memory is a part of the latter.
const MALLOC_LIMIT_MB: u32 = 128;
const RSS_LIMIT_MB: u32 = 1024;

/// Nothing this small takes long. The sanitizers and a busy machine are in that, too.
const TIMEOUT_SECONDS: u32 = 20;

/// Larger than the largest seed, and large enough for several frames.
const MAX_LENGTH: u32 = 1 << 16;

/// What libFuzzer needs of the compiler to see which code an input reaches and what it is compared
/// with; the rest makes mistakes show.
const FLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    // Branches that are folded into one are not told apart.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    // Functions of other units would not be inlined once they are instrumented.
    "-Ccodegen-units=1",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
];

/// A target of `fuzz/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Any bytes as a file.
    File,
    /// Any bytes as the content of frames.
    Frames,
}

impl Target {
    /// All targets.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Frames => "frames",
        }
    }
}

/// Runs one target, or all, each for so many seconds.
pub fn run(workspace: &Workspace, seconds: u32, target: Option<Target>) -> Result<()> {
    let fuzzer = Fuzzer::build(workspace)?;
    for chosen in Target::all().iter().filter(|it| target.is_none_or(|only| only == **it)) {
        let what = format!("fuzzing {} for {seconds} s", chosen.name());
        step::run(&what, &mut fuzzer.command(*chosen, seconds)?)
            .with_context(|| fuzzer.advice(*chosen))?;
    }
    Ok(())
}

/// The programs, ready to run.
pub struct Fuzzer<'a> {
    workspace: &'a Workspace,
    programs: PathBuf,
}

impl<'a> Fuzzer<'a> {
    /// An error where no compiler has what fuzzing needs.
    pub fn check() -> Result<()> {
        toolchain::sanitizing().map(drop)
    }

    /// Builds them, and installs what that needs.
    pub fn build(workspace: &'a Workspace) -> Result<Self> {
        let toolchain = toolchain::sanitizing()?;
        if which("c++").is_none() && env::var_os("CXX").is_none() {
            apt::update()?;
            apt::install(&["g++"], "for compiling libFuzzer")?;
        }
        let programs = build(workspace, &toolchain)?;
        Ok(Self { workspace, programs })
    }

    /// Runs a target; an error says where the input is that it failed with. What it prints comes to
    /// a file.
    pub fn fuzz(&self, target: Target, seconds: u32, output: &Path) -> Result<()> {
        let file =
            File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = self.command(target, seconds)?;
        command.stdout(file.try_clone()?).stderr(file);
        step::run(&format!("fuzzing {} for {seconds} s", target.name()), &mut command)
            .with_context(|| format!("{}; see {}", self.advice(target), output.display()))
    }

    fn command(&self, target: Target, seconds: u32) -> Result<Command> {
        let name = target.name();
        let root = &self.workspace.root;
        // What it finds goes where it is out of the way; the seeds are only read.
        let grown = self.workspace.target.join("fuzz-corpus").join(name);
        let artifacts = root.join("fuzz/artifacts").join(name);
        for directory in [&grown, &artifacts] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(root);
        // Looking for leaks needs to trace the process, which containers forbid. libFuzzer's own
        // option for that, -detect_leaks=0, would silently take the limit on allocations with it.
        command.env("ASAN_OPTIONS", "detect_leaks=0:detect_odr_violation=0");
        command.arg(&grown).arg(format!("fuzz/corpus/{name}"));
        command.args([
            format!("-artifact_prefix={}/", artifacts.display()),
            format!("-max_total_time={seconds}"),
            format!("-malloc_limit_mb={MALLOC_LIMIT_MB}"),
            format!("-rss_limit_mb={RSS_LIMIT_MB}"),
            format!("-timeout={TIMEOUT_SECONDS}"),
            format!("-max_len={MAX_LENGTH}"),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
            "-print_funcs=0".to_owned(),
        ]);
        Ok(command)
    }

    fn advice(&self, target: Target) -> String {
        format!(
            "the input is in fuzz/artifacts/{}, and makes a good regression test",
            target.name()
        )
    }
}

/// The directory of the programs.
fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let object = kernel::build(workspace)?;
    let host = programs::host()?;
    // Its own directory: no other build has these flags.
    let target = workspace.target.join("fuzz");
    let mut command = toolchain.command("cargo")?;
    command
        .current_dir(workspace.root.join("fuzz"))
        .env(OBJECT_VARIABLE, object)
        .env("CARGO_ENCODED_RUSTFLAGS", [&FLAGS[..], &["--cfg", "fuzzing"]].concat().join("\x1f"))
        // With the target named, build scripts do without the flags.
        .args(["build", "--release", "--bins", "--target", &host, "--target-dir"])
        .arg(&target);
    step::run("building what is fuzzed", &mut command)?;
    let directory = target.join(host).join("release");
    expect_built("what is fuzzed", directory.join(Target::File.name()))?;
    Ok(directory)
}
