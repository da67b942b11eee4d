//! Names of containers.

use serde::Serialize;

/// The most bytes of a name: that of a DNS name, the longest that Kubernetes has.
const LONGEST_NAME: usize = 253;

/// The most bytes of an image: a registry's host, a repository of 255 bytes, and a digest.
const LONGEST_IMAGE: usize = 640;

/// The mark of a text that was cut.
const CUT: char = '…';

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
    /// The names, with those cut that no runtime could have given: 253 bytes of a name, 640 of an
    /// image.
    #[must_use]
    pub fn bounded(self) -> Self {
        let name = |name: Option<String>| name.map(|name| cut(name, LONGEST_NAME));
        Self {
            name: name(self.name),
            pod_name: name(self.pod_name),
            namespace: name(self.namespace),
            image: self.image.map(|image| cut(image, LONGEST_IMAGE)),
            is_sandbox: self.is_sandbox,
        }
    }

    /// The names, with those that are absent taken from `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            name: self.name.or(others.name),
            pod_name: self.pod_name.or(others.pod_name),
            namespace: self.namespace.or(others.namespace),
            image: self.image.or(others.image),
            is_sandbox: self.is_sandbox || others.is_sandbox,
        }
    }

    /// Whether the names lack nothing that a container of a pod has.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let has_own = self.is_sandbox || (self.name.is_some() && self.image.is_some());
        has_own && self.pod_name.is_some() && self.namespace.is_some()
    }

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

/// A text of at most `most` bytes, with a mark if it was longer.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most - CUT.len_utf8()).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or_default());
        text.push(CUT);
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_say_so() {
        let of = |name: &str, image: &str| Names {
            name: Some(name.to_owned()),
            image: Some(image.to_owned()),
            ..Names::default()
        };
        let usual = of(&"n".repeat(LONGEST_NAME), &"i".repeat(LONGEST_IMAGE));
        assert_eq!(usual.clone().bounded(), usual);
        let long = of(&"日".repeat(1 << 20), &"i".repeat(1 << 20)).bounded();
        assert_eq!(long.name, Some(format!("{}…", "日".repeat(83))));
        assert_eq!(long.image.map(|image| image.len()), Some(LONGEST_IMAGE));
    }
}
