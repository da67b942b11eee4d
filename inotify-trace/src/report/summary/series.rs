//! Values over time in a fixed number of points, for any length of time: when all points are in
//! use, each two become one.

use inotify_trace_model::event::BootTime;

/// Points at most: about as many as a screen shows.
pub(super) const POINTS: usize = 600;

/// The finest step, in nanoseconds.
const FINEST: u64 = 10_000_000;

/// Maps a moment to its point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// The start of the first point.
    pub start: BootTime,
    /// How long each is, in nanoseconds.
    pub step: u64,
}

impl Grid {
    pub(super) fn new(start: BootTime) -> Self {
        Self { start, step: FINEST }
    }

    /// None if there is no point for it yet: two must become one first.
    pub(super) fn point(self, time: BootTime) -> Option<usize> {
        let point = time.0.saturating_sub(self.start.0) / self.step;
        usize::try_from(point).ok().filter(|&point| point < POINTS)
    }

    pub(super) fn coarsen(&mut self) {
        self.step = self.step.saturating_mul(2);
    }
}

/// A level over time: each point has its peak.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge {
    pub(super) now: u32,
    pub(super) peak: u32,
    pub(super) peak_at: BootTime,
    points: Vec<u32>,
}

impl Gauge {
    pub(super) fn set(&mut self, point: usize, time: BootTime, value: u32) {
        self.extend(point);
        if let Some(most) = self.points.get_mut(point) {
            *most = value.max(*most);
        }
        self.now = value;
        if value > self.peak {
            (self.peak, self.peak_at) = (value, time);
        }
    }

    pub(super) fn halve(&mut self) {
        self.points = self.points.chunks(2).filter_map(|two| two.iter().max().copied()).collect();
    }

    /// All points up to the last one, `point`.
    pub(super) fn points(&self, point: usize) -> Vec<u32> {
        let mut all = self.clone();
        all.extend(point);
        all.points
    }

    /// A level holds until it changes.
    fn extend(&mut self, point: usize) {
        if self.points.is_empty() {
            self.points.resize(point + 1, 0);
        } else if self.points.len() <= point {
            self.points.resize(point + 1, self.now);
        }
    }
}

/// How often something happened in the time of each point.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) total: u64,
    points: Vec<u32>,
}

impl Tally {
    pub(super) fn add(&mut self, point: usize) {
        if self.points.len() <= point {
            self.points.resize(point + 1, 0);
        }
        if let Some(count) = self.points.get_mut(point) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
    }

    pub(super) fn halve(&mut self) {
        let sum = |two: &[u32]| two.iter().fold(0, |sum: u32, it| sum.saturating_add(*it));
        self.points = self.points.chunks(2).map(sum).collect();
    }

    pub(super) fn points(&self, point: usize) -> Vec<u32> {
        let mut points = self.points.clone();
        points.resize(point + 1, 0);
        points
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_holds_until_it_changes() {
        let mut gauge = Gauge::default();
        gauge.set(2, BootTime(5), 7);
        gauge.set(4, BootTime(6), 3);
        // At the beginning of the fourth point the level was still 7.
        assert_eq!(gauge.points(6), [0, 0, 7, 7, 7, 3, 3]);
        assert_eq!((gauge.peak, gauge.peak_at), (7, BootTime(5)));
        gauge.halve();
        assert_eq!(gauge.points(3), [0, 7, 7, 3]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_making_two_points_one(
            steps in prop::collection::vec((0_u64..100_000_000_000, 0_u32..1000), 1..200)
        ) {
            let mut grid = Grid::new(BootTime(0));
            let (mut gauge, mut tally) = (Gauge::default(), Tally::default());
            let mut time = 0;
            for &(later, value) in &steps {
                time += later;
                while grid.point(BootTime(time)).is_none() {
                    grid.coarsen();
                    gauge.halve();
                    tally.halve();
                }
                let point = grid.point(BootTime(time)).unwrap();
                gauge.set(point, BootTime(time), value);
                tally.add(point);
            }
            let last = grid.point(BootTime(time)).unwrap();
            let points = gauge.points(last);
            prop_assert!(points.len() <= POINTS);
            prop_assert_eq!(points.iter().max(), steps.iter().map(|it| &it.1).max());
            let count: u32 = tally.points(last).iter().sum();
            prop_assert_eq!(count as usize, steps.len());
        }
    }
}
