//! How often runtimes were asked.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often runtimes were asked by CRI, for those who watch that.
#[derive(Debug, Default)]
pub struct CriCounts {
    requests: AtomicU64,
    errors: AtomicU64,
}

impl CriCounts {
    /// Times that a runtime was asked. Each is about all containers whose names are wanted then.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Those of them that were not answered, or not in time.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    #[cfg(feature = "cri")]
    pub(super) fn count(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(failed.into(), Ordering::Relaxed);
    }
}
