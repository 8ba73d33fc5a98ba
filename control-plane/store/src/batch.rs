//! Changes as watchers get them. Those that stand at the same place share one batch, and what is made of it for one of them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Event;
use crate::state::Changes;

/// Changes under one prefix, oldest first, all of each revision.
pub struct Batch {
    events: Vec<Event>,
    made: Mutex<Vec<(&'static str, Bytes)>>,
}

impl Batch {
    pub(crate) fn new<'a>(changes: impl IntoIterator<Item = &'a Changes>) -> Arc<Self> {
        let events = changes.into_iter().flat_map(|changes| changes.iter().cloned()).collect();
        Arc::new(Self { events, made: Mutex::default() })
    }

    /// The events in a form that readers of many watches want, made for the first of them and shared after that; `None` is
    /// not kept. Whoever asks meanwhile waits: `make` has to be short.
    pub fn made(&self, form: &'static str, make: impl FnOnce(&[Event]) -> Option<Bytes>) -> Option<Bytes> {
        let mut all = self.made.lock();
        if let Some((_, made)) = all.iter().find(|(known, _)| *known == form) {
            return Some(made.clone());
        }
        let made = make(&self.events)?;
        all.push((form, made.clone()));
        Some(made)
    }

    /// The revisions of the first and the last event.
    pub(crate) fn span(&self) -> (u64, u64) {
        let revision = |event: Option<&Event>| event.map_or(0, |event| event.revision);
        (revision(self.events.first()), revision(self.events.last()))
    }
}

impl Deref for Batch {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.events
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_a_batch_is_made_once_in_each_form() {
        let event = |revision| Event { key: "/a".into(), revision, object: None, previous: None };
        let batch = Batch::new(&[[event(3)].into(), [event(4), event(4)].into()]);
        assert_eq!((batch.len(), batch.span()), (3, (3, 4)));
        assert_eq!(batch.made("a", |_| None), None);
        assert_eq!(batch.made("a", |events| Some(vec![0; events.len()].into())), Some(Bytes::from_static(&[0; 3])));
        assert_eq!(batch.made("a", |_| panic!("made again")), Some(Bytes::from_static(&[0; 3])));
        assert_eq!(batch.made("b", |_| Some("b".into())), Some("b".into()));
    }
}
