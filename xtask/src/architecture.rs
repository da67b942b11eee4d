//! Processors that inotify-trace runs on: their names, and what builds and emulates for them.

use std::env::consts;
use std::path::Path;
use std::process::Command;

/// A program, and Debian's packages with it.
pub type Tool = (&'static str, &'static [&'static str]);

/// A processor.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Rust's and RPM's.
    pub name: &'static str,
    /// Debian's, and that of images.
    pub debian: &'static str,
    /// For static programs on any system.
    pub target: &'static str,
    /// A C compiler for it, on machines of any architecture.
    pub compiler: Tool,
    /// Runs a single program on other processors.
    emulator: Tool,
}

/// Intel's and AMD's.
pub const X86_64: Architecture = Architecture {
    name: "x86_64",
    debian: "amd64",
    target: "x86_64-unknown-linux-musl",
    compiler: ("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"]),
    emulator: ("qemu-x86_64", &["qemu-user"]),
};

/// ARM's.
pub const AARCH64: Architecture = Architecture {
    name: "aarch64",
    debian: "arm64",
    target: "aarch64-unknown-linux-musl",
    compiler: ("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
    emulator: ("qemu-aarch64", &["qemu-user"]),
};

/// All of them.
pub const ALL: [&Architecture; 2] = [&X86_64, &AARCH64];

impl Architecture {
    /// The one of this name, of Rust or of Debian.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let found = ALL.into_iter().find(|it| [it.name, it.debian].contains(&name));
        found.ok_or_else(|| format!("the architectures are {}", ALL.map(|it| it.name).join(", ")))
    }

    /// Whether it is this machine's.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.name == consts::ARCH
    }

    /// What has to be installed to build for it and to start what was built.
    #[must_use]
    pub fn tools(&self) -> Vec<Tool> {
        if self.is_here() { vec![self.compiler] } else { vec![self.compiler, self.emulator] }
    }

    /// A command that starts a static program for it on this machine.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        if self.is_here() {
            return Command::new(program);
        }
        let mut command = Command::new(self.emulator.0);
        command.arg(program);
        command
    }
}
