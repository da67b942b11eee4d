//! Podman: the list of containers/storage, which knows each container by name.

use serde::Deserialize;

use super::{Names, Registry};

/// Root's lists: one for each storage driver, of which there is usually one. Volatile containers,
/// such as those with `--rm`, have a list of their own.
const LISTS: [&str; 8] = [
    "var/lib/containers/storage/overlay-containers/containers.json",
    "var/lib/containers/storage/overlay-containers/volatile-containers.json",
    "var/lib/containers/storage/vfs-containers/containers.json",
    "var/lib/containers/storage/vfs-containers/volatile-containers.json",
    "var/lib/containers/storage/btrfs-containers/containers.json",
    "var/lib/containers/storage/btrfs-containers/volatile-containers.json",
    "var/lib/containers/storage/zfs-containers/containers.json",
    "var/lib/containers/storage/zfs-containers/volatile-containers.json",
];

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

/// Podman's metadata in an entry.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "image-name")]
    image: Option<String>,
}

/// The names of a container of Podman.
pub(super) fn names(registry: &Registry, id: &str) -> Option<Names> {
    let entry = LISTS.iter().find_map(|list| {
        let entries: Vec<Entry> = serde_json::from_str(&registry.read(list)?).ok()?;
        entries.into_iter().find(|entry| entry.id == id)
    })?;
    let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
    let (name, image) = (entry.names.into_iter().next(), metadata.image);
    Names { name, image, ..Names::default() }.or_none()
}
