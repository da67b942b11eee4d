//! Tracks on which one instance after the other lives.

/// The tracks of a process.
pub(super) struct Lanes {
    /// Its own, below which the lanes are.
    pub(super) track: u64,
    /// Lanes on which nobody lives, and since when.
    free: Vec<(u64, u64)>,
}

impl Lanes {
    pub(super) fn new(track: u64) -> Self {
        Self { track, free: Vec::new() }
    }

    /// A lane that is free from `time` on. Events of several CPUs are not quite in order: one that
    /// is given back may have been in use then.
    pub(super) fn take(&mut self, time: u64) -> Option<u64> {
        let at = self.free.iter().rposition(|&(_, since)| since <= time)?;
        Some(self.free.swap_remove(at).0)
    }

    pub(super) fn give_back(&mut self, lane: u64, time: u64) {
        self.free.push((lane, time));
    }
}
