//! Processors that inotify-trace runs on: their names, and what builds and emulates for them.

use std::env::consts;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};

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
    /// Runs a whole machine.
    pub machine: Tool,
    /// The machine: its board and its serial ports, of which Linux calls those behind the console
    /// ttyS1, ttyS2 and ttyS3. They go to the character devices console, output, archive and progress.
    pub board: &'static [&'static str],
    /// What Linux calls the port of the console.
    pub console: &'static str,
}

/// Intel's and AMD's.
pub const X86_64: Architecture = Architecture {
    name: "x86_64",
    debian: "amd64",
    target: "x86_64-unknown-linux-musl",
    compiler: ("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"]),
    emulator: ("qemu-x86_64", &["qemu-user"]),
    machine: ("qemu-system-x86_64", &["qemu-system-x86"]),
    // On the microvm machine, which would boot faster, kernels hang at random while they measure
    // their clocks under emulation.
    // Kernels that are told of fast string instructions copy and clear with them, byte by byte, which
    // under emulation is what takes a third of the kernel's time. And each walk through the page tables,
    // which emulation makes often, takes longer with five levels.
    board: &[
        "-machine",
        "q35",
        "-cpu",
        "max,erms=off,la57=off",
        "-serial",
        "chardev:console",
        "-serial",
        "chardev:output",
        "-serial",
        "chardev:archive",
        "-serial",
        "chardev:progress",
    ],
    console: "ttyS0",
};

/// ARM's.
pub const AARCH64: Architecture = Architecture {
    name: "aarch64",
    debian: "arm64",
    target: "aarch64-unknown-linux-musl",
    compiler: ("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
    emulator: ("qemu-aarch64", &["qemu-user"]),
    machine: ("qemu-system-aarch64", &["qemu-system-arm"]),
    // Newer processors sign their pointers, which under emulation is most of what they do.
    // The board has a port of its own only for the console.
    board: &[
        "-machine",
        "virt",
        "-cpu",
        "cortex-a72",
        "-serial",
        "chardev:console",
        "-chardev",
        "null,id=none",
        "-device",
        "pci-serial-4x,chardev1=none,chardev2=output,chardev3=archive,chardev4=progress",
    ],
    console: "ttyAMA0",
};

/// All of them.
pub const ALL: [&Architecture; 2] = [&X86_64, &AARCH64];

/// This machine's.
pub fn here() -> Result<&'static Architecture> {
    Architecture::named(consts::ARCH)
        .map_err(|why| anyhow!("this machine is {}: {why}", consts::ARCH))
}

impl Architecture {
    /// The one of this name, of Rust or of Debian.
    pub fn named(name: &str) -> std::result::Result<&'static Self, String> {
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

    /// Has cargo find the C compiler, as compiler of C and as linker.
    pub fn compile(&self, cargo: &mut Command) {
        let (compiler, _) = self.compiler;
        let target = self.target.replace('-', "_");
        let linker = format!("CARGO_TARGET_{target}_LINKER").to_uppercase();
        cargo.env(format!("CC_{target}"), compiler).env(linker, compiler);
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
