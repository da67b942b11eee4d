//! Recordings that nobody wrote, for what reads recordings: `fuzz/`, run by libFuzzer.

use std::env;
use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum as _;

use crate::apt;
use crate::kernel;
use crate::step;
use crate::tool::Tool;
use crate::toolchain::{self, Toolchain};
use crate::workspace::{OBJECT_VARIABLE, Workspace, which};

const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
    purpose: "fuzzing is done with cargo-fuzz: building it takes a minute, once",
};

/// What of a whole `cargo xtask test` each target takes.
const TEST_SECONDS: u32 = 15;

/// Whatever a file says of itself, reading it takes no more than this at once, and in all. The
/// address sanitizer's own memory is a part of the latter.
const MALLOC_LIMIT_MB: u32 = 128;
const RSS_LIMIT_MB: u32 = 1024;

/// Nothing this small takes long. The sanitizers and a busy machine are in that, too.
const TIMEOUT_SECONDS: u32 = 20;

/// Larger than the largest seed, and large enough for several frames.
const MAX_LENGTH: u32 = 1 << 16;

/// A target of `fuzz/`.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Target {
    /// Any bytes as a file.
    File,
    /// Any bytes as what is in frames.
    Frames,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Frames => "frames",
        }
    }
}

/// Runs one target, or all, each for so many seconds.
pub fn run(workspace: &Workspace, seconds: u32, target: Option<Target>) -> Result<()> {
    with(workspace, &toolchain::nightly()?, seconds, target)
}

/// A part of all tests, where there is a compiler for it.
pub fn test(workspace: &Workspace) -> Result<()> {
    match toolchain::nightly() {
        Ok(toolchain) => {
            step::say(&format!(
                "fuzzing for {TEST_SECONDS} s a target; `cargo xtask fuzz --seconds N` takes longer"
            ));
            with(workspace, &toolchain, TEST_SECONDS, None)
        }
        Err(error) => {
            step::say(&format!("NOT RUN: fuzzing, which needs rustup's nightly: {error:#}"));
            Ok(())
        }
    }
}

fn with(
    workspace: &Workspace,
    toolchain: &Toolchain,
    seconds: u32,
    target: Option<Target>,
) -> Result<()> {
    let cargo_fuzz = CARGO_FUZZ.setup(workspace)?;
    if which("c++").is_none() && env::var_os("CXX").is_none() {
        apt::update()?;
        apt::install(&["g++"], "for compiling libFuzzer")?;
    }
    let object = kernel::build(workspace)?;
    let command = |task: &str| -> Result<_> {
        let mut command = toolchain.command_of(&cargo_fuzz)?;
        command.current_dir(&workspace.root).env(OBJECT_VARIABLE, &object);
        command.args([task, "--fuzz-dir", "fuzz", "--sanitizer", "address", "--target-dir"]);
        command.arg(workspace.target.join("fuzz"));
        Ok(command)
    };
    step::run("building what is fuzzed (minutes, the first time)", &mut command("build")?)?;
    for target in
        Target::value_variants().iter().filter(|it| target.is_none_or(|only| only == **it))
    {
        let name = target.name();
        // What it finds goes where it is out of the way; the seeds are only read.
        let grown = workspace.target.join("fuzz-corpus").join(name);
        fs::create_dir_all(&grown).with_context(|| format!("cannot make {}", grown.display()))?;
        let mut command = command("run")?;
        // Looking for leaks needs to trace the process, which containers forbid. libFuzzer's own
        // option for that, -detect_leaks=0, would silently take the limit on allocations with it.
        command.env("ASAN_OPTIONS", "detect_leaks=0");
        command.arg(name).arg(&grown).arg(format!("fuzz/corpus/{name}")).arg("--");
        command.args([
            format!("-max_total_time={seconds}"),
            format!("-malloc_limit_mb={MALLOC_LIMIT_MB}"),
            format!("-rss_limit_mb={RSS_LIMIT_MB}"),
            format!("-timeout={TIMEOUT_SECONDS}"),
            format!("-max_len={MAX_LENGTH}"),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
            "-print_funcs=0".to_owned(),
        ]);
        step::run(&format!("fuzzing {name} for {seconds} s"), &mut command).with_context(|| {
            format!("the input is in fuzz/artifacts/{name}, and makes a good regression test")
        })?;
    }
    Ok(())
}
