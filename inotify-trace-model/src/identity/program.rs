//! The program that a process runs.

/// The program of a process, as far as known bugs are recognized by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The name of its file, as in `python3.11`, without the folder; None if unknown.
    pub exe: Option<Box<str>>,
    /// Those of its arguments that name a known program, such as a Java class or a Python module.
    /// The others may be secrets, and are not kept.
    pub arguments: Vec<Box<str>>,
}

impl Program {
    /// The most bytes of a file's name: `NAME_MAX` of `limits.h`.
    pub const LONGEST: usize = 255;
}
