//! The Debian package under systemd, from its installation to its removal.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::dist;
use xtask::step;

use super::disk::{Added, Disk};
use super::each_kernel::{EachKernel, Story};
use super::{Options, Place, outcome};
use crate::boot::Boot;
use crate::report::Report;
use crate::tools;

pub const NAME: &str = "systemd";

const STORY: &str = include_str!("systemd.sh");

/// Packages that the script needs besides those of the boot.
const PACKAGES: [&str; 2] = ["bpftool", "curl"];

/// The suites without a choice of kernels: the kernel is the suite's own.
const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// A machine for each suite, booted twice.
pub struct Systemd<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
    added: Added,
}

impl<'a> Systemd<'a> {
    pub fn on_kernels(place: &'a Place<'a>, options: &'a Options) -> Result<EachKernel<Self>> {
        let kernels = match options.kernels.as_slice() {
            [] => SUITES.into_iter().filter_map(super::kernel).collect(),
            chosen => chosen.to_vec(),
        };
        tools::setup_for_disks()?;
        let added = Added::new(place.work.join(format!("{NAME}-added")), STORY)?;
        packages(place, options, &added).context("cannot make the packages to install")?;
        Ok(EachKernel::new(Self { place, options, added }, kernels))
    }
}

impl Story for Systemd<'_> {
    const MEMORY: u32 = 1024;

    const SECONDS: u32 = 300;

    /// Boots the machine's disk twice; an error if a step fails.
    fn run(&self, report: &mut Report) -> Result<()> {
        let suite = report.kernel.suite;
        let disk =
            Disk::of_scenario(NAME, &PACKAGES, &self.added, self.place, self.options, report)?;
        let Some(disk) = disk else { return Ok(()) };
        for time in ["first", "second"] {
            let boot = Boot {
                image: &disk.image,
                suite,
                name: format!("{}, {time} time", report.name()),
                directory: &format!("{NAME}-{suite}-{time}"),
                initramfs: &disk.initramfs(),
                disk: Some(&disk.path()),
                own_time: false,
                memory: Self::MEMORY,
                limit: self.options.limit,
                stream: self.options.stream,
            };
            let end = boot.run(self.place.work, self.place.results)?;
            if !outcome::is_well(&end, report, self.options.stream) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Adds the package in two versions.
fn packages(place: &Place<'_>, options: &Options, added: &Added) -> Result<()> {
    let package = match &options.package {
        Some(package) => package.clone(),
        None => dist::debian(place.workspace, &place.agent, place.work)?,
    };
    added.copy(&package, "programs/first.deb")?;
    let later = added.place("programs/second.deb")?;
    make_later(&package, &place.work.join(format!("{NAME}-later")), &later)
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
