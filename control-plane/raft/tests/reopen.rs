//! One server, opened again and again on the same folder.

use mizzen_raft::{RaftConfig, RaftError, RaftStore};
use mizzen_store::testing::{delete, put};
use mizzen_store::{RangeOptions, Store, TxnOutcome};

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_store_has_the_same_values_revisions_and_history() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = RaftStore::open(RaftConfig::new(dir.path(), 1)).await.expect("opens");
    for value in 1..=20 {
        let outcome = store.txn(put(&format!("/a/{}", value % 5), value)).await.expect("is applied");
        assert!(matches!(outcome, TxnOutcome::Applied { revision, .. } if revision == value));
    }
    store.txn(delete("/a/0")).await.expect("is applied");
    let before = store.range("/a/", &RangeOptions::default()).expect("lists");
    store.shutdown().await;

    let store = RaftStore::open(RaftConfig::new(dir.path(), 1)).await.expect("opens again");
    assert_eq!(store.revision(), 21);
    let after = store.range("/a/", &RangeOptions::default()).expect("lists");
    let bytes = |range: &mizzen_store::Range| {
        range.items.iter().map(|(key, object)| (key.clone(), object.revision(), object.bytes().clone())).collect::<Vec<_>>()
    };
    assert_eq!(bytes(&before), bytes(&after));
    let mut watch = store.watch("/a/", 18).expect("history is kept");
    let mut events = Vec::new();
    while events.len() < 3 {
        events.extend(watch.next().await.expect("has events").iter().cloned());
    }
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [19, 20, 21]);
    assert_eq!(events[2].previous.as_ref().expect("was there").revision(), 20);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_format_or_server_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    RaftStore::open(RaftConfig::new(dir.path(), 1)).await.expect("opens").shutdown().await;
    let other = RaftStore::open(RaftConfig::new(dir.path(), 2)).await;
    assert!(matches!(other, Err(RaftError::Node { found: 1, asked: 2, .. })));
    std::fs::write(dir.path().join("FORMAT"), "format 99\nserver 1\n").expect("writes");
    let newer = RaftStore::open(RaftConfig::new(dir.path(), 1)).await;
    assert!(matches!(newer, Err(RaftError::Format { ref found, .. }) if found == "99"));
}
