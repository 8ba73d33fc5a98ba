//! The store in memory: the suite, and what only it does.

use std::sync::Arc;
use std::time::Duration;

use mizzen_store::testing::{put, suite};
use mizzen_store::{MemoryStore, RangeOptions, Store, StoreError};

#[tokio::test]
async fn the_memory_store_passes_the_suite() {
    suite::all(async || MemoryStore::default()).await;
}

#[tokio::test]
async fn a_watcher_that_falls_out_of_history_must_list_again() {
    let store = MemoryStore::new(10_000);
    let mut slow = store.watch("/a/", 0).expect("opens");
    let mut quiet = store.watch("/b/", 0).expect("opens");
    for value in 0..200 {
        store.txn(put("/a/1", value)).await.expect("is applied");
    }
    let told = slow.next().await;
    assert!(matches!(told, Err(StoreError::Compacted { asked: 0, oldest }) if oldest > 100), "{told:?}");
    assert!(matches!(store.watch("/a/", 1), Err(StoreError::Compacted { .. })));
    let past = store.range("/a/", &RangeOptions { revision: Some(1), ..RangeOptions::default() });
    assert!(matches!(past, Err(StoreError::Compacted { .. })));
    // Nothing under its prefix was forgotten.
    store.txn(put("/b/1", 1)).await.expect("is applied");
    assert_eq!(suite::events(&mut *quiet, 1).await[0].revision, 201);
}

#[tokio::test]
async fn closing_ends_watches_and_refuses_writes() {
    let store = MemoryStore::default();
    let mut watch = store.watch("/a/", 0).expect("opens");
    let (ended, ()) = tokio::join!(watch.next(), async { store.close() });
    assert!(matches!(ended, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.txn(put("/a/1", 1)).await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn watchers_at_the_same_place_share_what_they_get() {
    let store = MemoryStore::default();
    let mut watches: Vec<_> = (0..3).map(|_| store.watch("/a/", 0).expect("opens")).collect();
    for value in 0..3 {
        store.txn(put("/a/1", value)).await.expect("is applied");
    }
    let mut batches = Vec::new();
    for watch in &mut watches {
        batches.push(watch.next().await.expect("has changes"));
    }
    assert!(batches.iter().all(|batch| batch.len() == 3 && Arc::ptr_eq(batch, &batches[0])));
    // Nobody else waits for it.
    batches.truncate(1);
    assert_eq!(Arc::strong_count(&batches[0]), 1);
    // Who is elsewhere gets something else, and who is gone is not waited for.
    store.txn(put("/a/2", 3)).await.expect("is applied");
    let mut late = store.watch("/a/", 0).expect("opens");
    assert_eq!(late.next().await.expect("has changes").len(), 4);
    let first = watches[0].next().await.expect("has changes");
    assert_eq!((first.len(), &*first[0].key), (1, "/a/2"));
    drop(watches);
    drop(late);
    assert_eq!(Arc::strong_count(&first), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_watchers_rests_and_then_gets_all_at_once() {
    let store = MemoryStore::default();
    let mut watches: Vec<_> = (0..300).map(|_| store.watch("/a/", 0).expect("opens")).collect();
    let begin = tokio::time::Instant::now();
    store.txn(put("/a/1", 1)).await.expect("is applied");
    for watch in &mut watches {
        assert_eq!(watch.next().await.expect("has changes").len(), 1);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    store.txn(put("/a/1", 2)).await.expect("is applied");
    store.txn(put("/a/2", 3)).await.expect("is applied");
    assert!(futures::poll!(watches[0].next()).is_pending());
    assert_eq!(watches[0].progress(), 1);
    let mut batches = Vec::new();
    for watch in &mut watches {
        batches.push(watch.next().await.expect("has changes"));
    }
    assert!(batches.iter().all(|batch| batch.len() == 2 && Arc::ptr_eq(batch, &batches[0])));
    let rest = begin.elapsed();
    assert!((Duration::from_millis(3)..Duration::from_millis(5)).contains(&rest), "{rest:?}");
}
