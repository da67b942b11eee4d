//! What an event could not tell, and why.

use std::fmt;

use serde::Serialize;

/// Why a file system has not told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// It was not asked: it waits for a program or another machine, or too many others do not answer.
    NotAsked,
    /// It does not answer.
    NoAnswer,
}

impl Silence {
    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// Kinds of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Events: the agent was too slow, and the ring buffer full.
    Events,
    /// Processes that hold instances: the kernel programs' map of holders was full.
    Holders,
    /// System calls: the kernel programs' map of calls in progress was full.
    Calls,
    /// Runs of kernel programs, which the kernel skipped.
    Runs,
    /// Records that this version does not understand.
    Records,
    /// Events that could not be written to a recording; later events continue from the state that
    /// is written after the gap.
    Unrecorded,
    /// Instances that were forgotten, since the state took too much memory: of these, nothing is
    /// known any more.
    Instances,
    /// The same for cgroups, with the names of their containers.
    Cgroups,
    /// Frames of a recording, each of several events: damaged or missing.
    Frames,
    /// Files of a recording.
    Files,
    /// The end of a recording.
    End,
}

impl Loss {
    /// The name in counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Holders => "holders",
            Self::Calls => "calls",
            Self::Records => "records",
            Self::Runs => "runs",
            Self::Unrecorded => "unrecorded",
            Self::Instances => "instances",
            Self::Cgroups => "cgroups",
            Self::Frames => "frames",
            Self::Files => "files",
            Self::End => "end",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events (ring buffer full: try a larger --buffer)",
            Self::Holders => "holders (more processes hold instances than can be remembered)",
            Self::Calls => "calls (more system calls at once than can be remembered)",
            Self::Runs => "runs of kernel programs (others were running on that CPU)",
            Self::Records => "records (of another version)",
            Self::Unrecorded => "events that could not be recorded",
            Self::Instances => "instances (forgotten: too much for --memory)",
            Self::Cgroups => "cgroups (forgotten: too much for --memory)",
            Self::Frames => "frames of the recording, with all events in them (damaged or missing)",
            Self::Files => "files of the recording (missing, or not readable)",
            Self::End => "end of the recording (the recorder was killed, or the file was cut)",
        })
    }
}
