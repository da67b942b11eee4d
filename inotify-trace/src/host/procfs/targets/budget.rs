//! How long look-ups may take. Who mounts file systems chooses how much work it is to find a file on
//! them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The most time for files that a mount namespace other than the agent's has, and for those of all of
/// them.
const EACH: Duration = Duration::from_secs(1);
const OTHERS: Duration = Duration::from_secs(5);

/// The most time for those of the agent's own.
const OWN: Duration = Duration::from_secs(5);

/// A mount namespace, by device and inode number; None for one that cannot be told.
pub(super) type Namespace = Option<(u32, u64)>;

/// The time that was spent on files that are not found at once.
#[derive(Debug, Default)]
pub(super) struct Budget {
    own: Duration,
    others: Duration,
    each: HashMap<Namespace, Duration>,
}

impl Budget {
    /// Whether there is time left for files of a namespace.
    pub(super) fn is_left(&self, namespace: Namespace, own: Namespace) -> bool {
        if namespace == own {
            return self.own < OWN;
        }
        let spent = self.each.get(&namespace).copied().unwrap_or_default();
        self.others < OTHERS && spent < EACH
    }

    /// Counts the time since `began` for files of a namespace.
    pub(super) fn spend(&mut self, began: Instant, namespace: Namespace, own: Namespace) {
        let time = began.elapsed();
        if namespace == own {
            self.own += time;
        } else {
            self.others += time;
            *self.each.entry(namespace).or_default() += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_takes_no_time_of_others() {
        let of = |inode| Some((0, inode));
        let own = of(1);
        let mut budget = Budget::default();
        let long_ago = |by: Duration| Instant::now().checked_sub(by).unwrap();
        budget.spend(long_ago(EACH), of(2), own);
        assert_eq!([1, 2, 3].map(|it| budget.is_left(of(it), own)), [true, false, true]);
        for other in 3..10 {
            budget.spend(long_ago(EACH / 2 + EACH / 4), of(other), own);
        }
        assert_eq!([1, 2, 11].map(|it| budget.is_left(of(it), own)), [true, false, false]);
        budget.spend(long_ago(OWN), own, own);
        assert!(!budget.is_left(own, own));
    }
}
