//! How far a thread is that writes what happens, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};

use inotify_trace_model::event::BootTime;

use crate::counter::Counter;

/// How far a recorder or an exporter is. Its counts never fall.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes on disk.
    pub bytes: Counter,
    /// Files: begun ones of a recorder, complete ones of an exporter.
    pub files: Counter,
    /// Failed attempts to write.
    pub errors: Counter,
    /// Events that are not written, and will not be.
    pub missed: Counter,
    /// The time of the last batch, be there anything to write in it or not.
    heard: AtomicU64,
    /// The time of the last batch with something to write.
    work: AtomicU64,
    /// Everything until this time is on disk.
    safe: AtomicU64,
}

impl Progress {
    /// The time until which everything is on disk. It goes on if there is nothing to write.
    #[must_use]
    pub fn safe(&self) -> BootTime {
        let safe = self.safe.load(Ordering::SeqCst);
        let has_all = safe >= self.work.load(Ordering::SeqCst);
        BootTime(if has_all { safe.max(self.heard.load(Ordering::SeqCst)) } else { safe })
    }

    /// A batch of this time is there; only the event loop calls this.
    pub(super) fn hear(&self, time: BootTime, has_work: bool) {
        if has_work {
            // Otherwise what was safe would be as old as the work before.
            self.safe.fetch_max(self.safe().0, Ordering::SeqCst);
            self.work.store(time.0, Ordering::SeqCst);
        }
        self.heard.store(time.0, Ordering::SeqCst);
    }

    /// Everything until `time` is on disk.
    pub(crate) fn keep(&self, time: BootTime) {
        self.safe.fetch_max(time.0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_safe_goes_on_without_work_and_never_back() {
        let progress = Progress::default();
        progress.hear(BootTime(10), true);
        assert_eq!(progress.safe(), BootTime(0));
        progress.keep(BootTime(10));
        assert_eq!(progress.safe(), BootTime(10));
        progress.hear(BootTime(500), false);
        assert_eq!(progress.safe(), BootTime(500), "nothing was to be written since");
        progress.hear(BootTime(510), true);
        assert_eq!(progress.safe(), BootTime(500), "the new work is not on disk yet");
        progress.hear(BootTime(900), false);
        assert_eq!(progress.safe(), BootTime(500), "still not");
        progress.keep(BootTime(510));
        assert_eq!(progress.safe(), BootTime(900));
    }
}
