//! The messages in a recording's frames: Protocol Buffers, written here as Rust structures.
//!
//! The numbers are the format. They are never reused; a field that is no longer written keeps its
//! number reserved; new fields get new numbers, and absent ones are zero or empty.
//! docs/recording-format.md has the same as a `.proto` file.

mod event;
mod state;

use bytes::Bytes;
use prost::Message;

pub(super) use event::*;
pub(super) use state::*;

/// The first frame of each file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub tool_version: String,
    /// Random; the same in all files of a run.
    #[prost(fixed64, tag = "2")]
    pub run: u64,
    /// The number of the file in the run, from 0.
    #[prost(uint32, tag = "3")]
    pub sequence: u32,
    #[prost(string, tag = "4")]
    pub host: String,
    #[prost(string, tag = "5")]
    pub kernel: String,
    #[prost(string, tag = "6")]
    pub boot_id: String,
    /// When the machine booted, in nanoseconds since 1970: add a boot time for a point in time.
    #[prost(int64, tag = "7")]
    pub booted: i64,
    /// When the file begins, in nanoseconds since boot.
    #[prost(uint64, tag = "8")]
    pub started: u64,
    /// Empty if unknown.
    #[prost(string, tag = "9")]
    pub backend: String,
    #[prost(string, repeated, tag = "10")]
    pub command: Vec<String>,
    #[prost(string, repeated, tag = "11")]
    pub unseen: Vec<String>,
    #[prost(message, repeated, tag = "12")]
    pub users: Vec<UserName>,
    #[prost(message, optional, tag = "13")]
    pub sysctls: Option<Sysctls>,
    /// Whether no events are missing between the run's previous file and this one.
    #[prost(bool, tag = "14")]
    pub continues: bool,
    /// A hash of the machine's id; empty if unknown.
    #[prost(string, tag = "15")]
    pub machine: String,
}

/// A line of /etc/passwd: uid and name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UserName {
    #[prost(uint32, tag = "1")]
    pub uid: u32,
    #[prost(string, tag = "2")]
    pub name: String,
}

/// The limits, live and as configured.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sysctls {
    #[prost(uint64, optional, tag = "1")]
    pub max_user_instances: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub max_user_watches: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub max_queued_events: Option<u64>,
    /// The files that set them, in the order in which they are read.
    #[prost(message, repeated, tag = "4")]
    pub files: Vec<SysctlFile>,
    /// Whether the last of the files is /etc/sysctl.conf.
    #[prost(bool, tag = "5")]
    pub ends_with_sysctl_conf: bool,
}

/// A file with sysctls.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SysctlFile {
    #[prost(string, tag = "1")]
    pub path: String,
    /// Its lines that are about inotify; others are left empty, so that lines keep their numbers.
    #[prost(string, tag = "2")]
    pub text: String,
}

/// A frame of events, or of the state with which a file begins or a recording resumes.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    /// Events refer to tasks by index plus one.
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<Task>,
    /// The charged users with their limits; events refer to them by index plus one.
    #[prost(message, repeated, tag = "2")]
    pub payers: Vec<Payer>,
    #[prost(message, repeated, tag = "3")]
    pub batches: Vec<Batch>,
    #[prost(message, repeated, tag = "4")]
    pub parts: Vec<Part>,
    /// Whether the state so far is discarded, and replaced by the parts of this frame and the next
    /// ones.
    #[prost(bool, tag = "5")]
    pub restarts: bool,
}

/// The last frame of a file that was closed properly.
#[derive(Clone, PartialEq, Message)]
pub(super) struct End {
    /// When, in nanoseconds since boot.
    #[prost(uint64, tag = "1")]
    pub time: u64,
    /// Whether the run goes on in another file.
    #[prost(bool, tag = "2")]
    pub goes_on: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Task {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    #[prost(uint32, tag = "2")]
    pub tid: u32,
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    /// Of the process, without the zero at its end.
    #[prost(bytes = "bytes", tag = "4")]
    pub comm: Bytes,
    #[prost(uint64, tag = "5")]
    pub cgroup: u64,
    /// Of the thread, if it has another name.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub thread: Option<Bytes>,
    /// The first known thread with its descriptor table, if that is not the process's.
    #[prost(uint32, optional, tag = "7")]
    pub table: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub(super) struct Payer {
    #[prost(uint32, tag = "1")]
    pub limit: u32,
    #[prost(uint32, tag = "2")]
    pub uid: u32,
    #[prost(uint32, tag = "3")]
    pub userns: u32,
    #[prost(uint32, tag = "4")]
    pub level: u32,
    /// The user who pays at that level; absent at level 0, where it is the one above.
    #[prost(message, optional, tag = "5")]
    pub above: Option<User>,
}

/// Events that were read together.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    /// When they were read, in nanoseconds since boot.
    #[prost(uint64, tag = "1")]
    pub time: u64,
    /// Whether leaks were looked for after it.
    #[prost(bool, tag = "2")]
    pub judged: bool,
    #[prost(message, repeated, tag = "3")]
    pub events: Vec<Event>,
}
