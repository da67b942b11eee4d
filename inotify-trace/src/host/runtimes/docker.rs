//! Docker Engine: `config.v2.json`, the daemon's file about a container.

use serde::Deserialize;

use super::{Names, Registry, oci::Annotations};

/// The fields of it that are read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Note {
    /// With a slash before it.
    #[serde(default)]
    name: String,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    #[serde(default)]
    labels: Option<Annotations>,
}

/// The names of a container of Docker; those of Kubernetes, if cri-dockerd runs it.
pub(super) fn names(registry: &Registry, id: &str) -> Option<Names> {
    let text = registry.read(format!("var/lib/docker/containers/{id}/config.v2.json"))?;
    let note: Note = serde_json::from_str(&text).ok()?;
    let labels = note.config.labels.unwrap_or_default();
    let name = Some(note.name.trim_start_matches('/').to_owned());
    Names {
        name: labels
            .get(&["io.kubernetes.container.name"])
            .or(name.filter(|name| !name.is_empty())),
        pod_name: labels.get(&["io.kubernetes.pod.name"]),
        namespace: labels.get(&["io.kubernetes.pod.namespace"]),
        image: note.config.image,
        is_sandbox: labels.get(&["io.kubernetes.docker.type"]).as_deref() == Some("podsandbox"),
    }
    .or_none()
}
