//! The Debian package under systemd, from its installation to its removal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use xtask::architecture;
use xtask::dist;
use xtask::privilege;
use xtask::step;

use super::each_kernel::{EachKernel, Story};
use super::{Options, Place, rootfs};
use crate::boot::{Boot, End};
use crate::kernels::Image;
use crate::machine::Outcome;
use crate::report::{self, Report};
use crate::scratch::Scratch;
use crate::tools;

pub const NAME: &str = "systemd";

/// What makes the disk, on this machine.
const DISK: &str = include_str!("disk.sh");

/// The files of the machine's /programs.
const SCRIPTS: [(&str, &str); 2] =
    [("start.sh", include_str!("systemd-start.sh")), ("systemd.sh", include_str!("systemd.sh"))];

/// What starts them, by its name in /etc/systemd/system.
const UNIT: &str = include_str!("systemd.service");
const UNIT_NAME: &str = "scenario.service";

/// Packages that the script and the boot need besides a minimal Debian.
const PACKAGES: &[&str] =
    &["bpftool", "curl", "initramfs-tools", "linux-image-cloud-amd64", "systemd-sysv", "udev"];

/// The suites without a choice of kernels: the kernel is the suite's own.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// A machine for each suite, booted twice.
pub struct Systemd<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
}

impl<'a> Systemd<'a> {
    pub fn on_kernels(place: &'a Place<'a>, options: &'a Options) -> Result<EachKernel<Self>> {
        let kernels = match options.kernels.as_slice() {
            [] => SUITES.into_iter().filter_map(super::kernel).collect(),
            chosen => chosen.to_vec(),
        };
        tools::setup_for_disks()?;
        packages(place, options).context("cannot make the packages to install")?;
        Ok(EachKernel::new(Self { place, options }, kernels))
    }
}

impl Story for Systemd<'_> {
    const MEMORY: u32 = 1024;

    const SECONDS: u32 = 300;

    /// Boots the machine's disk twice; an error if a step fails.
    fn run(&self, report: &mut Report) -> Result<()> {
        let suite = report.kernel.suite;
        let archive = match rootfs::archive(NAME, suite, PACKAGES) {
            Ok(archive) => archive,
            Err(error) => {
                let allowed = self.options.allow_missing.contains(&report.kernel);
                let why = format!("Debian {suite} can't be had: {error:#}");
                report.result = report::Result::NotRun { why, allowed };
                return Ok(());
            }
        };
        // It is large, and the next run makes its own.
        let directory = Scratch::new(self.place.work.join(format!("{NAME}-{suite}-disk")))?;
        make_disk(&archive, &added(self.place.work), &directory.path)?;
        let image = image(&directory.path)?;
        report.version = Some(image.version.clone());
        for time in ["first", "second"] {
            let boot = Boot {
                image: &image,
                suite,
                name: format!("{}, {time} time", report.name()),
                directory: &format!("{NAME}-{suite}-{time}"),
                initramfs: &directory.path.join("initrd"),
                disk: Some(&directory.path.join("disk")),
                memory: Self::MEMORY,
                limit: self.options.limit,
                stream: self.options.stream,
            };
            let End { outcome, retried, kept } = boot.run(self.place.work, self.place.results)?;
            report.retried |= retried;
            match outcome {
                Outcome::Ended(0) => {}
                Outcome::Ended(_) => {
                    let output = fs::read_to_string(kept.join("output.txt")).unwrap_or_default();
                    if !self.options.stream {
                        step::say(&format!("output of {}:\n{output}", report.name()));
                    }
                    let failed = output.lines().find(|line| line.contains(" s: FAILED: "));
                    bail!("{}", failed.unwrap_or("it does not say what failed"));
                }
                Outcome::Lost { why, .. } => {
                    report.result = report::Result::Lost(why);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The directory whose content is added to Debian's.
fn added(work: &Path) -> PathBuf {
    work.join(format!("{NAME}-added"))
}

/// Makes what is added to Debian: the scripts, and the package in two versions.
fn packages(place: &Place<'_>, options: &Options) -> Result<()> {
    let added = added(place.work);
    let (programs, units) = (added.join("programs"), added.join("etc/systemd/system"));
    let wants = units.join("multi-user.target.wants");
    for directory in [&programs, &wants] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    for (path, text) in SCRIPTS
        .map(|(name, text)| (programs.join(name), text))
        .into_iter()
        .chain([(units.join(UNIT_NAME), UNIT)])
    {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    symlink(format!("../{UNIT_NAME}"), wants.join(UNIT_NAME)).context("cannot enable the unit")?;
    let package = match &options.package {
        Some(package) => package.clone(),
        None => dist::debian(place.workspace, &place.agent, place.work)?,
    };
    fs::copy(&package, programs.join("first.deb"))
        .with_context(|| format!("cannot copy {}", package.display()))?;
    make_later(&package, &place.work.join(format!("{NAME}-later")), &programs.join("second.deb"))
}

/// Makes a package's later version, which differs in nothing else.
fn make_later(package: &Path, tree: &Path, later: &Path) -> Result<()> {
    step::output_of(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(tree))?;
    let path = tree.join("DEBIAN/control");
    let control =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = control.lines().map(|line| match line.strip_prefix("Version: ") {
        Some(version) => format!("Version: {version}+later\n"),
        None => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    ensure!(changed.contains("+later\n"), "{} has no version", package.display());
    fs::write(&path, changed).with_context(|| format!("cannot write {}", path.display()))?;
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "-z0", "--build"]).arg(tree).arg(later);
    step::output_of(&mut build).map(drop)
}

/// Makes a disk of Debian, and takes out its kernel and initramfs.
fn make_disk(archive: &Path, added: &Path, directory: &Path) -> Result<()> {
    let script = directory.join("disk.sh");
    fs::write(&script, DISK).with_context(|| format!("cannot write {}", script.display()))?;
    let mut command = privilege::as_root("sh", "make a disk whose files belong to root")?;
    command.arg(&script).arg(archive).arg(added).arg(directory);
    step::output_of(&mut command).map(drop)
}

/// The disk's kernel. Its version is in the package that has it.
fn image(directory: &Path) -> Result<Image> {
    let path = directory.join("version");
    let version =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Image {
        path: directory.join("vmlinuz"),
        version: version.trim().to_owned(),
        architecture: architecture::here()?,
    })
}
