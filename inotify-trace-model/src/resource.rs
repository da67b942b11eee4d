//! Resources: the kernel counts and limits them for each user.

use serde::Serialize;

use crate::event::{Charge, Quota};

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

    /// Its counter in a user's charge; None if it could not be read.
    #[must_use]
    pub fn charged(self, charge: &Charge) -> Option<Quota> {
        match self {
            Self::Instances => charge.instances,
            Self::Watches => charge.watches,
        }
    }

    /// Its counter in a user's charge, mutable.
    pub fn charged_mut(self, charge: &mut Charge) -> &mut Option<Quota> {
        match self {
            Self::Instances => &mut charge.instances,
            Self::Watches => &mut charge.watches,
        }
    }
}
