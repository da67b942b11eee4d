//! A node of Kubernetes: etcd, API server, kubelet and containerd, whose pods use up the limit of
//! instances.

use std::str::FromStr;

use anyhow::{Context, Result};
use xtask::image;
use xtask::kubernetes::MANIFEST;
use xtask::step;

use super::disk::{Added, Disk};
use super::each_kernel::{EachKernel, Story};
use super::{Options, Place, outcome};
use crate::boot::Boot;
use crate::report::{self, Report};
use crate::tools;

mod daemonset;
mod messages;
mod programs;

pub const NAME: &str = "kubernetes";

/// What stories of a node have in common, by name.
const PARTS: [(&str, &str); 2] =
    [("node.sh", include_str!("node.sh")), ("messages.sh", include_str!("messages.sh"))];

/// The node's configuration, by where it is.
const CONFIGURATION: [(&str, &str); 6] = [
    ("etc/containerd/config.toml", include_str!("containerd.toml")),
    ("etc/cni/net.d/node.conflist", include_str!("network.conflist")),
    ("etc/kubernetes/kubeconfig.yaml", include_str!("kubeconfig.yaml")),
    ("etc/kubernetes/kubelet.yaml", include_str!("kubelet.yaml")),
    ("etc/systemd/system/kube-apiserver.service", include_str!("kube-apiserver.service")),
    ("etc/systemd/system/kubelet.service", include_str!("kubelet.service")),
];

/// Packages that the node needs besides those of the boot.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "etcd-server",
    "iproute2",
    "jq",
    "kubernetes-client",
    "openssl",
    "procps",
    "prometheus",
    "python3",
    "runc",
];

/// The plug-in of kubectl, in the workspace.
const PLUGIN: &str = "deploy/kubectl/kubectl-inotify_trace";

/// The suite of all packages and of the kernel, unless another is chosen.
const SUITE: &str = "bookworm";

/// What happens on the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tale {
    /// Few pods, a lowered limit, and programs that fail at it.
    #[default]
    Messages,
    /// As many pods as use up the limit that Linux sets, and the same programs.
    Full,
    /// The agent as a pod, pods that leak, the plug-in of kubectl, and Prometheus.
    DaemonSet,
}

impl Tale {
    const ALL: [Self; 3] = [Self::Messages, Self::Full, Self::DaemonSet];

    fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Full => "full",
            Self::DaemonSet => "daemonset",
        }
    }

    /// The script.
    fn script(self) -> &'static str {
        match self {
            Self::Messages => include_str!("messages.sh"),
            Self::Full => include_str!("full.sh"),
            Self::DaemonSet => include_str!("daemonset.sh"),
        }
    }
}

impl FromStr for Tale {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|tale| tale.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
            format!("the stories are {}", names.join(", "))
        })
    }
}

/// A node on some kernels.
pub struct Kubernetes<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
    added: Added,
}

impl<'a> Kubernetes<'a> {
    pub fn on_kernels(place: &'a Place<'a>, options: &'a Options) -> Result<EachKernel<Self>> {
        let kernels = match options.kernels.as_slice() {
            [] => vec![super::kernel(SUITE).context("its kernel is not known")?],
            chosen => chosen.to_vec(),
        };
        tools::setup_for_disks()?;
        let added = Added::new(place.work.join(format!("{NAME}-added")), options.story.script())?;
        for (name, text) in PARTS {
            added.write(&format!("programs/{name}"), text)?;
        }
        for (path, text) in CONFIGURATION {
            added.write(path, text)?;
        }
        added.mask("prometheus.service")?;
        let kept = programs::directory().context("Kubernetes can't be had")?;
        for name in programs::PROGRAMS {
            added.copy(&kept.join(name), &format!("programs/{name}"))?;
        }
        added.copy(&place.agent, "usr/bin/inotify-trace")?;
        let deployed = |file| place.workspace.root.join(file);
        added.copy(&deployed(MANIFEST), "programs/inotify-trace.yaml")?;
        added.copy(&deployed("deploy/prometheus/rules.yaml"), "programs/rules.yaml")?;
        added.copy(&deployed(PLUGIN), "usr/bin/kubectl-inotify_trace")?;
        let image = added.place("programs/inotify-trace.oci.tar")?;
        image::write(&[image::Program::of_this_machine(&place.agent)?], &image)?;
        Ok(EachKernel::new(Self { place, options, added }, kernels))
    }
}

impl Story for Kubernetes<'_> {
    const MEMORY: u32 = 3072;

    const SECONDS: u32 = 360;

    /// Boots the machine; an error if what inotify-trace says differs from what is known.
    fn run(&self, report: &mut Report) -> Result<()> {
        let suite = report.kernel.suite;
        let disk =
            Disk::of_scenario(NAME, PACKAGES, &self.added, self.place, self.options, report)?;
        let Some(disk) = disk else { return Ok(()) };
        let tale = self.options.story;
        let boot = Boot {
            image: &disk.image,
            suite,
            name: format!("{} with Kubernetes, {}", report.name(), tale.name()),
            directory: &format!("{NAME}-{suite}-{}", tale.name()),
            initramfs: &disk.initramfs(),
            disk: Some(&disk.path()),
            own_time: true,
            memory: Self::MEMORY,
            limit: self.options.limit,
            stream: self.options.stream,
        };
        let end = boot.run(self.place.work, self.place.results)?;
        if !outcome::is_well(&end, report, self.options.stream) {
            return Ok(());
        }
        let problems = match tale {
            Tale::Messages | Tale::Full => messages::problems(&|name: &str| end.text(name))?,
            Tale::DaemonSet => daemonset::problems(&|name: &str| end.text(name))?,
        };
        step::say(&format!("what inotify-trace said is in {}", end.files().display()));
        if !problems.is_empty() {
            report.result = report::Result::Wrong(problems.join("; "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tale;

    #[test]
    fn a_story_goes_by_its_name() {
        for tale in Tale::ALL {
            assert_eq!(tale.name().parse(), Ok(tale));
        }
        assert!("all".parse::<Tale>().unwrap_err().contains("messages"));
    }
}
