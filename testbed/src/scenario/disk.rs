//! Machines with a whole Debian on a disk, which systemd starts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::architecture;
use xtask::privilege;
use xtask::step;

use super::{Options, Place, rootfs};
use crate::kernels::Image;
use crate::report::{self, Report};
use crate::scratch::Scratch;

/// What makes the disk, on this machine.
const MAKE: &str = include_str!("disk.sh");

/// What starts the story, and the unit that starts that.
const START: &str = include_str!("disk-start.sh");
const UNIT: &str = include_str!("disk.service");

/// The unit's name in /etc/systemd/system.
const UNIT_NAME: &str = "scenario.service";

/// What stories' scripts have in common.
const SHELL: &str = include_str!("shell.sh");

/// Packages that the boot needs besides a minimal Debian.
const PACKAGES: [&str; 4] = ["initramfs-tools", "linux-image-cloud-amd64", "systemd-sysv", "udev"];

/// The files that are added to Debian's.
pub struct Added {
    directory: PathBuf,
}

impl Added {
    /// Begins with what runs `story` when the machine has started.
    pub fn new(directory: PathBuf, story: &str) -> Result<Self> {
        let added = Self { directory };
        added.write("programs/start.sh", START)?;
        added.write("programs/shell.sh", SHELL)?;
        added.write("programs/story.sh", story)?;
        let unit = format!("etc/systemd/system/{UNIT_NAME}");
        added.write(&unit, UNIT)?;
        let wanted =
            added.place(&format!("etc/systemd/system/multi-user.target.wants/{UNIT_NAME}"))?;
        symlink(format!("../{UNIT_NAME}"), wanted).context("cannot enable the unit")?;
        Ok(added)
    }

    /// Where a file of the disk is made.
    pub fn place(&self, path: &str) -> Result<PathBuf> {
        let path = self.directory.join(path);
        let parent = path.parent().context("a file without a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        Ok(path)
    }

    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.place(path)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn copy(&self, from: &Path, path: &str) -> Result<()> {
        let to = self.place(path)?;
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display())).map(drop)
    }

    /// Keeps a unit of Debian's from being started.
    pub fn mask(&self, unit: &str) -> Result<()> {
        let path = self.place(&format!("etc/systemd/system/{unit}"))?;
        symlink("/dev/null", path).with_context(|| format!("cannot mask {unit}"))
    }
}

/// A disk with its kernel and initramfs, which is large and goes with this.
pub struct Disk {
    directory: Scratch,
    pub image: Image,
}

impl Disk {
    /// The disk of a scenario's machine, with these packages of the report's suite; None, which the
    /// report tells, if that Debian can't be had.
    pub fn of_scenario(
        name: &str,
        packages: &[&str],
        added: &Added,
        place: &Place<'_>,
        options: &Options,
        report: &mut Report,
    ) -> Result<Option<Self>> {
        let suite = report.kernel.suite;
        let archive = match rootfs::archive(name, suite, &[&PACKAGES[..], packages].concat()) {
            Ok(archive) => archive,
            Err(error) => {
                let allowed = options.allow_missing.contains(&report.kernel);
                let why = format!("Debian {suite} can't be had: {error:#}");
                report.result = report::Result::NotRun { why, allowed };
                return Ok(None);
            }
        };
        let disk = Self::make(&archive, added, place.work.join(format!("{name}-{suite}-disk")))?;
        report.version = Some(disk.image.version.clone());
        Ok(Some(disk))
    }

    /// Makes a disk of Debian in an archive, and takes out its kernel and initramfs.
    fn make(archive: &Path, added: &Added, directory: PathBuf) -> Result<Self> {
        let directory = Scratch::new(directory)?;
        let script = directory.path.join("disk.sh");
        fs::write(&script, MAKE).with_context(|| format!("cannot write {}", script.display()))?;
        let mut command = privilege::as_root("sh", "make a disk whose files belong to root")?;
        command.arg(&script).arg(archive).arg(&added.directory).arg(&directory.path);
        step::output_of(&mut command)?;
        // The version is in the package that has it.
        let version = directory.path.join("version");
        let version = fs::read_to_string(&version)
            .with_context(|| format!("cannot read {}", version.display()))?;
        let image = Image {
            path: directory.path.join("vmlinuz"),
            version: version.trim().to_owned(),
            architecture: architecture::here()?,
        };
        Ok(Self { directory, image })
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path.join("disk")
    }

    pub fn initramfs(&self) -> PathBuf {
        self.directory.path.join("initrd")
    }
}
