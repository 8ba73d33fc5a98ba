//! What was seen of late.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// As many keys as are remembered; the oldest goes for a new one.
const REMEMBERED: usize = 2000;

pub(super) struct Recent<K, V> {
    known: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.known.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.known.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        (0..=REMEMBERED).for_each(|number| recent.insert(number, ()));
        assert_eq!([0, 1, REMEMBERED].map(|key| recent.get_mut(&key).is_some()), [false, true, true]);
    }
}
