//! How often runtimes were asked.

use crate::counter::Counter;

/// How often runtimes were asked by CRI, for those who watch that.
#[derive(Debug, Default)]
pub struct CriCounts {
    /// Times that a runtime was asked. Each is about all containers whose names are wanted then.
    pub requests: Counter,
    /// Those of them that were not answered, or not in time.
    pub errors: Counter,
}
