//! The kernel's counts of what a user is charged, against the limits.

use crate::resource::Resource;

/// The kernel's own count (`kernel/ucount.c`) of a user's charges, right after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
    /// The charged user, as seen from the initial user namespace.
    pub uid: u32,
    /// The user namespace of that user, by inode number.
    pub userns: u32,
    /// The number of user namespaces from the user's own up to the one whose limit binds; 0 is its
    /// own.
    pub level: u32,
    /// The user who pays there, as seen from the initial user namespace: the charged user itself at
    /// level 0, above that the owner of a namespace between.
    pub payer_uid: u32,
    /// The user namespace whose limit binds, by inode number.
    pub payer_userns: u32,
}

impl Quota {
    /// A count in the namespace of the charged user.
    #[must_use]
    pub const fn own(used: u32, limit: u32, uid: u32, userns: u32) -> Self {
        Self { used, limit, uid, userns, level: 0, payer_uid: uid, payer_userns: userns }
    }

    /// Whether nothing more can be charged.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// How many more can be charged.
    #[must_use]
    pub fn left(self) -> u32 {
        Level::from(self).left()
    }
}

/// Open files when a call failed: with `EMFILE` the descriptors of the process (`RLIMIT_NOFILE`), with
/// `ENFILE` all files of the machine (`fs.file-max`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// How many are open; None if fewer than `limit`, and not counted.
    pub used: Option<u64>,
    /// How many may be.
    pub limit: u64,
}

impl Files {
    /// Whether no more can be opened.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used.is_some_and(|used| used >= self.limit)
    }

    /// Whether at least this share is known to be used.
    #[must_use]
    pub fn reaches(&self, percent: u32) -> bool {
        let share = u128::from(self.limit) * u128::from(percent);
        self.used.is_some_and(|used| u128::from(used) * 100 >= share)
    }
}

/// A counter of the kernel's against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The number charged.
    pub used: u32,
    /// The limit of `used`.
    pub limit: u32,
}

impl Level {
    /// How many more can be charged.
    #[must_use]
    pub fn left(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

impl From<Quota> for Level {
    fn from(quota: Quota) -> Self {
        Self { used: quota.used, limit: quota.limit }
    }
}

/// The kernel's counters of a user in one user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The user, as seen from the initial user namespace.
    pub uid: u32,
    /// The user namespace, by inode number.
    pub userns: u32,
    /// Instances; None if the count could not be read.
    pub instances: Option<Level>,
    /// Watches; None if the count could not be read.
    pub watches: Option<Level>,
}

impl Charge {
    /// The count of one resource; None if it could not be read.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<Level> {
        match resource {
            Resource::Instances => self.instances,
            Resource::Watches => self.watches,
        }
    }
}
