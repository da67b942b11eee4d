//! What is asked, and the answers. Both sides are the same program: there are no versions.

use serde::{Deserialize, Serialize};

use crate::host::procfs::{Asked, WatchInfo};

/// A look-up.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The [`Place`] of a watch's target, and whether it was left out for lack of time.
    Find {
        /// The watch.
        watch: WatchInfo,
        /// A process that has it.
        holder: u32,
        /// Whether to look at file systems that only the holder sees.
        is_foreign: bool,
    },
    /// The paths of files whose place was not known: a list of inode number and path.
    Search {
        /// Their device.
        dev: u32,
        /// Their inode numbers.
        inodes: Vec<u64>,
        /// A process that watches one of them.
        holder: u32,
        /// Its arguments.
        arguments: Vec<String>,
        /// How long it may take.
        millis: u64,
        /// As above.
        is_foreign: bool,
    },
    /// The path of a file that a process has just named, as text, or none.
    Resolve {
        /// As the process named it.
        path: String,
        /// The process, and the file.
        asked: Asked,
    },
    /// The arguments of a process, or none. They are its memory, which may be a file.
    Arguments(u32),
    /// The [`Program`] of a process of the machine's root, or none.
    Program(u32),
    /// The text of a file, or none.
    Read {
        /// The directory that nothing leads out of, as bytes.
        below: Vec<u8>,
        /// The path from there.
        path: String,
        /// The most bytes that it may have.
        most: u64,
    },
    /// The names of the entries of a directory.
    Names {
        /// As above.
        below: Vec<u8>,
        /// As above.
        path: String,
        /// The most entries that are read.
        most: usize,
    },
}

/// The place of a watched file. Paths are text, as in events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Its path.
    Path(String),
    /// It was removed, and had this path, if that is known.
    Gone(Option<String>),
    /// Not known.
    Unknown,
    /// Its file system waits for a program or another machine, and was not asked.
    NotAsked,
    /// Only its holder sees its file system.
    Foreign,
}

/// A program, and how it was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What Go's linker wrote into its file.
    pub build_info: Option<String>,
}
