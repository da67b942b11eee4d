//! What events are called.

use serde::Serialize;

use super::EventKind;

/// The names of events, as users type and read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// An instance existed already
    Found,
    /// A watch existed already
    WatchFound,
    /// An instance was made
    Create,
    /// No instance could be made
    CreateFailed,
    /// A watch was added or changed
    Watch,
    /// A watch could not be added
    WatchFailed,
    /// A watch was removed: on request, or with its target
    Unwatch,
    /// A descriptor was closed; the instance lives on
    Close,
    /// An instance is still held, though every known holder has given it up
    Held,
    /// An instance is gone
    Release,
    /// A holder closed a range of descriptors
    RangeClose,
    /// A holder forked
    Fork,
    /// A holder executed a new program
    Exec,
    /// A holder ended
    Exit,
    /// The kernel was asked what it has charged to a user
    Charged,
    /// A cgroup existed already
    CgroupFound,
    /// A container's name was read
    ContainerName,
    /// A holder is a shim of containerd, and whom it serves was read
    Shim,
    /// A cgroup was made
    CgroupCreate,
    /// A cgroup was renamed
    CgroupRename,
    /// A cgroup was removed
    CgroupRemove,
    /// Something could not be told
    Lost,
}

impl EventName {
    /// Whether it is shown unless asked otherwise: what exists already and what processes and
    /// cgroups do is for the tracker, and for those who ask.
    #[must_use]
    pub fn is_shown_by_default(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::CreateFailed
                | Self::Watch
                | Self::WatchFailed
                | Self::Unwatch
                | Self::Close
                | Self::Release
                | Self::Lost
        )
    }
}

impl EventKind {
    /// The name of this kind of event.
    #[must_use]
    pub fn name(&self) -> EventName {
        match self {
            Self::InstanceFound { .. } => EventName::Found,
            Self::WatchFound { .. } => EventName::WatchFound,
            Self::InstanceCreated { .. } => EventName::Create,
            Self::CreateFailed { .. } => EventName::CreateFailed,
            Self::WatchAdded { .. } => EventName::Watch,
            Self::WatchFailed { .. } => EventName::WatchFailed,
            Self::WatchRemoved { .. } => EventName::Unwatch,
            Self::DescriptorClosed { .. } => EventName::Close,
            Self::InstanceHeld { .. } => EventName::Held,
            Self::InstanceReleased { .. } => EventName::Release,
            Self::RangeClosed { .. } => EventName::RangeClose,
            Self::ProcessForked { .. } => EventName::Fork,
            Self::ProcessExec { .. } => EventName::Exec,
            Self::ProcessExited => EventName::Exit,
            Self::Charged { .. } => EventName::Charged,
            Self::CgroupFound { .. } => EventName::CgroupFound,
            Self::ContainerNamed { .. } => EventName::ContainerName,
            Self::ShimIdentified { .. } => EventName::Shim,
            Self::CgroupCreated { .. } => EventName::CgroupCreate,
            Self::CgroupRenamed { .. } => EventName::CgroupRename,
            Self::CgroupRemoved { .. } => EventName::CgroupRemove,
            Self::Lost { .. } => EventName::Lost,
        }
    }
}
