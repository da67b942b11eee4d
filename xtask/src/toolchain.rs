//! The compiler of the kernel programs.
//!
//! It must know the BPF target, come with the source of `core`, and have the LLVM that bpf-linker
//! was made for. rustup has one, and so has Debian's security suite, where a machine may have no
//! other source.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::apt;
use crate::environment;
use crate::step;

/// The BPF target of a little-endian machine.
pub const TARGET: &str = "bpfel-unknown-none";

/// Pinned: a later nightly may have an LLVM that bpf-linker cannot work with.
const NIGHTLY: &str = "nightly-2026-05-20";
const LLVM_MAJOR: &str = "22";

/// Debian's packages, and the first version with that LLVM.
const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
const PACKAGES_SINCE: (u32, u32) = (1, 96);

/// Long enough for a slow line, short enough for a machine that just swallows what is sent.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

/// A directory with `cargo` and `rustc` that can compile the kernel programs.
pub struct Toolchain {
    bin: PathBuf,
}

impl Toolchain {
    /// The one that builds everything but the kernel programs.
    pub fn of_cargo() -> Result<Self> {
        let cargo = env::var_os("CARGO").context("this was not started by cargo")?;
        let bin = Path::new(&cargo).parent().context("cargo has no directory")?.to_path_buf();
        Ok(Self { bin })
    }

    pub fn tool(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A command of this toolchain, and of no other that the user or cargo has chosen.
    pub fn command(&self, name: &str) -> Result<Command> {
        self.command_of(&self.tool(name))
    }

    /// A command of a program that is to find this toolchain, and no other.
    pub fn command_of(&self, program: &Path) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.bin.clone()].into_iter().chain(env::split_paths(&path)))
            .context("cannot put a compiler's directory in PATH")?;
        let mut command = environment::without_toolchain(Command::new(program));
        // `-Z build-std` is for nightly compilers only; it is what the BPF target, which has no
        // ready-made `core`, takes from a stable one.
        command.env("PATH", path).env("RUSTC", self.tool("rustc")).env("RUSTC_BOOTSTRAP", "1");
        Ok(command)
    }

    /// The directory that the compiler is installed in.
    pub fn sysroot(&self) -> Result<PathBuf> {
        let sysroot = step::output_of(self.command("rustc")?.args(["--print", "sysroot"]))?;
        Ok(PathBuf::from(sysroot.trim()))
    }

    /// The LLVM library of the compiler.
    pub fn llvm(&self) -> Result<PathBuf> {
        let rustc = self.tool("rustc");
        // Loader settings of our own cargo would answer for the wrong compiler.
        let mut ldd = environment::without_toolchain(Command::new("ldd"));
        let libraries = step::output_of(ldd.arg(&rustc))?;
        libraries
            .lines()
            .filter_map(|line| line.trim().split_once(" => "))
            .find(|(name, _)| name.starts_with("libLLVM"))
            .and_then(|(_, file)| file.split(" (").next())
            .map(PathBuf::from)
            .with_context(|| {
                format!("{} is not linked with an LLVM library of its own", rustc.display())
            })
    }

    /// Why the toolchain in `bin` is of no use, or the toolchain.
    fn check(bin: PathBuf) -> Result<Self> {
        let toolchain = Self { bin };
        let (rustc, cargo) = (toolchain.tool("rustc"), toolchain.tool("cargo"));
        for tool in [&rustc, &cargo] {
            if !tool.is_file() {
                bail!("there is no {}", tool.display());
            }
        }
        let version = step::output_of(toolchain.command("rustc")?.arg("-vV"))?;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        if llvm.and_then(|llvm| llvm.split('.').next()) != Some(LLVM_MAJOR) {
            bail!(
                "{} has LLVM {}, and {LLVM_MAJOR} is needed",
                rustc.display(),
                llvm.unwrap_or("of no known version")
            );
        }
        let core = toolchain.sysroot()?.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !core.exists() {
            bail!("{} has no source of core ({})", rustc.display(), core.display());
        }
        Ok(toolchain)
    }
}

/// Where a toolchain can come from.
#[derive(Clone, Copy, PartialEq)]
enum Road {
    Rustup,
    System,
}

impl Road {
    /// The roads allowed, in the order to try them.
    fn allowed() -> Result<Vec<Self>> {
        const NAME: &str = "INOTIFY_TRACE_BPF_TOOLCHAIN";
        match env::var(NAME).as_deref() {
            Err(_) | Ok("") => Ok(vec![Self::Rustup, Self::System]),
            Ok("rustup") => Ok(vec![Self::Rustup]),
            Ok("system") => Ok(vec![Self::System]),
            Ok(other) => bail!("{NAME} is {other:?}: it can be rustup or system"),
        }
    }

    /// The toolchain, if it is there.
    fn existing(self) -> Result<Toolchain> {
        match self {
            Self::Rustup => Toolchain::check(rustups()?),
            Self::System => Toolchain::check(PathBuf::from("/usr/bin")),
        }
    }

    fn install(self) -> Result<()> {
        match self {
            Self::Rustup => {
                let mut rustup = environment::without_toolchain(Command::new("rustup"));
                rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
                rustup.args(["--component", "rust-src", "--no-self-update"]);
                step::say(
                    "the kernel programs need a compiler with the source of its core library",
                );
                let what = format!("installing rustup's {NIGHTLY} with rust-src (about 120 MB)");
                step::run_within(DOWNLOAD_LIMIT, &what, &mut rustup)
            }
            Self::System => {
                apt::update()?;
                let package = PACKAGES[0];
                let (major, minor) = PACKAGES_SINCE;
                let Some(version) = apt::candidate(package) else {
                    bail!("apt has no package {package} on this system");
                };
                if release(&version).is_none_or(|release| release < PACKAGES_SINCE) {
                    bail!("apt's {package} is {version}, and {major}.{minor} is needed");
                }
                apt::install(PACKAGES, "for compiling the kernel programs")
            }
        }
    }
}

/// Where rustup has its nightly, if it does.
fn rustups() -> Result<PathBuf> {
    let mut rustup = environment::without_toolchain(Command::new("rustup"));
    // Asking must not start a download.
    rustup.env("RUSTUP_AUTO_INSTALL", "0");
    let rustc = step::output_of(rustup.args(["which", "--toolchain", NIGHTLY, "rustc"]))?;
    let bin = Path::new(rustc.trim()).parent().context("rustc has no directory")?;
    Ok(bin.to_path_buf())
}

/// The compiler that builds everything but the kernel programs, if it comes with sanitizers: rustup's
/// do, Debian's do not. The kernel programs' own may be too old for the agent.
pub fn sanitizing() -> Result<Toolchain> {
    let toolchain = Toolchain::of_cargo()?;
    let mut rustc = toolchain.command("rustc")?;
    let libraries = step::output_of(rustc.args(["--print", "target-libdir"]))?;
    let libraries = Path::new(libraries.trim());
    let entries =
        fs::read_dir(libraries).with_context(|| format!("cannot read {}", libraries.display()))?;
    let mut names = entries.flatten().map(|entry| entry.file_name());
    if !names.any(|name| name.to_string_lossy().contains("_rt.asan")) {
        bail!(
            "there is no address sanitizer in {}: rustup's compilers have it",
            libraries.display()
        );
    }
    Ok(toolchain)
}

/// The first two numbers of a package's version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A toolchain for the kernel programs, installed if there was none.
pub fn setup() -> Result<Toolchain> {
    let roads = Road::allowed()?;
    // Both are looked for before anything is installed: the network is the last resort.
    for road in &roads {
        if let Ok(toolchain) = road.existing() {
            return Ok(toolchain);
        }
    }
    let mut failures = String::new();
    for road in &roads {
        match road.install().and_then(|()| road.existing()) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => {
                step::say(&format!("that did not work: {error:#}"));
                failures.push_str(&format!("\n  - {error:#}"));
            }
        }
    }
    Err(anyhow!(
        "there is no compiler for the kernel programs, and none could be installed:{failures}\n\
         Do one of these and try again:\n\
         \x20 - rustup toolchain install {NIGHTLY} --profile minimal --component rust-src\n\
         \x20 - apt-get install {} ({}.{} or later: Debian's security suites have it)\n\
         \x20 - set INOTIFY_TRACE_BPF_OBJECT to an inotify-trace.bpf.o built elsewhere",
        PACKAGES.join(" "),
        PACKAGES_SINCE.0,
        PACKAGES_SINCE.1,
    ))
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn debian_versions_are_compared_by_number() {
        assert_eq!(release("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert!(release("1.100.0") > release("1.96.0"));
        assert_eq!(release("(none)"), None);
    }
}
