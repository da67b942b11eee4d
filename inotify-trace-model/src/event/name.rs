//! Names of events.

use serde::Serialize;

use super::EventKind;

/// Makes the enum, the texts and the meanings from one list.
macro_rules! event_names {
    ($(#[doc = $meaning:literal] $name:ident = $text:literal,)+) => {
        /// The names of events, as users type and read them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum EventName {
            $(
                #[doc = $meaning]
                #[serde(rename = $text)]
                $name,
            )+
        }

        impl EventName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As users type and read it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The meaning of the event, for a help text.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning.trim_ascii(),)+
                }
            }
        }
    };
}

event_names! {
    /// An instance existed already
    Found = "found",
    /// A watch existed already
    WatchFound = "watch-found",
    /// An instance was made
    Create = "create",
    /// No instance could be made
    CreateFailed = "create-failed",
    /// A watch was added or changed
    Watch = "watch",
    /// A watch could not be added
    WatchFailed = "watch-failed",
    /// A watch was removed: on request, or with its target
    Unwatch = "unwatch",
    /// A descriptor was closed; the instance lives on
    Close = "close",
    /// An instance is still held, though every known holder has given it up
    Held = "held",
    /// Events of an instance were dropped: too many were unread
    Overflow = "overflow",
    /// An instance is gone
    Release = "release",
    /// A holder closed a range of descriptors
    RangeClose = "range-close",
    /// A holder forked
    Fork = "fork",
    /// A holder executed a new program
    Exec = "exec",
    /// A holder ended
    Exit = "exit",
    /// The kernel's counters of a user were read
    Charged = "charged",
    /// A cgroup existed already
    CgroupFound = "cgroup-found",
    /// A container's name was read
    ContainerName = "container-name",
    /// A holder was identified as a shim of containerd
    Shim = "shim",
    /// The program of a holder of many instances was read
    Program = "program",
    /// A cgroup was made
    CgroupCreate = "cgroup-create",
    /// A cgroup was renamed
    CgroupRename = "cgroup-rename",
    /// A cgroup was removed
    CgroupRemove = "cgroup-remove",
    /// Events or other information were lost
    Lost = "lost",
}

impl EventName {
    /// Whether it is a failed system call.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::CreateFailed | Self::WatchFailed)
    }

    /// Whether it is shown by default. The others, on existing instances, processes and cgroups,
    /// are for the tracker, and shown if chosen.
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
                | Self::Overflow
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
            Self::QueueOverflowed { .. } => EventName::Overflow,
            Self::InstanceReleased { .. } => EventName::Release,
            Self::RangeClosed { .. } => EventName::RangeClose,
            Self::ProcessForked { .. } => EventName::Fork,
            Self::ProcessExec { .. } => EventName::Exec,
            Self::ProcessExited => EventName::Exit,
            Self::Charged { .. } => EventName::Charged,
            Self::CgroupFound { .. } => EventName::CgroupFound,
            Self::ContainerNamed { .. } => EventName::ContainerName,
            Self::ShimIdentified { .. } => EventName::Shim,
            Self::ProgramIdentified { .. } => EventName::Program,
            Self::CgroupCreated { .. } => EventName::CgroupCreate,
            Self::CgroupRenamed { .. } => EventName::CgroupRename,
            Self::CgroupRemoved { .. } => EventName::CgroupRemove,
            Self::Lost { .. } => EventName::Lost,
        }
    }
}
