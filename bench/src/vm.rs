//! Measurements in a virtual machine: the kernel is the same whatever this machine runs.
//!
//! The only module that knows how a machine is run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::architecture::X86_64;
use xtask::step;
use xtask::vm::{self, Contents};
use xtask::workspace::Workspace;

use crate::machine;

/// The kernel with all of the agent's backends and with BPF iterators.
const KERNEL: &str = "6.12";

/// A measurement in a machine that has the agent and this program.
pub struct Guest {
    /// The machine's directory below target/vm.
    pub name: &'static str,
    /// In MiB.
    pub memory: u32,
    /// The longest time that the machine may run.
    pub limit: Duration,
    /// Other programs and their libraries, under the paths that they have here.
    pub files: Vec<PathBuf>,
    /// The directories with programs: a value for PATH.
    pub path: String,
    /// A task of this program with its arguments.
    pub task: String,
}

/// The output of a machine, and its kernel.
pub struct Printed {
    /// The lines.
    pub lines: String,
    /// The kernel's package, and the suite of Debian it is from.
    pub kernel: String,
    /// The emulator, and its version.
    pub emulator: String,
    /// Other programs that kept this machine busy meanwhile.
    pub disturbed: Option<String>,
}

/// Boots a machine that measures, and returns its output.
pub fn measure(workspace: &Workspace, guest: Guest) -> Result<Printed> {
    let before = machine::other_programs();
    let contents = Contents {
        name: guest.name,
        kernel: KERNEL,
        program: env!("CARGO_PKG_NAME"),
        files: guest.files,
        script: format!(
            "export PATH=\"{}\"\nexec {} {} --agent /programs/inotify-trace >/out/lines.tsv\n",
            guest.path,
            env!("CARGO_PKG_NAME"),
            guest.task,
        ),
        memory: guest.memory,
        limit: guest.limit,
    };
    let left = vm::run_single(workspace, &contents)?;
    let disturbed = before.or_else(machine::other_programs);
    let path = left.files.join("lines.tsv");
    let lines =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let kernel = format!("{} ({})", left.version, left.suite);
    Ok(Printed { lines, kernel, emulator: emulator(), disturbed })
}

/// Text of other programs must not break up a paragraph.
pub fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A program and the libraries that it loads.
pub fn with_libraries(program: PathBuf) -> Result<Vec<PathBuf>> {
    let listed = step::output_of(Command::new("ldd").arg(&program))?;
    let mut files = vec![program];
    files.extend(libraries(&listed)?);
    Ok(files)
}

/// The paths in the output of `ldd`.
fn libraries(listed: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in listed.lines() {
        if line.contains("not found") {
            bail!("a program lacks a library: {}", line.trim());
        }
        // `NAME => PATH (ADDRESS)`; the loader has a path only, and the kernel's own has none.
        paths.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(paths)
}

fn emulator() -> String {
    let said = step::output_of(Command::new(X86_64.machine.0).arg("--version")).unwrap_or_default();
    let version = said.split_once("version ").and_then(|(_, rest)| rest.split_whitespace().next());
    format!("QEMU {}", version.unwrap_or("of unknown version"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::libraries;

    #[test]
    fn libraries_are_those_with_a_path() {
        let listed = "\tlinux-vdso.so.1 (0x00007f)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/libz.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(listed).unwrap(), expected);
        assert!(libraries("\tlibz.so.1 => not found\n").is_err());
    }
}
