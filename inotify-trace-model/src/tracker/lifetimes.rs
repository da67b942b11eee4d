//! How long things usually last: counts of what has ended, by lifetime.

use std::time::Duration;

/// The number of classes: the last is for lifetimes of 2^30 seconds (34 years) or more.
const CLASSES: usize = 32;

/// Counts of ended things by lifetime. Class 0 is for lifetimes below a second, and class n for
/// those from 2^(n-1) to 2^n seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes(Vec<u32>);

impl Lifetimes {
    /// Counts by class, as a recording has them; what is more than known classes is ignored.
    #[must_use]
    pub fn from_counts(mut counts: Vec<u32>) -> Self {
        counts.truncate(CLASSES);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self(counts)
    }

    /// The counts by class; classes without any are left out at the end.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.0
    }

    pub(super) fn add(&mut self, lifetime: Duration) {
        let class = (u64::BITS - lifetime.as_secs().leading_zeros()) as usize;
        let class = class.min(CLASSES - 1);
        if self.0.len() <= class {
            self.0.resize(class + 1, 0);
        }
        self.0[class] = self.0[class].saturating_add(1);
    }

    /// The shortest border that nine of ten lifetimes do not exceed; zero without any.
    #[must_use]
    pub fn most(&self) -> Duration {
        let all: u64 = self.0.iter().map(|&it| u64::from(it)).sum();
        let mut borders = self.longer_than();
        borders.find(|&(_, longer)| longer * 10 <= all).map_or(Duration::ZERO, |it| it.0)
    }

    /// Zero and the borders between the classes, each with the number of lifetimes that may have been
    /// longer; the last number is 0.
    pub fn longer_than(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut longer: u64 = self.0.iter().map(|&it| u64::from(it)).sum();
        let classes = self.0.iter().enumerate().map(|(class, count)| (1 << class, count));
        let borders = classes.map(move |(seconds, &count)| {
            longer -= u64::from(count);
            (Duration::from_secs(seconds), longer)
        });
        std::iter::once((Duration::ZERO, longer)).chain(borders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_counted_in_classes_twice_as_long_as_the_ones_before() {
        let mut lifetimes = Lifetimes::default();
        for millis in [0, 999, 1000, 1999, 2000, 60_000] {
            lifetimes.add(Duration::from_millis(millis));
        }
        assert_eq!(lifetimes.counts(), [2, 2, 1, 0, 0, 0, 1]);
        let longer: Vec<_> = lifetimes.longer_than().map(|(it, n)| (it.as_secs(), n)).collect();
        assert_eq!(longer, [(0, 6), (1, 4), (2, 2), (4, 1), (8, 1), (16, 1), (32, 1), (64, 0)]);
        assert_eq!(lifetimes.most(), Duration::from_secs(64));
        (0..10).for_each(|_| lifetimes.add(Duration::from_secs(1)));
        assert_eq!(lifetimes.most(), Duration::from_secs(4));
        lifetimes.add(Duration::MAX);
        assert_eq!(lifetimes.counts().len(), CLASSES);
        assert_eq!(lifetimes.longer_than().last().map(|it| it.1), Some(0));
    }

    #[test]
    fn without_any_none_is_longer_than_nothing() {
        let longer: Vec<_> = Lifetimes::default().longer_than().collect();
        assert_eq!(longer, [(Duration::ZERO, 0)]);
        assert_eq!(Lifetimes::default().most(), Duration::ZERO);
        assert_eq!(Lifetimes::from_counts(vec![0, 3, 0, 0]).counts(), [0, 3]);
        assert_eq!(Lifetimes::from_counts(vec![1; 99]).counts().len(), CLASSES);
    }
}
