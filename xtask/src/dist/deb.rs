//! The package for Debian and its relatives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Release;
use super::contents::{self, Contents, SETTINGS};
use crate::agent;
use crate::architecture::Architecture;
use crate::step;

const COPYRIGHT: &str = include_str!("copyright");
const MAINTAINER: &str = "inotify-trace developers <noreply@inotify-trace.invalid>";

/// lintian's findings that are meant to be so, with the reasons.
const OVERRIDES: &str = "\
# Runs on every system from Debian 11 on, whatever its C library.
inotify-trace: statically-linked-binary
# Of a static program that can be loaded anywhere (static-pie).
inotify-trace: shared-library-lacks-prerequisites
# It is no package of Debian's, which has no bug about it.
inotify-trace: initial-upload-closes-no-bugs
";

const POSTINST: &str = r#"#!/bin/sh
set -e
case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove)
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
        # Who uses the unit gets the new program; nobody else gets it started.
        if [ -n "$2" ]; then
            deb-systemd-invoke try-restart inotify-trace.service >/dev/null || true
        fi
    fi
    ;;
esac
"#;

const PRERM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop inotify-trace.socket inotify-trace.service >/dev/null || true
fi
"#;

const POSTRM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
    # The links of units that were enabled, and what the unit kept.
    rm -f /etc/systemd/system/multi-user.target.wants/inotify-trace.service
    rm -f /etc/systemd/system/sockets.target.wants/inotify-trace.socket
    rm -rf /var/lib/inotify-trace
fi
"#;

/// Makes the package in `out`, and returns its path.
pub fn make(
    release: &Release<'_>,
    architecture: &Architecture,
    contents: &Contents,
    out: &Path,
) -> Result<PathBuf> {
    let workspace = release.workspace;
    let tree = workspace.target.join("dist-build/deb");
    contents::empty(&tree)?;
    let root = tree.join("usr");
    contents::install(workspace, contents, &root, "/usr")?;
    contents::settings(workspace, &tree.join(SETTINGS))?;
    let version = format!("{}-1", release.version);
    let documents = contents::documents(&root);
    contents::write(&documents.join("copyright"), COPYRIGHT, 0o644)?;
    // As Debian's policy names it.
    let changes = documents.join("CHANGELOG.md");
    let text = fs::read(&changes).context("cannot read the changelog")?;
    contents::compressed(&documents.join("changelog"), &text)?;
    fs::remove_file(&changes).context("cannot remove a changelog")?;
    let changes = changelog(release, &version)?;
    contents::compressed(&documents.join("changelog.Debian"), changes.as_bytes())?;
    // Where Debian's zsh looks.
    let completions = root.join("share/zsh");
    fs::rename(completions.join("site-functions"), completions.join("vendor-completions"))
        .context("cannot move the completions for zsh")?;
    let overrides = root.join("share/lintian/overrides").join(agent::NAME);
    contents::write(&overrides, OVERRIDES, 0o644)?;

    let sums = sums(&tree)?;
    let size = size(&tree)?;
    let control = tree.join("DEBIAN");
    let text = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {}\nSection: admin\nPriority: optional\n\
         Homepage: https://github.com/inotify-trace/inotify-trace\n\
         Description: traces inotify instances, watches, failures and leaks\n \
         Shows which process, container and pod creates, holds and leaks inotify\n \
         instances, with the kernel's own count against the limit beside each event.\n \
         .\n \
         It needs Linux 5.10 or later with BTF. The service is not enabled by itself:\n \
         systemctl enable --now inotify-trace\n",
        architecture.debian,
        size.div_ceil(1024),
        name = agent::NAME,
    );
    contents::write(&control.join("control"), text, 0o644)?;
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
        contents::write(&control.join(name), script, 0o755)?;
    }
    contents::write(&control.join("conffiles"), format!("/{SETTINGS}\n"), 0o644)?;
    contents::write(&control.join("md5sums"), sums, 0o644)?;
    let package = out.join(format!("{}_{version}_{}.deb", agent::NAME, architecture.debian));
    step::output_of(release.command("chmod").args(["-R", "u=rwX,go=rX"]).arg(&tree))?;
    // xz: Debian 11 knows no other that is as small. Without threads, as in the other archive.
    let mut command = release.command("dpkg-deb");
    command.args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"]);
    step::output_of(command.arg(&tree).arg(&package))?;
    Ok(package)
}

fn changelog(release: &Release<'_>, version: &str) -> Result<String> {
    let mut date = release.command("date");
    let date = step::output_of(date.arg(format!("--date=@{}", release.time)).arg("--rfc-email"))?;
    Ok(format!(
        "{} ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {MAINTAINER}  {}\n",
        agent::NAME,
        date.trim()
    ))
}

/// The size of a tree's files.
fn size(tree: &Path) -> Result<u64> {
    let sizes = contents::files(tree)?.into_iter();
    sizes.map(|file| Ok(fs::metadata(tree.join(file))?.len())).sum()
}

fn sums(tree: &Path) -> Result<String> {
    let mut command = Command::new("md5sum");
    // Settings are there to be changed.
    let files = contents::files(tree)?.into_iter().filter(|file| file != SETTINGS);
    step::output_of(command.current_dir(tree).args(files))
}
