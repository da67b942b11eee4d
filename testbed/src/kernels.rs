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
use xtask::step;

/// In the order in which the agent prefers them.
pub const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// The package that depends on a suite's newest kernel: the small one for virtual machines.
const META: &str = "linux-image-cloud-amd64";

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
}

pub const ALL: [Kernel; 4] = [
    Kernel { suite: "bullseye", series: "5.10", backends: &BACKENDS },
    Kernel { suite: "bookworm", series: "6.1", backends: &BACKENDS },
    Kernel { suite: "trixie", series: "6.12", backends: &BACKENDS },
    // Not a stable suite: its kernel is the newest.
    Kernel { suite: "sid", series: "7", backends: &BACKENDS },
];

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
        let image = self.named(name.trim())?;
        let age = fs::metadata(&record).ok()?.modified().ok()?.elapsed().unwrap_or_default();
        Some((image, age < FRESH))
    }

    /// The image kept under `name`, which is PACKAGE_VERSION.
    fn named(&self, name: &str) -> Option<Image> {
        let (_, version) = name.rsplit_once('_')?;
        let path = self.directory.join(name);
        path.is_file().then(|| Image { path, version: version.to_owned() })
    }

    fn newest(&self, kernel: Kernel) -> Result<Image> {
        let mirror = Mirror::find()?;
        let name = format!(".{}.{}", kernel.suite, process::id());
        let work = Scratch::new(self.directory.join(name))?;
        let index = mirror.index(kernel.suite, &work.path)?;
        let package = index::kernel(&index, META)
            .with_context(|| format!("the package index of {} has no {META}", kernel.suite))?;
        // A version's colon is legal in a file's name, but not in QEMU's arguments.
        let name = format!("{}_{}", package.name, package.version.replace(':', "."));
        let image = match self.named(&name) {
            Some(image) => image,
            None => {
                step::say(&format!("fetching {} {}", package.name, package.version));
                let file = mirror.package(&package, &work.path)?;
                self.keep(&unpack(&file, &work.path)?, &name)?
            }
        };
        let record = self.record(kernel);
        fs::write(&record, &name).with_context(|| format!("cannot write {}", record.display()))?;
        Ok(image)
    }

    fn keep(&self, image: &Path, name: &str) -> Result<Image> {
        // By renaming: another run must not find half an image.
        fs::rename(image, self.directory.join(name))
            .with_context(|| format!("cannot keep {}", image.display()))?;
        self.named(name).with_context(|| format!("{name} is not a kernel's name"))
    }

    fn record(&self, kernel: Kernel) -> PathBuf {
        self.directory.join(format!("{}.newest", kernel.suite))
    }
}

/// Takes the kernel's image out of a package.
fn unpack(package: &Path, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("tree");
    step::output_of(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
    // At /boot for long, and below /usr/lib/modules in the newest packages.
    let mut pending = vec![tree];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Ok(entry.path());
            }
        }
    }
    bail!("{} has no kernel image (vmlinuz) in it", package.display())
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
