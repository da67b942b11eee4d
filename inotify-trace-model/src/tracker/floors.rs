//! The lowest values of a number in stretches of time: what it has grown to without falling back.

use crate::event::BootTime;

/// The stretches that are kept of each length.
pub const STRETCHES: usize = 12;

/// The shortest stretches: ten seconds, in nanoseconds.
const SHORTEST: u64 = 10_000_000_000;

/// Each row's stretches are this many times as long as those of the row before.
const FACTOR: u64 = 4;

/// The number of rows: the last one's stretches are of eleven hours, and reach back 5.7 days.
const ROWS: usize = 7;

/// The lowest values of a number in the latest stretches of time, in rows of ever longer ones. A
/// number that something adds to and takes from has low values that stay; they rise only if some
/// of what was added remains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    rows: Vec<Row>,
}

/// Stretches of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The number of the latest stretch, counted from the boot of the machine.
    pub latest: u64,
    /// The lowest values in the latest stretches, oldest first; at most [`STRETCHES`].
    pub lowest: Vec<u32>,
}

impl Floors {
    /// Rows as a recording has them; what is more than can be is ignored.
    #[must_use]
    pub fn from_rows(mut rows: Vec<Row>) -> Self {
        rows.truncate(ROWS);
        for row in &mut rows {
            row.lowest.truncate(STRETCHES);
        }
        Self { rows }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The number changed.
    pub(super) fn change(&mut self, time: BootTime, before: u32, after: u32) {
        if self.rows.is_empty() {
            self.rows.resize(ROWS, Row::default());
        }
        let mut width = SHORTEST;
        for row in &mut self.rows {
            row.advance(time.0 / width, before);
            if let Some(lowest) = row.lowest.last_mut() {
                *lowest = after.min(*lowest);
            }
            width = width.saturating_mul(FACTOR);
        }
    }

    /// The length of a stretch, and the lowest values in the latest stretches until `now`, the
    /// number being `number` since its last change. Rows without enough stretches are left out.
    pub fn until(&self, now: BootTime, number: u32) -> impl Iterator<Item = (u64, Vec<u32>)> + '_ {
        let widths = std::iter::successors(Some(SHORTEST), |width| width.checked_mul(FACTOR));
        widths.zip(&self.rows).map(move |(width, row)| {
            let mut row = row.clone();
            row.advance(now.0 / width, number);
            (width, row.lowest)
        })
    }
}

impl Row {
    /// Begins the stretches up to number `stretch`; the number did not change in between.
    fn advance(&mut self, stretch: u64, number: u32) {
        let missing = match self.lowest.last() {
            None => 1,
            // Events of different processors may be in the wrong order.
            Some(_) => stretch.saturating_sub(self.latest),
        };
        if missing == 0 {
            return;
        }
        self.latest = stretch;
        let new = usize::try_from(missing).unwrap_or(usize::MAX).min(STRETCHES);
        let surplus = (self.lowest.len() + new).saturating_sub(STRETCHES);
        self.lowest.drain(..surplus.min(self.lowest.len()));
        self.lowest.extend(std::iter::repeat_n(number, new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000_000)
    }

    #[test]
    fn low_values_follow_what_stays_and_not_what_comes_and_goes() {
        let mut floors = Floors::default();
        let (mut number, mut kept) = (0, 0);
        for second in 0..120 {
            // Ten come, nine go.
            floors.change(at(second), number, number + 10);
            floors.change(at(second), number + 10, number + 1);
            (number, kept) = (number + 1, kept + 1);
        }
        let rows: Vec<_> = floors.until(at(119), kept).collect();
        assert_eq!(rows[0].0, SHORTEST);
        assert_eq!(rows[0].1, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]);
        assert_eq!(rows[1].1, [0, 40, 80]);
        // Nothing happens for long.
        let rows: Vec<_> = floors.until(at(10_000), kept).collect();
        assert_eq!(rows[0].1, [120; STRETCHES]);
    }

    #[test]
    fn times_that_go_back_change_no_earlier_stretch() {
        let mut floors = Floors::default();
        floors.change(at(100), 0, 5);
        floors.change(at(95), 5, 6);
        assert_eq!(floors.until(at(101), 6).next().map(|it| it.1), Some(vec![0]));
        let rows = floors.rows().to_vec();
        assert_eq!(Floors::from_rows(rows), floors);
    }
}
