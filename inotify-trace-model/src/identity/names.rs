//! Names of containers.

use serde::Serialize;

/// The names of a container, from its runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// The container's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The Kubernetes namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether it is a pod's sandbox, which keeps the pod's namespaces (`pause`).
    #[serde(skip_serializing_if = "is_false")]
    pub is_sandbox: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Names {
    /// None if all names are absent.
    #[must_use]
    pub fn or_none(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// `namespace/pod/name`, without absent parts.
    #[must_use]
    pub fn display(&self) -> Option<String> {
        let name = match (self.is_sandbox, &self.name) {
            (true, None) => Some("(sandbox)"),
            (_, name) => name.as_deref(),
        };
        let parts = [self.namespace.as_deref(), self.pod_name.as_deref(), name];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    }
}
