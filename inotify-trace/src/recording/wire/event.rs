//! Events.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Event {
    /// Nanoseconds from the previous event in the frame; for the first, from boot.
    #[prost(sint64, tag = "1")]
    pub time: i64,
    /// Index in the frame's tasks, plus one; 0 for none.
    #[prost(uint32, tag = "2")]
    pub task: u32,
    /// 0 for none.
    #[prost(uint64, tag = "3")]
    pub instance: u64,
    /// Index in the frame's payers, plus one; 0 if the count is unknown.
    #[prost(uint32, tag = "4")]
    pub payer: u32,
    /// The charge of the payer.
    #[prost(uint32, tag = "5")]
    pub used: u32,
    #[prost(
        oneof = "Kind",
        tags = "8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 36"
    )]
    pub kind: Option<Kind>,
}

/// The kinds of events. The most frequent have the smallest numbers.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::recording) enum Kind {
    #[prost(message, tag = "8")]
    InstanceCreated(Descriptor),
    #[prost(message, tag = "9")]
    WatchAdded(WatchAdded),
    #[prost(message, tag = "10")]
    InstanceReleased(Released),
    #[prost(message, tag = "11")]
    DescriptorClosed(DescriptorClosed),
    #[prost(message, tag = "12")]
    WatchRemoved(WatchRemoved),
    #[prost(message, tag = "13")]
    CreateFailed(CreateFailed),
    #[prost(message, tag = "14")]
    WatchFailed(WatchFailed),
    #[prost(message, tag = "15")]
    CgroupCreated(Cgroup),
    #[prost(uint64, tag = "16")]
    CgroupRemoved(u64),
    #[prost(message, tag = "17")]
    CgroupRenamed(Cgroup),
    #[prost(message, tag = "18")]
    CgroupFound(Cgroup),
    #[prost(message, tag = "19")]
    ContainerNamed(ContainerNamed),
    #[prost(message, tag = "20")]
    RangeClosed(RangeClosed),
    #[prost(uint32, tag = "21")]
    ProcessForked(u32),
    #[prost(message, tag = "22")]
    ProcessExec(ProcessExec),
    #[prost(message, tag = "23")]
    ProcessExited(Nothing),
    #[prost(message, tag = "24")]
    InstanceFound(InstanceFound),
    #[prost(message, tag = "25")]
    WatchFound(WatchFound),
    #[prost(message, tag = "26")]
    Charged(Charged),
    #[prost(message, tag = "27")]
    Lost(Lost),
    #[prost(message, tag = "28")]
    ShimIdentified(Shim),
    #[prost(uint32, tag = "29")]
    InstanceHeld(u32),
    #[prost(message, tag = "30")]
    QueueOverflowed(QueueOverflowed),
    #[prost(message, tag = "36")]
    ProgramIdentified(Program),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Nothing {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Descriptor {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(uint32, tag = "2")]
    pub flags: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Released {
    #[prost(sint32, optional, tag = "1")]
    pub fd: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct DescriptorClosed {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(uint32, tag = "2")]
    pub left: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Target {
    #[prost(string, optional, tag = "1")]
    pub path: Option<String>,
    #[prost(bool, tag = "2")]
    pub is_gone: bool,
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    #[prost(uint32, tag = "4")]
    pub dev: u32,
    #[prost(uint64, tag = "5")]
    pub cgroup: u64,
    #[prost(string, optional, tag = "6")]
    pub resolved: Option<String>,
    /// Of a file of a cgroup, if a snapshot found it.
    #[prost(string, optional, tag = "9")]
    pub file: Option<String>,
    /// 1: the file system was not asked; 2: it did not answer.
    #[prost(uint32, tag = "10")]
    pub silence: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct WatchAdded {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(sint32, tag = "2")]
    pub wd: i32,
    #[prost(uint32, tag = "3")]
    pub mask: u32,
    #[prost(message, optional, tag = "4")]
    pub target: Option<Target>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct WatchFound {
    #[prost(sint32, tag = "1")]
    pub wd: i32,
    #[prost(uint32, tag = "2")]
    pub mask: u32,
    #[prost(message, optional, tag = "3")]
    pub target: Option<Target>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct WatchRemoved {
    #[prost(sint32, optional, tag = "1")]
    pub fd: Option<i32>,
    #[prost(sint32, tag = "2")]
    pub wd: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct CreateFailed {
    #[prost(uint32, tag = "1")]
    pub flags: u32,
    #[prost(int32, tag = "2")]
    pub errno: i32,
    #[prost(message, optional, tag = "3")]
    pub files: Option<Files>,
}

/// Open files.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Files {
    /// Absent if fewer than the limit, and not counted.
    #[prost(uint64, optional, tag = "1")]
    pub used: Option<u64>,
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct WatchFailed {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(string, optional, tag = "2")]
    pub path: Option<String>,
    #[prost(uint32, tag = "3")]
    pub mask: u32,
    #[prost(int32, tag = "4")]
    pub errno: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Cgroup {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct ContainerNamed {
    #[prost(uint64, tag = "1")]
    pub cgroup: u64,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub pod_name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub namespace: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub image: Option<String>,
    #[prost(bool, tag = "6")]
    pub is_sandbox: bool,
    /// Where the cgroup's path does not tell.
    #[prost(message, optional, tag = "7")]
    pub container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Container {
    /// By name, as in JSON; empty if unknown.
    #[prost(string, tag = "1")]
    pub runtime: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(string, optional, tag = "3")]
    pub pod: Option<String>,
    /// By name, as in JSON.
    #[prost(string, optional, tag = "4")]
    pub qos: Option<String>,
    /// The machine's container that it runs in, which runs in none.
    #[prost(message, optional, boxed, tag = "5")]
    pub outer: Option<Box<Container>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct RangeClosed {
    #[prost(sint32, tag = "1")]
    pub first: i32,
    #[prost(sint32, tag = "2")]
    pub last: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct ProcessExec {
    /// Whether the kept descriptors could be read.
    #[prost(bool, tag = "1")]
    pub is_known: bool,
    #[prost(sint32, repeated, tag = "2")]
    pub kept: Vec<i32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct InstanceFound {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(uint32, tag = "2")]
    pub flags: u32,
    #[prost(uint64, tag = "3")]
    pub creator_cgroup: u64,
    #[prost(uint32, tag = "4")]
    pub queued: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct QueueOverflowed {
    #[prost(uint32, tag = "1")]
    pub queued: u32,
    /// 0 if unknown.
    #[prost(uint32, tag = "2")]
    pub limit: u32,
    #[prost(bool, tag = "3")]
    pub was_seen: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Charged {
    #[prost(message, repeated, tag = "1")]
    pub charges: Vec<Charge>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Charge {
    #[prost(uint32, tag = "1")]
    pub uid: u32,
    #[prost(uint32, tag = "2")]
    pub userns: u32,
    #[prost(message, optional, tag = "3")]
    pub instances: Option<Level>,
    #[prost(message, optional, tag = "4")]
    pub watches: Option<Level>,
}

/// A user's count in one user namespace.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Level {
    #[prost(uint32, tag = "1")]
    pub used: u32,
    #[prost(uint32, tag = "2")]
    pub limit: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Shim {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, optional, tag = "3")]
    pub version: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Program {
    #[prost(string, optional, tag = "1")]
    pub exe: Option<String>,
    #[prost(string, repeated, tag = "2")]
    pub arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Lost {
    #[prost(uint64, tag = "1")]
    pub count: u64,
    #[prost(enumeration = "Loss", tag = "2")]
    pub what: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
pub(in crate::recording) enum Loss {
    Events = 0,
    Holders = 1,
    Calls = 2,
    Runs = 3,
    Records = 4,
    Unrecorded = 5,
    Instances = 6,
    Cgroups = 7,
}
