//! Parts of the tracker's state.

use bytes::Bytes;
use prost::{Message, Oneof};

use super::{Container, ContainerNamed, Level, Program, Shim, Task, WatchFound};

/// A part of the tracker's state.
#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Part {
    #[prost(oneof = "PartKind", tags = "1, 2, 3, 4, 5, 6, 10, 11")]
    pub kind: Option<PartKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::recording) enum PartKind {
    #[prost(message, tag = "1")]
    Cgroup(CgroupPart),
    #[prost(message, tag = "2")]
    Names(ContainerNamed),
    #[prost(message, tag = "3")]
    Account(Account),
    #[prost(message, tag = "4")]
    Process(Process),
    #[prost(message, tag = "5")]
    Instance(Instance),
    #[prost(message, tag = "6")]
    Watches(Watches),
    #[prost(message, tag = "10")]
    Ended(Ended),
    #[prost(message, tag = "11")]
    Forgotten(Forgotten),
}

/// What was forgotten, since the state took too much memory.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Forgotten {
    #[prost(uint64, tag = "1")]
    pub instances: u64,
    #[prost(uint64, tag = "2")]
    pub cgroups: u64,
}

/// Some of an instance's watches.
#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Watches {
    #[prost(uint64, tag = "1")]
    pub instance: u64,
    #[prost(message, repeated, tag = "2")]
    pub watches: Vec<WatchFound>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct CgroupPart {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub path: String,
    #[prost(uint64, optional, tag = "3")]
    pub removed: Option<u64>,
    /// If it cannot be derived from the path.
    #[prost(message, optional, tag = "4")]
    pub container: Option<Container>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub(in crate::recording) struct User {
    #[prost(uint32, tag = "1")]
    pub uid: u32,
    #[prost(uint32, tag = "2")]
    pub userns: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Account {
    #[prost(message, optional, tag = "1")]
    pub user: Option<User>,
    #[prost(message, optional, tag = "2")]
    pub instances: Option<Level>,
    #[prost(message, optional, tag = "3")]
    pub watches: Option<Level>,
    /// Those who are charged as well, in the namespaces above.
    #[prost(message, repeated, tag = "4")]
    pub payers: Vec<User>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Process {
    #[prost(message, optional, tag = "1")]
    pub task: Option<Task>,
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<Held>,
    /// When it created its first instance, if that was seen.
    #[prost(uint64, optional, tag = "3")]
    pub began: Option<u64>,
    #[prost(message, optional, tag = "4")]
    pub shim: Option<Shim>,
    #[prost(message, optional, tag = "9")]
    pub program: Option<Program>,
    /// How many of the instances that it created it let go of, by lifetime.
    #[prost(uint32, repeated, tag = "10")]
    pub closed: Vec<u32>,
}

/// How many processes of a command in a cgroup hold instances no longer, by how long they did.
#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Ended {
    #[prost(uint64, tag = "1")]
    pub cgroup: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub comm: Bytes,
    #[prost(uint32, repeated, tag = "3")]
    pub lifetimes: Vec<u32>,
}

/// A descriptor, and its instance.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Held {
    #[prost(sint32, tag = "1")]
    pub fd: i32,
    #[prost(uint64, tag = "2")]
    pub instance: u64,
    /// As in tasks.
    #[prost(uint32, optional, tag = "3")]
    pub table: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Instance {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(enumeration = "Origin", tag = "2")]
    pub origin: i32,
    /// If its creation was seen.
    #[prost(message, optional, tag = "3")]
    pub creator: Option<Task>,
    #[prost(uint64, tag = "4")]
    pub since: u64,
    #[prost(uint64, tag = "5")]
    pub creator_cgroup: u64,
    #[prost(uint32, tag = "6")]
    pub flags: u32,
    #[prost(message, optional, tag = "7")]
    pub charged: Option<User>,
    #[prost(uint32, optional, tag = "8")]
    pub queued: Option<u32>,
    #[prost(uint64, repeated, tag = "9")]
    pub served: Vec<u64>,
    #[prost(uint64, optional, tag = "10")]
    pub emptied: Option<u64>,
    #[prost(message, repeated, tag = "11")]
    pub leavers: Vec<Leaver>,
    #[prost(message, repeated, tag = "12")]
    pub descriptors: Vec<HolderDescriptor>,
    #[prost(message, optional, tag = "13")]
    pub overflow: Option<Overflow>,
    #[prost(string, repeated, tag = "16")]
    pub files: Vec<String>,
    /// How the number of its watches has changed, if it has had many.
    #[prost(message, repeated, tag = "20")]
    pub floors: Vec<Floors>,
}

/// The overflows of an instance's queue.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct Overflow {
    #[prost(uint64, tag = "1")]
    pub since: u64,
    #[prost(uint64, tag = "2")]
    pub last: u64,
    #[prost(bool, tag = "3")]
    pub was_seen: bool,
    #[prost(uint32, tag = "4")]
    pub queued: u32,
    #[prost(uint32, tag = "5")]
    pub limit: u32,
}

/// The lowest numbers of watches in stretches of one length.
#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Floors {
    /// The number of the latest stretch since boot.
    #[prost(uint64, tag = "1")]
    pub latest: u64,
    #[prost(uint32, repeated, tag = "2")]
    pub lowest: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
pub(in crate::recording) enum Origin {
    Found = 0,
    Created = 1,
    CreatedUnseen = 2,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::recording) struct HolderDescriptor {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    #[prost(sint32, tag = "2")]
    pub fd: i32,
    /// As in tasks.
    #[prost(uint32, optional, tag = "3")]
    pub table: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::recording) struct Leaver {
    #[prost(message, optional, tag = "1")]
    pub task: Option<Task>,
    #[prost(sint32, optional, tag = "2")]
    pub fd: Option<i32>,
    #[prost(enumeration = "Departure", tag = "3")]
    pub how: i32,
    #[prost(uint64, tag = "4")]
    pub time: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
pub(in crate::recording) enum Departure {
    Closed = 0,
    Executed = 1,
    Exited = 2,
}
