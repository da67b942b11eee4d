//! Maps and sets by numbers that the kernel gives.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A map by process id, instance, or another number that no container chooses: it needs no hash that
/// withstands chosen keys, which is a fifth of the time an event takes in a storm.
pub type ByNumber<K, V> = HashMap<K, V, RandomState>;

/// A set of such numbers.
pub type Numbers<K> = HashSet<K, RandomState>;
