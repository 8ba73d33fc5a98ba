//! The plugins that are at work.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mizzen_api::ObjectRef;

use crate::fetch::Component;
use crate::wanted::Terms;

/// A plugin that is at work, and what it was made of.
pub struct Live<P: ?Sized> {
    pub plugin: Arc<P>,
    pub component: Component,
    /// The object's.
    pub uid: String,
    /// The reference that it was loaded by.
    pub image: String,
    pub terms: Terms,
}

/// Plugins by their objects. Looking takes no lock; who has found one keeps it for as long as it needs it, whatever comes
/// after.
pub struct Table<P: ?Sized>(ArcSwap<HashMap<ObjectRef, Arc<Live<P>>>>);

impl<P: ?Sized> Default for Table<P> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<P: ?Sized> Table<P> {
    pub fn get(&self, object: &ObjectRef) -> Option<Arc<Live<P>>> {
        self.0.load().get(object).cloned()
    }

    pub fn all(&self) -> Arc<HashMap<ObjectRef, Arc<Live<P>>>> {
        self.0.load_full()
    }

    pub(crate) fn put(&self, object: &ObjectRef, live: Arc<Live<P>>) {
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(object.clone(), live.clone());
            all
        });
    }

    pub(crate) fn remove(&self, object: &ObjectRef) {
        if self.0.load().contains_key(object) {
            self.0.rcu(|all| {
                let mut all = HashMap::clone(all);
                all.remove(object);
                all
            });
        }
    }
}
