//! Equal parts of many objects are kept once: the pods of one ReplicaSet have the same owner, and almost all pods the same
//! tolerations.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Toleration;
use mizzen_api::OwnerReference;

/// How many different values are looked through; objects that have a part in common mostly come together.
const REMEMBERED: usize = 16;

thread_local! {
    // Each thread has its own, so that nobody waits; a value is then kept once for each thread that met it.
    static OWNERS: RefCell<Recent<OwnerReference>> = RefCell::default();
    static TOLERATIONS: RefCell<Recent<[Toleration]>> = RefCell::default();
}

/// `owner`, or what is equal to it and known already.
pub(crate) fn owner(owner: OwnerReference) -> Arc<OwnerReference> {
    OWNERS.with_borrow_mut(|recent| recent.share(owner))
}

/// `tolerations`, or what is equal to them and known already.
pub(crate) fn tolerations(tolerations: Vec<Toleration>) -> Arc<[Toleration]> {
    TOLERATIONS.with_borrow_mut(|recent| recent.share(tolerations))
}

/// The values met last, the latest first.
struct Recent<T: ?Sized>(VecDeque<Arc<T>>);

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: ?Sized + PartialEq> Recent<T> {
    fn share<V: Borrow<T> + Into<Arc<T>>>(&mut self, value: V) -> Arc<T> {
        let known = self.0.iter().position(|known| **known == *value.borrow()).and_then(|at| self.0.remove(at));
        let shared = known.unwrap_or_else(|| value.into());
        self.0.truncate(REMEMBERED - 1);
        self.0.push_front(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> OwnerReference {
        OwnerReference { name: name.to_owned(), ..OwnerReference::default() }
    }

    #[test]
    fn equal_values_are_one_until_many_others_came_between() {
        let first = owner(named("first"));
        for other in 1..REMEMBERED {
            owner(named(&other.to_string()));
        }
        assert!(Arc::ptr_eq(&first, &owner(named("first"))), "it is the oldest that is known");
        owner(named("another"));
        assert!(Arc::ptr_eq(&first, &owner(named("first"))), "meeting it again made it the latest");
        for other in 0..REMEMBERED {
            owner(named(&other.to_string()));
        }
        let again = owner(named("first"));
        assert_eq!(first, again);
        assert!(!Arc::ptr_eq(&first, &again));
    }
}
