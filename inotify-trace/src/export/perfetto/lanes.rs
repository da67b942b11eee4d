//! Tracks on which one instance after the other lives.

/// The tracks of a process.
pub(super) struct Lanes {
    /// Its own, below which the lanes are.
    pub(super) track: u64,
    /// Lanes on which nobody lives, and since when.
    free: Vec<(u64, u64)>,
    /// How many instances live on the others.
    alive: usize,
}

impl Lanes {
    pub(super) fn new(track: u64) -> Self {
        Self { track, free: Vec::new(), alive: 0 }
    }

    /// Whether nobody lives on any.
    pub(super) fn are_empty(&self) -> bool {
        self.alive == 0
    }

    /// Somebody begins to live: on a lane that is free from `time` on; None if it takes a new
    /// one. Events of several CPUs are not quite in order: one that is given back may have been in
    /// use then.
    pub(super) fn take(&mut self, time: u64) -> Option<u64> {
        self.alive += 1;
        let at = self.free.iter().rposition(|&(_, since)| since <= time)?;
        Some(self.free.swap_remove(at).0)
    }

    pub(super) fn give_back(&mut self, lane: u64, time: u64) {
        self.alive -= 1;
        self.free.push((lane, time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_taken_only_when_it_is_free() {
        let mut lanes = Lanes::new(1);
        assert_eq!(lanes.take(10), None);
        lanes.give_back(7, 20);
        assert_eq!(lanes.take(19), None, "it ended later, on another CPU");
        assert!(!lanes.are_empty());
        assert_eq!(lanes.take(20), Some(7));
        assert_eq!(lanes.take(30), None);
    }
}
