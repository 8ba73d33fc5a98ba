//! Objects as watchers are shown them: made once for all who watch a version, however many they are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mizzen_api::{Object, ResourceDescriptor, Status};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// What is kept for watchers that are behind, in bytes of the stored objects.
const MAX_BYTES: usize = 16 << 20;

type Shown = Result<Arc<Object>, Status>;

/// What is shown of the newest changes.
#[derive(Default)]
pub(super) struct Shared(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Arc<Entry>>,
    /// The oldest first.
    order: VecDeque<(Key, usize)>,
    bytes: usize,
}

/// One version of an object, and the descriptor of the version that it is shown in, by its address: an entry holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    descriptor: usize,
    uid: String,
    revision: u64,
}

struct Entry {
    shown: OnceCell<Shown>,
    _descriptor: Arc<ResourceDescriptor>,
}

impl Shared {
    /// What an object is shown as: made with `make` by the first who asks, while the others wait for it. A failure is told to
    /// all who wait, and forgotten.
    pub(super) async fn get(
        &self,
        descriptor: &Arc<ResourceDescriptor>,
        object: &Object,
        make: impl Future<Output = Shown>,
    ) -> Shown {
        let (address, uid) = (Arc::as_ptr(descriptor).addr(), object.head().uid.clone());
        let key = Key { descriptor: address, uid, revision: object.revision() };
        let entry = self.0.lock().entry(&key, descriptor, object.bytes().len());
        let shown = entry.shown.get_or_init(|| make).await.clone();
        if shown.is_err() {
            self.0.lock().forget(&key, &entry);
        }
        shown
    }
}

impl Kept {
    fn entry(&mut self, key: &Key, descriptor: &Arc<ResourceDescriptor>, bytes: usize) -> Arc<Entry> {
        if let Some(known) = self.entries.get(key) {
            return known.clone();
        }
        let entry = Arc::new(Entry { shown: OnceCell::new(), _descriptor: descriptor.clone() });
        self.entries.insert(key.clone(), entry.clone());
        self.order.push_back((key.clone(), bytes));
        self.bytes += bytes;
        while self.bytes > MAX_BYTES
            && let Some((oldest, bytes)) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
            self.bytes -= bytes;
        }
        entry
    }

    fn forget(&mut self, key: &Key, entry: &Arc<Entry>) {
        if self.entries.get(key).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            self.entries.remove(key);
            let place = self.order.iter().position(|(known, _)| known == key);
            self.bytes -= place.and_then(|place| self.order.remove(place)).map_or(0, |(_, bytes)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mizzen_api::{Reason, Registry};

    use super::*;

    fn object(uid: &str, revision: u64, bytes: usize) -> Arc<Object> {
        let filled = "x".repeat(bytes);
        Arc::new(Object::new(format!(r#"{{"metadata":{{"uid":"{uid}"}},"data":"{filled}"}}"#).into_bytes(), revision))
    }

    #[tokio::test]
    async fn what_is_shown_is_made_once_for_each_version_of_an_object_and_each_of_a_kind() {
        let registry = Registry::builtin();
        let [pods, nodes] = ["pods", "nodes"].map(|name| registry.by_group_resource("", name).expect("is there"));
        let (shared, made) = (Shared::default(), AtomicUsize::new(0));
        let show = async |descriptor, object: Arc<Object>| {
            let make = async {
                tokio::task::yield_now().await;
                made.fetch_add(1, Ordering::Relaxed);
                Ok(object.clone())
            };
            shared.get(descriptor, &object, make).await.expect("is shown").revision()
        };
        let all = futures::future::join_all((0..1000).map(|_| show(&pods, object("a", 1, 0)))).await;
        assert!(all.iter().all(|revision| *revision == 1));
        assert_eq!(made.load(Ordering::Relaxed), 1);
        for (descriptor, uid, revision, expected) in
            [(&pods, "a", 2, 2), (&pods, "b", 2, 3), (&nodes, "a", 1, 4), (&pods, "a", 1, 4)]
        {
            show(descriptor, object(uid, revision, 0)).await;
            assert_eq!(made.load(Ordering::Relaxed), expected, "{uid} {revision}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_and_forgotten_and_old_changes_make_room() {
        let registry = Registry::builtin();
        let pods = registry.by_group_resource("", "pods").expect("is there");
        let shared = Shared::default();
        let failed = shared.get(&pods, &object("a", 1, 0), async { Err(Status::new(Reason::Unknown, "no")) }).await;
        assert!(failed.is_err());
        let left = |kept: &Kept| (kept.entries.len(), kept.order.len(), kept.bytes);
        assert_eq!(left(&shared.0.lock()), (0, 0, 0));
        for revision in 0..20 {
            let large = object("a", revision, 1 << 20);
            shared.get(&pods, &large, async { Ok(large.clone()) }).await.expect("is shown");
        }
        let kept = shared.0.lock();
        assert!(kept.bytes <= MAX_BYTES && kept.entries.len() == kept.order.len() && kept.entries.len() == 15, "{}", kept.bytes);
    }
}
