//! Resources: the kernel counts and limits them for each user.

use serde::Serialize;

/// A resource that the kernel counts and limits for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// inotify instances.
    Instances,
    /// Their watches.
    Watches,
}

impl Resource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Instances, Self::Watches];

    /// Its name in the plural.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Watches => "watches",
        }
    }

    /// Its name in the singular.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Instances => "instance",
            Self::Watches => "watch",
        }
    }

    /// The sysctl that limits it, as sysctl(8) names it.
    #[must_use]
    pub fn sysctl(self) -> &'static str {
        match self {
            Self::Instances => "fs.inotify.max_user_instances",
            Self::Watches => "fs.inotify.max_user_watches",
        }
    }

    /// The sysctl that limits it in a user namespace of its own, set by a process in that namespace.
    #[must_use]
    pub fn namespace_sysctl(self) -> &'static str {
        match self {
            Self::Instances => "user.max_inotify_instances",
            Self::Watches => "user.max_inotify_watches",
        }
    }
}
