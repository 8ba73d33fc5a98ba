//! The suite. Each function takes an empty store and panics where it is wrong.

use std::time::Duration;

use crate::testing::{delete, document, put};
use crate::{Compare, Event, RangeOptions, Store, StoreError, Txn, TxnOutcome, Watch};

/// Runs everything, each part on a fresh store from `open`.
pub async fn all<S: Store, F: Future<Output = S>>(open: impl Fn() -> F) {
    transactions_are_all_or_nothing(&open().await).await;
    a_transaction_that_changes_nothing_takes_no_revision(&open().await).await;
    documents_carry_their_revision(&open().await).await;
    ranges_page_and_count(&open().await).await;
    ranges_read_the_past(&open().await).await;
    watches_resume_without_gap_or_repetition(&open().await).await;
    watches_wait_and_see_only_their_prefix(&open().await).await;
    watch_progress_follows_other_keys(&open().await).await;
    compaction_ends_the_past(&open().await).await;
    concurrent_writers_get_distinct_revisions(&open().await).await;
}

async fn applied(store: &impl Store, txn: Txn) -> u64 {
    match store.txn(txn).await {
        Ok(TxnOutcome::Applied { revision, .. }) => revision,
        other => panic!("the transaction was not applied: {other:?}"),
    }
}

/// The next `count` events, or a panic when they do not come.
pub async fn events(watch: &mut dyn Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        match tokio::time::timeout(Duration::from_secs(10), watch.next()).await {
            Ok(Ok(batch)) => events.extend(batch.iter().cloned()),
            other => panic!("wanted {count} events, have {events:?}, then {other:?}"),
        }
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

fn keys(range: &crate::Range) -> Vec<&str> {
    range.items.iter().map(|(key, _)| &**key).collect()
}

pub async fn transactions_are_all_or_nothing(store: &impl Store) {
    let created = applied(store, put("/a", 1)).await;
    let compare = |key: &str, revision| Compare { key: key.into(), revision };
    let both = |compares| Txn { compares, puts: vec![("/b".into(), document("b", 1))], deletes: vec!["/a".into()] };

    let refused = store.txn(both(vec![compare("/a", created), compare("/b", created)])).await;
    let Ok(TxnOutcome::Conflict { key, current: None }) = &refused else { panic!("{refused:?}") };
    assert_eq!(key, "/b");
    let refused = store.txn(both(vec![compare("/a", 0)])).await;
    let Ok(TxnOutcome::Conflict { current: Some(current), .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(current.revision(), created);
    assert_eq!(store.revision(), created);
    assert!(store.get("/a").is_some() && store.get("/b").is_none());

    let moved = applied(store, both(vec![compare("/a", created), compare("/b", 0)])).await;
    assert_eq!(moved, created + 1);
    assert!(store.get("/a").is_none());
    assert_eq!(store.get("/b").map(|object| object.revision()), Some(moved));
    store.barrier().await.expect("a barrier passes");
}

pub async fn a_transaction_that_changes_nothing_takes_no_revision(store: &impl Store) {
    let revision = applied(store, put("/a", 1)).await;
    assert_eq!(applied(store, delete("/absent")).await, revision);
    assert_eq!(applied(store, Txn::default()).await, revision);
    let fleeting = Txn { puts: vec![("/b".into(), document("b", 1))], deletes: vec!["/b".into()], ..Txn::default() };
    assert_eq!(applied(store, fleeting).await, revision);
    assert_eq!(applied(store, put("/a", 1)).await, revision + 1, "writing the same again is a new version");
}

pub async fn documents_carry_their_revision(store: &impl Store) {
    let two = Txn { puts: vec![("/a".into(), document("a", 1)), ("/b".into(), document("b", 2))], ..Txn::default() };
    let Ok(TxnOutcome::Applied { revision, objects }) = store.txn(two).await else { panic!("not applied") };
    assert_eq!(objects.len(), 2);
    for (object, key) in objects.iter().zip(["/a", "/b"]) {
        assert_eq!(object.head().resource_version, revision.to_string());
        let stored = store.get(key).expect("is stored");
        assert_eq!(stored.bytes(), object.bytes());
    }
}

pub async fn ranges_page_and_count(store: &impl Store) {
    for key in ["/a/1", "/a/2", "/a/3", "/a0", "/b/1"] {
        applied(store, put(key, 1)).await;
    }
    let all = store.range("/a/", &RangeOptions::default()).expect("lists");
    assert_eq!((keys(&all), all.remaining, all.revision), (vec!["/a/1", "/a/2", "/a/3"], 0, 5));
    let first = store.range("/a/", &RangeOptions { limit: 2, ..RangeOptions::default() }).expect("lists");
    assert_eq!((keys(&first), first.remaining), (vec!["/a/1", "/a/2"], 1));
    let options = RangeOptions { start_after: Some("/a/2".into()), limit: 2, revision: Some(first.revision) };
    let rest = store.range("/a/", &options).expect("lists");
    assert_eq!((keys(&rest), rest.remaining), (vec!["/a/3"], 0));
    assert_eq!(store.range("", &RangeOptions::default()).expect("lists").items.len(), 5);
    let nothing = store.range("/c", &RangeOptions::default()).expect("lists");
    assert!(nothing.items.is_empty());
}

pub async fn ranges_read_the_past(store: &impl Store) {
    applied(store, put("/a/1", 1)).await;
    applied(store, put("/a/2", 1)).await;
    applied(store, put("/a/1", 2)).await;
    applied(store, delete("/a/2")).await;
    applied(store, put("/a/3", 1)).await;
    let at = |revision| store.range("/a/", &RangeOptions { revision: Some(revision), ..RangeOptions::default() });
    let versions = |revision| {
        let range = at(revision).expect("is kept");
        range.items.iter().map(|(key, object)| (key.to_string(), object.revision())).collect::<Vec<_>>()
    };
    let pair = |key: &str, revision| (key.to_owned(), revision);
    assert_eq!(versions(2), [pair("/a/1", 1), pair("/a/2", 2)]);
    assert_eq!(versions(3), [pair("/a/1", 3), pair("/a/2", 2)]);
    assert_eq!(versions(4), [pair("/a/1", 3)]);
    assert_eq!(versions(5), [pair("/a/1", 3), pair("/a/3", 5)]);
    assert!(matches!(at(6), Err(StoreError::Future { asked: 6, newest: 5 })));
}

pub async fn watches_resume_without_gap_or_repetition(store: &impl Store) {
    for value in 1..=10 {
        applied(store, put(&format!("/a/{}", value % 3), value)).await;
    }
    applied(store, delete("/a/0")).await;
    for after in 0..=11 {
        let mut watch = store.watch("/a/", after).expect("is kept");
        let seen = events(&mut *watch, 11 - after as usize).await;
        let revisions: Vec<u64> = seen.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (after + 1..=11).collect::<Vec<_>>());
        if let Some(last) = seen.last() {
            assert!(last.object.is_none());
            assert_eq!(last.previous.as_ref().map(|object| object.revision()), Some(9));
        }
    }
    // Several keys of one transaction come together.
    let mut watch = store.watch("/a/", 11).expect("opens");
    let two = Txn { puts: vec![("/a/7".into(), document("a", 1)), ("/a/8".into(), document("b", 2))], ..Txn::default() };
    applied(store, two).await;
    let batch = watch.next().await.expect("has changes");
    assert_eq!(batch.iter().map(|event| (&*event.key, event.revision)).collect::<Vec<_>>(), [("/a/7", 12), ("/a/8", 12)]);
}

pub async fn watches_wait_and_see_only_their_prefix(store: &impl Store) {
    let mut under_a = store.watch("/a/", 0).expect("opens");
    let mut key_a1 = store.watch("/a/1", 0).expect("opens");
    let mut everything = store.watch("", 0).expect("opens");
    let quiet = tokio::time::timeout(Duration::from_millis(20), under_a.next()).await;
    assert!(quiet.is_err(), "nothing happened yet: {quiet:?}");
    let (writes, seen) = tokio::join!(
        async {
            applied(store, put("/b/1", 1)).await;
            applied(store, put("/a/2", 1)).await;
            applied(store, put("/a/1", 1)).await
        },
        events(&mut *under_a, 2),
    );
    assert_eq!(writes, 3);
    assert_eq!(seen.iter().map(|event| &*event.key).collect::<Vec<_>>(), ["/a/2", "/a/1"]);
    assert!(seen.iter().all(|event| event.previous.is_none()));
    assert_eq!(events(&mut *key_a1, 1).await[0].revision, 3);
    assert_eq!(events(&mut *everything, 3).await.len(), 3);
}

pub async fn watch_progress_follows_other_keys(store: &impl Store) {
    applied(store, put("/a/1", 1)).await;
    let mut watch = store.watch("/a/", 0).expect("opens");
    applied(store, put("/b/1", 1)).await;
    assert_eq!(watch.progress(), 0, "a change is not yet returned");
    events(&mut *watch, 1).await;
    assert_eq!(watch.progress(), 2, "all of the prefix was returned");
    applied(store, put("/b/1", 2)).await;
    assert_eq!(watch.progress(), 3);
}

pub async fn compaction_ends_the_past(store: &impl Store) {
    for value in 1..=5 {
        applied(store, put("/a", value)).await;
    }
    let mut open = store.watch("/b", 5).expect("opens");
    store.compact(3).await.expect("compacts");
    let at = |revision| store.range("", &RangeOptions { revision: Some(revision), ..RangeOptions::default() });
    assert!(matches!(at(2), Err(StoreError::Compacted { asked: 2, oldest: 3 })));
    assert_eq!(at(3).expect("is kept").items[0].1.revision(), 3);
    assert!(matches!(store.watch("/a", 2), Err(StoreError::Compacted { asked: 2, oldest: 3 })));
    let mut watch = store.watch("/a", 3).expect("is kept");
    let seen = events(&mut *watch, 2).await;
    assert_eq!(seen[0].previous.as_ref().map(|object| object.revision()), Some(3));
    store.compact(2).await.expect("going back changes nothing");
    assert_eq!(store.get("/a").map(|object| object.revision()), Some(5));
    // An open watch that has missed nothing goes on.
    applied(store, put("/b", 1)).await;
    assert_eq!(events(&mut *open, 1).await[0].revision, 6);
    store.compact(100).await.expect("compacts to the present at most");
    assert_eq!(applied(store, put("/a", 6)).await, 7);
    assert!(store.watch("/a", 6).is_ok());
}

pub async fn concurrent_writers_get_distinct_revisions(store: &impl Store) {
    let writers = (0..50).map(|writer| applied(store, put(&format!("/a/{writer}"), writer)));
    let mut revisions = futures::future::join_all(writers).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=50).collect::<Vec<_>>());
    let mut watch = store.watch("/a/", 0).expect("opens");
    assert_eq!(events(&mut *watch, 50).await.len(), 50);
    // Of many that compare with the same revision, one wins.
    let compare = Compare { key: "/lock".into(), revision: 0 };
    let lock = Txn { compares: vec![compare], puts: vec![("/lock".into(), document("lock", 1))], ..Txn::default() };
    let tries = futures::future::join_all((0..20).map(|_| store.txn(lock.clone()))).await;
    let won = tries.iter().filter(|outcome| matches!(outcome, Ok(TxnOutcome::Applied { .. }))).count();
    assert_eq!(won, 1);
}
