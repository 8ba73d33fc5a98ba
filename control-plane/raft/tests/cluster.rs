//! Three servers in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mizzen_raft::{RaftConfig, RaftStore, Router};
use mizzen_store::testing::{put, suite};
use mizzen_store::{RangeOptions, Store, StoreError, TxnOutcome};

fn config(dir: &Path, node_id: u64, router: &Router) -> RaftConfig {
    RaftConfig {
        voters: vec![1, 2, 3],
        router: router.clone(),
        snapshot_entries: 20,
        timeout: Duration::from_secs(5),
        ..RaftConfig::new(dir.join(node_id.to_string()), node_id)
    }
}

async fn open(dir: &Path, router: &Router) -> Vec<Arc<RaftStore>> {
    let stores = (1..=3).map(|node_id| RaftStore::open(config(dir, node_id, router)));
    futures::future::try_join_all(stores).await.expect("all open")
}

async fn until<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = state() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not reached: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Retries what was refused for want of a leader.
async fn write(store: &RaftStore, key: &str, value: u64) -> u64 {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match store.txn(put(key, value)).await {
            Ok(TxnOutcome::Applied { revision, .. }) => return revision,
            Err(StoreError::Unavailable { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A barrier, tried again where a leader was wanting.
async fn confirmed(store: &RaftStore) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.barrier().await {
        let is_due = tokio::time::Instant::now() < deadline;
        assert!(is_due && matches!(error, StoreError::Unavailable { .. }), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn contents(store: &RaftStore) -> Vec<(String, u64, Vec<u8>)> {
    let range = store.range("", &RangeOptions::default()).expect("lists");
    range.items.iter().map(|(key, object)| (key.to_string(), object.revision(), object.bytes().to_vec())).collect()
}

async fn close(stores: Vec<Arc<RaftStore>>) {
    futures::future::join_all(stores.iter().map(|store| store.shutdown())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_takes_writes_and_shows_those_of_the_others() {
    let (dir, router) = (tempfile::tempdir().expect("a folder"), Router::new());
    let stores = open(dir.path(), &router).await;
    let mut watch = stores[2].watch("/a/", 0).expect("opens");
    let mut last = 0;
    for turn in 0..30 {
        let store = &stores[turn % 3];
        last = write(store, &format!("/a/{turn}"), turn as u64).await;
        assert_eq!(store.get(&format!("/a/{turn}")).map(|object| object.revision()), Some(last), "visible where it was written");
    }
    for store in &stores {
        confirmed(store).await;
        assert!(store.revision() >= last);
    }
    assert_eq!(contents(&stores[0]), contents(&stores[1]));
    assert_eq!(contents(&stores[0]), contents(&stores[2]));
    assert_eq!(suite::events(&mut *watch, 30).await[29].revision, last);
    until("one of them leads", || (stores.iter().filter(|store| store.is_leader()).count() == 1).then_some(())).await;
    close(stores).await;

    let stores = open(dir.path(), &Router::new()).await;
    let later = write(&stores[1], "/a/later", 1).await;
    assert_eq!(later, last + 1, "revisions go on after all were restarted");
    close(stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_is_replaced_and_catches_up_by_snapshot() {
    let (dir, router) = (tempfile::tempdir().expect("a folder"), Router::new());
    let stores = open(dir.path(), &router).await;
    write(&stores[0], "/a/first", 1).await;
    let old = until("a leader", || stores.iter().position(|store| store.is_leader())).await;
    let others: Vec<_> = (0..3).filter(|&index| index != old).collect();
    router.set_cut(old as u64 + 1, true);
    let (lost, _) = tokio::join!(stores[old].txn(put("/a/lost", 1)), write(&stores[others[0]], "/a/second", 2));
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{lost:?}");
    assert!(matches!(stores[old].barrier().await, Err(StoreError::Unavailable { .. })));
    let mut last = 0;
    for value in 0..150 {
        last = write(&stores[others[value as usize % 2]], &format!("/a/{}", value % 10), value).await;
    }
    let mut watch = stores[old].watch("/a/", stores[old].revision()).expect("opens");
    let behind = stores[old].revision();
    router.set_cut(old as u64 + 1, false);
    until("the old leader catches up", || (stores[old].revision() == last).then_some(())).await;
    assert!(stores[old].get("/a/lost").is_none());
    assert_eq!(contents(&stores[old]), contents(&stores[others[0]]));
    let seen = suite::events(&mut *watch, (last - behind) as usize).await;
    assert_eq!(seen.iter().map(|event| event.revision).collect::<Vec<_>>(), (behind + 1..=last).collect::<Vec<_>>());
    write(&stores[old], "/a/third", 3).await;
    close(stores).await;
}
