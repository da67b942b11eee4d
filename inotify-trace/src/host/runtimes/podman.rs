//! Podman: the list of containers/storage, which knows each container by name.

use serde::Deserialize;

use super::{Names, Registry};

/// Root's directory, and the one of what is gone with the machine's next start.
const ROOT: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];

/// The lists below it: one for each storage driver, of which there is usually one. Volatile
/// containers, such as those with `--rm`, have a list of their own.
const LISTS: [&str; 8] = [
    "overlay-containers/containers.json",
    "overlay-containers/volatile-containers.json",
    "vfs-containers/containers.json",
    "vfs-containers/volatile-containers.json",
    "btrfs-containers/containers.json",
    "btrfs-containers/volatile-containers.json",
    "zfs-containers/containers.json",
    "zfs-containers/volatile-containers.json",
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

/// The names of a container of root's.
pub(super) fn names(registry: &Registry, id: &str) -> Option<Names> {
    ROOT.iter().find_map(|root| names_below(|list| registry.read(format!("{root}/{list}")), id))
}

/// The names of a container in the lists that `read` reads.
pub(super) fn names_below(mut read: impl FnMut(&str) -> Option<String>, id: &str) -> Option<Names> {
    let entry = LISTS.iter().find_map(|list| {
        let text = read(list)?;
        let entries: Vec<Entry> = serde_json::from_str(&text).ok()?;
        entries.into_iter().find(|entry| entry.id == id)
    })?;
    let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
    let name = entry.names.into_iter().next().filter(|name| is_name(name));
    Names { name, image: metadata.image, ..Names::default() }.or_none()
}

/// Whether Podman allows this name (`NameRegex` of its libpod).
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_.-".contains(&it))
}
