//! Podman: the list of containers/storage, which knows each container by name.

use serde::Deserialize;

use super::{Names, Registry};

/// Where the list is, of root.
const LIST: &str = "var/lib/containers/storage/overlay-containers/containers.json";

/// An entry of the list.
#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON, as text.
    #[serde(default)]
    metadata: String,
}

/// What Podman notes in an entry.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "image-name")]
    image: Option<String>,
}

/// What Podman calls a container.
pub(super) fn names(registry: &Registry, id: &str) -> Option<Names> {
    let entries: Vec<Entry> = serde_json::from_str(&registry.read(LIST)?).ok()?;
    let entry = entries.into_iter().find(|entry| entry.id == id)?;
    let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
    let (name, image) = (entry.names.into_iter().next(), metadata.image);
    Names { name, image, ..Names::default() }.or_none()
}
