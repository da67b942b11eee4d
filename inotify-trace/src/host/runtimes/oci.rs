//! OCI bundles: `config.json` with the annotations of containerd, nerdctl and CRI-O.

use std::path::Path;

use serde::Deserialize;

use super::{Names, Registry, is_component, kubelet::pod_of_directory};

/// containerd's directories of bundles, with a directory for each of its namespaces; also those of
/// k3s, RKE2, k0s and MicroK8s.
const CONTAINERD: [&str; 4] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
    "run/k0s/containerd/io.containerd.runtime.v2.task",
    "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
];

/// The directory of bundles of containers/storage, of CRI-O and Podman.
const STORAGE: &str = "run/containers/storage/overlay-containers";

/// The part of a bundle's `config.json` that is read
/// (<https://github.com/opencontainers/runtime-spec/blob/main/config.md>).
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Annotations,
}

/// The annotations of a container.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Annotations(std::collections::HashMap<String, String>);

impl FromIterator<(String, String)> for Annotations {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Annotations {
    /// The value of the first of these keys that is not empty.
    pub(super) fn get(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.0.get(*key)).filter(|value| !value.is_empty()).cloned()
    }

    /// Whether the container is of a pod, and its names.
    pub(super) fn found(&self) -> Found {
        let is_of_pod = self.kind().is_some();
        Found { names: self.names(), is_of_pod }
    }

    fn kind(&self) -> Option<String> {
        self.get(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"])
    }

    pub(super) fn names(&self) -> Names {
        let kind = self.kind();
        let names = Names {
            name: self.get(&[
                "io.kubernetes.cri.container-name",
                "io.kubernetes.container.name",
                "nerdctl/name",
            ]),
            pod_name: self.get(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
            namespace: self
                .get(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]),
            image: self.get(&[
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri-o.ImageName",
                "io.kubernetes.cri-o.Image",
            ]),
            is_sandbox: kind.as_deref() == Some("sandbox"),
        };
        // containerd 1.4 writes no other name of a sandbox.
        let logs = self.get(&["io.kubernetes.cri.sandbox-log-directory"]);
        let of_pod = logs.and_then(|it| pod_of_directory(it.rsplit('/').next()?));
        match of_pod {
            Some((_, of_pod)) => names.or(of_pod),
            None => names,
        }
    }

    /// The id of the sandbox, if that is another container.
    fn sandbox(&self, id: &str) -> Option<String> {
        self.get(&["io.kubernetes.cri.sandbox-id"]).filter(|it| it != id && is_component(it))
    }
}

/// The names that a container's file has.
pub(super) struct Found {
    pub(super) names: Names,
    /// Whether it is one of a pod.
    pub(super) is_of_pod: bool,
}

/// A container of containerd, in any of its namespaces. Of containerd 1.4, only the sandbox's bundle
/// knows the pod.
pub(super) fn of_containerd(registry: &Registry, id: &str) -> Option<Found> {
    let namespaces = CONTAINERD.iter().flat_map(|place| registry.directories(place));
    let (namespace, own) = namespaces
        .map(|namespace| (annotations(registry, namespace.join(id).join("config.json")), namespace))
        .find_map(|(own, namespace)| Some((namespace, own?)))?;
    let Found { names, is_of_pod } = own.found();
    let sandbox = own.sandbox(id).filter(|_| names.pod_name.is_none());
    let sandbox = sandbox
        .and_then(|sandbox| annotations(registry, namespace.join(sandbox).join("config.json")));
    let Names { pod_name, namespace, .. } = sandbox.map(|it| it.names()).unwrap_or_default();
    let names = names.or(Names { pod_name, namespace, ..Names::default() });
    (names != Names::default()).then_some(Found { names, is_of_pod })
}

/// A container of CRI-O.
pub(super) fn of_storage(registry: &Registry, id: &str) -> Option<Found> {
    let own = annotations(registry, format!("{STORAGE}/{id}/userdata/config.json"))?;
    Some(own.found()).filter(|found| found.names != Names::default())
}

fn annotations(registry: &Registry, path: impl AsRef<Path>) -> Option<Annotations> {
    Some(serde_json::from_str::<Config>(&registry.read(path)?).ok()?.annotations)
}
