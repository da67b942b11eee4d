//! The kernels: stock ones of Debian, which are fetched once and kept.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::index;
use super::mirror::Mirror;
use super::scratch::Scratch;
use xtask::architecture::{AARCH64, Architecture, X86_64};
use xtask::step;
use xtask::workspace::which;

/// In the order in which the agent prefers them.
pub const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// The time for which the last lookup of the newest kernel is valid.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// A kernel to boot, known by the suite of Debian it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The suite of Debian.
    pub suite: &'static str,
    /// The kernel's version, as 6.1.
    pub series: &'static str,
    /// The backends it is known to offer: one that is gone is a failure.
    pub backends: &'static [&'static str],
    pub architecture: &'static Architecture,
}

const fn x86_64(suite: &'static str, series: &'static str) -> Kernel {
    Kernel { suite, series, backends: &BACKENDS, architecture: &X86_64 }
}

const fn aarch64(
    suite: &'static str,
    series: &'static str,
    backends: &'static [&'static str],
) -> Kernel {
    Kernel { suite, series, backends, architecture: &AARCH64 }
}

/// The kernels that all tests know.
pub const ALL: [Kernel; 4] = [
    x86_64("bullseye", "5.10"),
    x86_64("bookworm", "6.1"),
    x86_64("trixie", "6.12"),
    // Not a stable suite: its kernel is the newest.
    x86_64("sid", "7"),
];

/// There, trampolines came with 6.4.
const ON_AARCH64: [Kernel; 4] = [
    aarch64("bullseye", "5.10", &["kprobe", "tracepoint"]),
    aarch64("bookworm", "6.1", &["kprobe", "tracepoint"]),
    aarch64("trixie", "6.12", &BACKENDS),
    aarch64("sid", "7", &BACKENDS),
];

/// The kernels for machines of `architecture`.
pub fn of(architecture: &Architecture) -> &'static [Kernel] {
    if *architecture == AARCH64 { &ON_AARCH64 } else { &ALL }
}

impl Kernel {
    /// What to call it where there are those of several architectures.
    pub fn label(self) -> String {
        if self.architecture == &X86_64 {
            return self.suite.to_owned();
        }
        format!("{}-{}", self.suite, self.architecture.debian)
    }

    /// The package that depends on its suite's newest kernel: the small one for virtual machines.
    fn package(self) -> String {
        format!("linux-image-cloud-{}", self.architecture.debian)
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        ALL.into_iter().find(|kernel| name == kernel.suite || name == kernel.series).ok_or_else(
            || {
                let names: Vec<_> = ALL
                    .iter()
                    .map(|kernel| format!("{} ({})", kernel.series, kernel.suite))
                    .collect();
                format!("the kernels are {}", names.join(", "))
            },
        )
    }
}

/// A kernel's image on this machine.
#[derive(Clone, Debug)]
pub struct Image {
    pub path: PathBuf,
    /// Version of the package.
    pub version: String,
    pub architecture: &'static Architecture,
}

/// The directory for downloads that are kept, by kind.
pub fn cache_directory(name: &str) -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .with_context(|| {
            format!("neither XDG_CACHE_HOME nor HOME says where to keep {name}: set one")
        })?;
    let directory = base.join("inotify-trace").join(name);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    Ok(directory)
}

/// The images kept on this machine.
pub struct Cache {
    directory: PathBuf,
    /// Held while an image is fetched: several machines may want it.
    fetching: Mutex<()>,
}

impl Cache {
    pub fn open() -> Result<Self> {
        let directory = cache_directory("kernels")?;
        Ok(Self { directory, fetching: Mutex::new(()) })
    }

    /// The image of the suite's newest kernel, or the one kept if the mirror cannot be asked.
    pub fn image(&self, kernel: Kernel) -> Result<Image> {
        let _alone = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.kept(kernel);
        if let Some((image, true)) = &kept {
            return Ok(image.clone());
        }
        match (self.newest(kernel), kept) {
            (Ok(image), _) => Ok(image),
            (Err(error), Some((image, _))) => {
                step::say(&format!(
                    "{}: {error:#}; going on with {}, which is kept from before",
                    kernel.suite, image.version
                ));
                Ok(image)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The image of the last lookup, and whether that lookup is recent.
    fn kept(&self, kernel: Kernel) -> Option<(Image, bool)> {
        let record = self.record(kernel);
        let name = fs::read_to_string(&record).ok()?;
        let image = self.named(name.trim(), kernel.architecture)?;
        let age = fs::metadata(&record).ok()?.modified().ok()?.elapsed().unwrap_or_default();
        Some((image, age < FRESH))
    }

    /// The image kept under `name`, which is PACKAGE_VERSION.
    fn named(&self, name: &str, architecture: &'static Architecture) -> Option<Image> {
        let (_, version) = name.rsplit_once('_')?;
        let path = self.directory.join(name);
        path.is_file().then(|| Image { path, version: version.to_owned(), architecture })
    }

    fn newest(&self, kernel: Kernel) -> Result<Image> {
        let mirror = Mirror::find()?;
        let name = format!(".{}.{}", kernel.label(), process::id());
        let work = Scratch::new(self.directory.join(name))?;
        let index = mirror.index(kernel.suite, kernel.architecture, &work.path)?;
        let wanted = kernel.package();
        let package = index::kernel(&index, &wanted)
            .with_context(|| format!("the package index of {} has no {wanted}", kernel.suite))?;
        // A version's colon is legal in a file's name, but not in QEMU's arguments.
        let name = format!("{}_{}", package.name, package.version.replace(':', "."));
        let image = match self.named(&name, kernel.architecture) {
            Some(image) => image,
            None => {
                step::say(&format!("fetching {} {}", package.name, package.version));
                let file = mirror.package(&package, &work.path)?;
                self.keep(&unpack(&file, is_kernel, &work.path)?, &name)?;
                let image = self.named(&name, kernel.architecture);
                image.with_context(|| format!("{name} is not a kernel's name"))?
            }
        };
        let record = self.record(kernel);
        fs::write(&record, &name).with_context(|| format!("cannot write {}", record.display()))?;
        Ok(image)
    }

    /// A static busybox: this machine's own, or Debian's for another architecture.
    pub fn busybox(&self, architecture: &Architecture) -> Result<PathBuf> {
        const SUITE: &str = "trixie";
        if architecture.is_here() {
            return which("busybox").context("busybox is not installed");
        }
        let _alone = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("busybox-{}", architecture.debian);
        let kept = self.directory.join(&name);
        if !kept.is_file() {
            let mirror = Mirror::find()?;
            let work = Scratch::new(self.directory.join(format!(".{name}.{}", process::id())))?;
            let index = mirror.index(SUITE, architecture, &work.path)?;
            let package = index::package(&index, "busybox-static")
                .with_context(|| format!("{SUITE} has no static busybox"))?;
            step::say(&format!("fetching busybox for {}", architecture.name));
            let file = mirror.package(&package, &work.path)?;
            self.keep(&unpack(&file, |path| path.ends_with("bin/busybox"), &work.path)?, &name)?;
        }
        Ok(kept)
    }

    fn keep(&self, file: &Path, name: &str) -> Result<()> {
        // By renaming: another run must not find half a file.
        fs::rename(file, self.directory.join(name))
            .with_context(|| format!("cannot keep {}", file.display()))
    }

    fn record(&self, kernel: Kernel) -> PathBuf {
        self.directory.join(format!("{}.newest", kernel.label()))
    }
}

/// Takes a file out of a package.
fn unpack(package: &Path, is_it: fn(&Path) -> bool, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("tree");
    step::output_of(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
    let mut pending = vec![tree];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() && is_it(&entry.path()) {
                return Ok(entry.path());
            }
        }
    }
    bail!("{} does not have in it what it was fetched for", package.display())
}

/// At /boot for long, and below /usr/lib/modules in the newest packages.
fn is_kernel(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
}

#[cfg(test)]
mod tests {
    use super::{ALL, Kernel};

    #[test]
    fn a_kernel_goes_by_its_suite_and_by_its_series() {
        for kernel in ALL {
            assert_eq!(kernel.suite.parse(), Ok(kernel));
            assert_eq!(kernel.series.parse(), Ok(kernel));
        }
        let error = "4.19".parse::<Kernel>().unwrap_err();
        assert!(error.contains("6.12 (trixie)"), "{error}");
    }
}
