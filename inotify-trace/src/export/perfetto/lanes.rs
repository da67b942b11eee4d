//! Tracks that each show one instance after the other.

/// The tracks of a program.
pub(super) struct Lanes {
    /// The program's own track, the parent of the lanes.
    pub(super) track: u64,
    /// Lanes without an open instance, and the time since when.
    free: Vec<(u64, u64)>,
    /// The number of open instances on the other lanes.
    alive: usize,
}

impl Lanes {
    pub(super) fn new(track: u64) -> Self {
        Self { track, free: Vec::new(), alive: 0 }
    }

    /// Whether no lane has an open instance.
    pub(super) fn are_empty(&self) -> bool {
        self.alive == 0
    }

    /// Takes a lane for a new instance, one that is free from `time` on; None if a new lane is
    /// needed. Events of several CPUs are not quite in order: a lane given back may have been in
    /// use at `time`.
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
