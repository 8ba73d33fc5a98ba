//! Equal parts of many objects are kept once: the pods of one ReplicaSet have the same owner and labels, and almost all pods
//! the same tolerations.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::LocalKey;

/// How many different values are looked through; objects that have a part in common mostly come together.
const REMEMBERED: usize = 16;

/// The values met last, the latest first. Each thread is to have its own, so that nobody waits; a value is then kept once for
/// each thread that met it.
pub struct Recent<T: ?Sized>(RefCell<VecDeque<Arc<T>>>);

impl<T: ?Sized> Recent<T> {
    pub const fn new() -> Self {
        Self(RefCell::new(VecDeque::new()))
    }
}

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized + PartialEq> Recent<T> {
    /// `value`, or what is equal to it and known to this thread already.
    pub fn share<V: Borrow<T> + Into<Arc<T>>>(recent: &'static LocalKey<Self>, value: V) -> Arc<T> {
        recent.with(|recent| recent.known(value))
    }

    fn known<V: Borrow<T> + Into<Arc<T>>>(&self, value: V) -> Arc<T> {
        let mut values = self.0.borrow_mut();
        let known = values.iter().position(|known| **known == *value.borrow()).and_then(|at| values.remove(at));
        let shared = known.unwrap_or_else(|| value.into());
        values.truncate(REMEMBERED - 1);
        values.push_front(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_until_many_others_came_between() {
        let recent: Recent<str> = Recent::new();
        let first = recent.known("first");
        for other in 1..REMEMBERED {
            recent.known(other.to_string());
        }
        assert!(Arc::ptr_eq(&first, &recent.known("first")), "it is the oldest that is known");
        recent.known("another");
        assert!(Arc::ptr_eq(&first, &recent.known("first")), "meeting it again made it the latest");
        for other in 0..REMEMBERED {
            recent.known(other.to_string());
        }
        let again = recent.known("first");
        assert_eq!(first, again);
        assert!(!Arc::ptr_eq(&first, &again));
    }
}
