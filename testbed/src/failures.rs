//! The failures of the last run, for `--again`.

use std::fmt::{self, Display};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xtask::workspace::Workspace;

/// A part of the tests that can be run again alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A test on this machine's kernel.
    Here { binary: String, test: String },
    /// A live test on another kernel, by suite.
    Kernel { suite: String, backend: String, test: String },
    /// A kernel whose machine stopped before the end of its tests, by suite.
    Machine { suite: String },
    /// A scenario with a kernel, by suite.
    Scenario { name: String, suite: String },
    /// A fuzz target.
    Fuzzing { target: String },
    /// The loads of the benchmarks.
    Loads,
}

impl Failure {
    fn line(&self) -> String {
        let fields: [&str; 4] = match self {
            Self::Here { binary, test } => ["here", binary, test, ""],
            Self::Kernel { suite, backend, test } => ["kernel", suite, backend, test],
            Self::Machine { suite } => ["machine", suite, "", ""],
            Self::Scenario { name, suite } => ["scenario", name, suite, ""],
            Self::Fuzzing { target } => ["fuzzing", target, "", ""],
            Self::Loads => ["loads", "", "", ""],
        };
        format!("{}\n", fields.join("\t").trim_end())
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let mut fields = fields.into_iter();
        let kind = fields.next()?;
        let mut field = || fields.next();
        Some(match kind.as_str() {
            "here" => Self::Here { binary: field()?, test: field()? },
            "kernel" => Self::Kernel { suite: field()?, backend: field()?, test: field()? },
            "machine" => Self::Machine { suite: field()? },
            "scenario" => Self::Scenario { name: field()?, suite: field()? },
            "fuzzing" => Self::Fuzzing { target: field()? },
            "loads" => Self::Loads,
            _ => return None,
        })
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { binary, test } => write!(f, "on this kernel: {binary} {test}"),
            Self::Kernel { suite, backend, test } => {
                write!(f, "on the kernel of {suite}, {backend}: {test}")
            }
            Self::Machine { suite } => write!(f, "the kernel of {suite}"),
            Self::Scenario { name, suite } => write!(f, "the scenario {name} on {suite}"),
            Self::Fuzzing { target } => write!(f, "fuzzing {target}"),
            Self::Loads => write!(f, "the loads of the benchmarks"),
        }
    }
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tests").join("failed.tsv")
}

/// The failures of the last run.
pub fn read(workspace: &Workspace) -> Result<Vec<Failure>> {
    let path = path(workspace);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(Failure::parse).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// For the next time.
pub fn write(workspace: &Workspace, failures: &[Failure]) -> Result<()> {
    let path = path(workspace);
    let text: String = failures.iter().map(Failure::line).collect();
    let directory = path.parent().unwrap_or(&workspace.target);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn what_is_written_can_be_read() {
        let name = |name: &str| name.to_owned();
        for failure in [
            Failure::Here { binary: name("live"), test: name("a::here") },
            Failure::Kernel { suite: name("sid"), backend: name("kprobe"), test: name("a::b") },
            Failure::Machine { suite: name("sid") },
            Failure::Scenario { name: name("runtimes"), suite: name("bookworm") },
            Failure::Fuzzing { target: name("file") },
            Failure::Loads,
        ] {
            assert_eq!(Failure::parse(failure.line().trim_end()), Some(failure));
        }
        assert_eq!(Failure::parse("kernel\tsid"), None);
    }
}
