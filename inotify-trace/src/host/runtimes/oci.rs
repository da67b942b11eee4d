//! OCI bundles: `config.json` with the annotations of containerd, nerdctl and CRI-O.

use serde::Deserialize;

use super::{Names, Registry};

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

    pub(super) fn names(&self) -> Names {
        let kind =
            self.get(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]);
        Names {
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
        }
    }
}

/// A container of containerd, in any of its namespaces.
pub(super) fn of_containerd(registry: &Registry, id: &str) -> Option<Names> {
    CONTAINERD
        .iter()
        .flat_map(|place| registry.directories(place))
        .find_map(|namespace| of_config(&registry.read(namespace.join(id).join("config.json"))?))
}

/// A container of CRI-O.
pub(super) fn of_storage(registry: &Registry, id: &str) -> Option<Names> {
    of_config(&registry.read(format!("{STORAGE}/{id}/userdata/config.json"))?)
}

fn of_config(text: &str) -> Option<Names> {
    serde_json::from_str::<Config>(text).ok()?.annotations.names().or_none()
}
