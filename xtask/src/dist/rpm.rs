//! The package for Fedora, RHEL, SUSE and their relatives.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Release;
use super::contents::{self, Contents, SETTINGS};
use crate::agent;
use crate::architecture::Architecture;
use crate::step;

/// Makes the package in `out`, and returns its path.
pub fn make(
    release: &Release<'_>,
    architecture: &Architecture,
    contents: &Contents,
    out: &Path,
) -> Result<PathBuf> {
    let work = release.workspace.target.join("dist-build/rpm");
    contents::empty(&work)?;
    let tree = work.join("tree");
    contents::install(release.workspace, contents, &tree.join("usr"), "/usr")?;
    contents::settings(release.workspace, &tree.join(SETTINGS))?;
    let spec = work.join("inotify-trace.spec");
    contents::write(&spec, text(&release.version, &contents::files(&tree)?), 0o644)?;
    let mut command = release.command("rpmbuild");
    command.args(["-bb", "--quiet", "--target", architecture.name]);
    let define = |name: &str, value: &str| format!("{name} {value}");
    let path = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
    for (name, value) in [
        ("_topdir", path(&work)?),
        ("_tree", path(&tree)?),
        ("_rpmdir", path(&work.join("made"))?),
        ("_build_id_links", "none".to_owned()),
        // What the package would otherwise tell of this machine and moment.
        ("_buildhost", "localhost".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        ("_binary_payload", "w9.xzdio".to_owned()),
        // The program is stripped, and may be another processor's.
        ("__os_install_post", "%{nil}".to_owned()),
        ("debug_package", "%{nil}".to_owned()),
    ] {
        command.arg("--define").arg(define(name, &value));
    }
    step::output_of(command.arg(&spec))?;
    let name = format!("{}-{}-1.{}.rpm", agent::NAME, release.version, architecture.name);
    let made = work.join("made").join(architecture.name).join(&name);
    let package = out.join(&name);
    fs::copy(&made, &package).with_context(|| format!("cannot copy {}", made.display()))?;
    Ok(package)
}

fn text(version: &str, files: &[String]) -> String {
    let listed = |file: &String| match file.as_str() {
        SETTINGS => format!("%config(noreplace) /{file}\n"),
        _ => format!("/{file}\n"),
    };
    let files: String = files.iter().map(listed).collect();
    format!(
        r#"Name: inotify-trace
Version: {version}
Release: 1
Summary: Traces inotify instances, watches, failures and leaks
License: (MIT OR Apache-2.0) AND GPL-2.0-only
URL: https://github.com/inotify-trace/inotify-trace
AutoReqProv: no

%description
Shows which process, container and pod creates, holds and leaks inotify
instances, with the kernel's own count against the limit beside each event.

It needs Linux 5.10 or later with BTF. The service is not enabled by itself:
systemctl enable --now inotify-trace

%install
mkdir -p %{{buildroot}}
cp -r %{{_tree}}/. %{{buildroot}}/

%files
%defattr(-,root,root,0755)
%dir /usr/share/doc/inotify-trace
{files}
%post
if [ -d /run/systemd/system ]; then systemctl daemon-reload >/dev/null 2>&1 || :; fi

%preun
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now inotify-trace.socket inotify-trace.service >/dev/null 2>&1 || :
fi

%postun
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null 2>&1 || :
    if [ "$1" -ge 1 ]; then systemctl try-restart inotify-trace.service >/dev/null 2>&1 || :; fi
fi
"#
    )
}
