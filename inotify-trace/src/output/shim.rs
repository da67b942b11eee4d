//! Whom containerd's shims serve, by the names their containers have.

use inotify_trace_model::{
    identity::{Names, Shim},
    tracker::{Process, Tracker},
};
use serde::Serialize;

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
}
