//! Whom containerd's shims serve, by the names their containers have.

use inotify_trace_model::{
    identity::{Names, Shim},
    tracker::{Process, Tracker},
};
use serde::Serialize;

use super::printable;

/// How much of an id is shown.
const SHORT: usize = 12;

/// Whom a shim serves.
#[derive(Serialize)]
pub(super) struct Served<'a> {
    container_id: &'a str,
    containerd_namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    containerd_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a Names>,
}

impl<'a> Served<'a> {
    /// None if the process is no shim.
    pub(super) fn by(process: &'a Process, tracker: &'a Tracker) -> Option<Self> {
        let Shim { id, namespace, version } = process.shim.as_ref()?;
        Some(Self {
            container_id: id,
            containerd_namespace: namespace,
            containerd_version: version.as_deref(),
            names: tracker.cgroups().names_of(id),
        })
    }

    /// The pod as people write it, `namespace/name`, if the shim's container belongs to one.
    pub(super) fn pod(&self) -> Option<String> {
        let names = self.names?;
        let pod = printable(names.pod_name.as_deref()?);
        let namespace = names.namespace.as_deref().map(|it| format!("{}/", printable(it)));
        Some(format!("{}{pod}", namespace.unwrap_or_default()))
    }

    /// In words, as in `pod default/web`.
    pub(super) fn words(&self) -> String {
        self.pod().map_or_else(
            || {
                let id = self.container_id.get(..SHORT).unwrap_or(self.container_id);
                let name = self.names.and_then(Names::display).unwrap_or_else(|| id.to_owned());
                format!("container {}", printable(&name))
            },
            |pod| format!("pod {pod}"),
        )
    }
}
