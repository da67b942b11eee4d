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

/// The names of a container of root's.
pub(super) fn names(registry: &Registry, id: &str) -> Option<Names> {
    names_in(&registry.read(format!("var/lib/docker/{}", note(id)))?)
}

/// The daemon's file about a container, below its directory.
pub(super) fn note(id: &str) -> String {
    format!("containers/{id}/config.v2.json")
}

/// The names in such a file; those of Kubernetes, if cri-dockerd runs the container.
pub(super) fn names_in(text: &str) -> Option<Names> {
    let note: Note = serde_json::from_str(text).ok()?;
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
