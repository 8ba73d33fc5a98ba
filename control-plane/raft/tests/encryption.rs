//! What is on the disk of a server with an encryption configuration.

use std::path::Path;
use std::sync::Arc;

use mizzen_api::object::Encoded;
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_store::encryption::Encryption;
use mizzen_store::{Store, Txn};
use serde_json::json;

const SECRET: &str = "/registry//secrets/default/s";
const MAP: &str = "/registry//configmaps/default/c";

fn config(dir: &Path, keys: &[(&str, &str)]) -> RaftConfig {
    let keys: Vec<_> = keys.iter().map(|(name, secret)| json!({"name": name, "secret": secret})).collect();
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": keys}}]}]});
    let encryption = Encryption::parse(&file.to_string()).expect("a configuration");
    RaftConfig { seal: Arc::new(encryption), ..RaftConfig::new(dir, 1) }
}

const FIRST: (&str, &str) = ("first", "MDEyMzQ1Njc4OWFiY2RlZg==");
const SECOND: (&str, &str) = ("second", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");

async fn put(store: &RaftStore, key: &str, text: &str) {
    let document = Encoded::from_value(json!({"metadata": {"name": "n"}, "data": {"text": text}})).expect("encodes");
    store.txn(Txn { puts: vec![(key.to_owned(), document)], ..Txn::default() }).await.expect("is stored");
}

fn text(store: &RaftStore, key: &str) -> String {
    let value = store.get(key).expect("is there").value().expect("JSON");
    value["data"]["text"].as_str().expect("a text").to_owned()
}

fn holds(file: &Path, wanted: &str) -> bool {
    std::fs::read(file).expect("a file").windows(wanted.len()).any(|part| part == wanted.as_bytes())
}

#[tokio::test]
async fn secrets_are_encrypted_in_the_log_and_in_the_state_and_keys_rotate() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = [dir.path().join("log.redb"), dir.path().join("state.redb")];
    let store = RaftStore::open(config(dir.path(), &[FIRST])).await.expect("opens");
    put(&store, SECRET, "hidden words").await;
    put(&store, MAP, "shown words").await;
    assert_eq!(text(&store, SECRET), "hidden words");
    store.shutdown().await;
    for file in &files {
        assert!(!holds(file, "hidden words") && holds(file, "shown words"), "{}", file.display());
        assert!(holds(file, "k8s:enc:aesgcm:v1:first:"), "{}", file.display());
    }

    // Both keys are read, the first one writes.
    let store = RaftStore::open(config(dir.path(), &[SECOND, FIRST])).await.expect("opens");
    assert_eq!(text(&store, SECRET), "hidden words");
    let revision = |key: &str| store.get(key).expect("is there").revision();
    assert!(store.is_stale(SECRET, revision(SECRET)) && !store.is_stale(MAP, revision(MAP)));
    put(&store, SECRET, "hidden words again").await;
    assert!(!store.is_stale(SECRET, revision(SECRET)));
    store.compact(store.revision()).await.expect("compacts");
    store.shutdown().await;
    assert!(files.iter().all(|file| holds(file, "k8s:enc:aesgcm:v1:second:") && !holds(file, "hidden words")));
}

#[tokio::test]
async fn a_server_without_the_key_does_not_start_and_says_why() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = RaftStore::open(config(dir.path(), &[FIRST])).await.expect("opens");
    put(&store, SECRET, "hidden words").await;
    store.shutdown().await;
    let whole = |error: &dyn std::error::Error| {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            texts.push(error.to_string());
            source = error.source();
        }
        texts.join(": ")
    };
    let other = RaftStore::open(config(dir.path(), &[SECOND])).await.err().expect("is refused");
    let text = whole(&other);
    assert!(text.contains(SECRET) && text.contains("\"first\", which the configuration does not have"), "{text}");
    let none = RaftStore::open(RaftConfig::new(dir.path(), 1)).await.err().expect("is refused");
    let text = whole(&none);
    assert!(text.contains("there is no encryption configuration"), "{text}");
    let right = RaftStore::open(config(dir.path(), &[FIRST])).await.expect("opens");
    right.shutdown().await;
}
