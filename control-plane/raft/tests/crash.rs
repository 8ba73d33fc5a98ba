//! A server under a write load is killed again and again: what it acknowledged stays, and watches go on where they were.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mizzen_api::Object;
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_store::testing::{delete, put};
use mizzen_store::{Event, Store, TxnOutcome};

const FOLDER: &str = "MIZZEN_CRASH_TEST_FOLDER";
const ROUNDS: u64 = 20;
const WRITERS: u64 = 8;

/// Small limits, so that within a second the state is made durable, the log purged and history read from disk.
fn config(dir: &Path) -> RaftConfig {
    RaftConfig { snapshot_entries: 40, history_bytes: 100_000, ..RaftConfig::new(dir, 1) }
}

fn value(object: Option<&Arc<Object>>) -> u64 {
    object.map_or(0, |object| object.value().expect("is JSON")["value"].as_u64().expect("is a number"))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent reads until the last whole line; without a parent there is nobody to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below, which starts it"]
async fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let store = RaftStore::open(config(Path::new(&dir))).await.expect("opens");
    let start = store.revision();
    let mut watch = store.watch("/load/", start).expect("opens");
    let values = Arc::new(AtomicU64::new(start * 100 + 1));
    for writer in 0..WRITERS {
        let (store, values) = (store.clone(), values.clone());
        tokio::spawn(async move {
            for turn in 0_u64.. {
                let key = format!("/load/{writer}/{}", turn % 7);
                let value = values.fetch_add(1, Ordering::Relaxed);
                let (txn, value) = if turn % 11 == 10 { (delete(&key), 0) } else { (put(&key, value), value) };
                let before = store.get(&key).is_some();
                let Ok(TxnOutcome::Applied { revision, .. }) = store.txn(txn).await else { panic!("was not applied") };
                if before || value != 0 {
                    say(&format!("acknowledged {revision} {key} {value}"));
                }
                if writer == 0 && turn % 200 == 199 {
                    store.compact(revision.saturating_sub(3000)).await.expect("compacts");
                }
            }
        });
    }
    while let Ok(events) = watch.next().await {
        let last = events.last().map_or(0, |event| event.revision);
        say(&format!("watched {last}"));
    }
}

/// Kills the child if the test ends early.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Default)]
struct Heard {
    /// By revision: the key, and the value or 0 for a deletion.
    acknowledged: BTreeMap<u64, (String, u64)>,
    watched: u64,
}

impl Heard {
    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        match words.next()? {
            "acknowledged" => {
                let revision = words.next()?.parse().ok()?;
                self.acknowledged.insert(revision, (words.next()?.to_owned(), words.next()?.parse().ok()?));
            }
            "watched" => self.watched = self.watched.max(words.next()?.parse().ok()?),
            _ => {}
        }
        Some(())
    }
}

/// Runs a child for a while after its first acknowledgement, kills it, and returns what it said until then.
fn run_and_kill(dir: &Path, time: Duration) -> Heard {
    let exe: PathBuf = std::env::current_exe().expect("has a path");
    let child = Command::new(exe)
        .args(["--exact", "child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = Killed(child.expect("starts"));
    let mut out = BufReader::new(child.0.stdout.take().expect("is piped"));
    let (mut heard, mut line, mut since) = (Heard::default(), String::new(), None);
    loop {
        line.clear();
        let read = out.read_line(&mut line).expect("reads");
        if read == 0 {
            break;
        }
        // A line without its end was cut by the kill.
        if line.ends_with('\n') {
            heard.line(&line);
        }
        if since.is_none() && !heard.acknowledged.is_empty() {
            since = Some(Instant::now());
        }
        if since.is_some_and(|since: Instant| since.elapsed() > time) {
            child.0.kill().expect("is killed");
        }
    }
    heard
}

async fn collect(store: &RaftStore, after: u64) -> Vec<Event> {
    let mut watch = store.watch("/load/", after).expect("is kept");
    let mut events = Vec::new();
    while watch.progress() < store.revision() {
        let next = tokio::time::timeout(Duration::from_secs(120), watch.next()).await;
        events.extend(next.expect("comes in time").expect("is kept").iter().cloned());
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_all_it_acknowledged_and_its_watches_resume() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut total, mut newest) = (0, 0);
    for round in 0..ROUNDS {
        // Never the same time, from at once to well after the first durable commits.
        let time = Duration::from_millis(20 + (round * 97) % 500);
        let path = dir.path().to_owned();
        let heard = tokio::task::spawn_blocking(move || run_and_kill(&path, time)).await.expect("runs");
        assert!(!heard.acknowledged.is_empty(), "the child of round {round} never wrote");
        total += heard.acknowledged.len();

        let store = RaftStore::open(config(dir.path())).await.expect("opens after a crash");
        let last = heard.acknowledged.keys().next_back().copied().unwrap_or_default();
        assert!(store.revision() >= last.max(heard.watched), "{} < {last} or {}", store.revision(), heard.watched);
        assert!(*heard.acknowledged.keys().next().expect("some") > newest, "a revision was given out twice");

        // Each revision is one change under the prefix, so none may miss and none may come twice.
        let resumed = collect(&store, heard.watched).await;
        let revisions: Vec<u64> = resumed.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (heard.watched + 1..=store.revision()).collect::<Vec<_>>());

        let oldest = last.saturating_sub(2500).max(newest);
        let history: BTreeMap<u64, Event> =
            collect(&store, oldest).await.into_iter().map(|event| (event.revision, event)).collect();
        for (revision, (key, written)) in heard.acknowledged.range(oldest + 1..) {
            let event = &history[revision];
            assert_eq!((&*event.key, value(event.object.as_ref())), (key.as_str(), *written), "revision {revision}");
        }
        for (key, object) in store.range("/load/", &Default::default()).expect("lists").items {
            let event = history.values().rev().find(|event| event.key == key);
            assert!(event.is_none_or(|event| event.revision == object.revision()), "{key} is not its newest version");
            assert_eq!(object.head().resource_version, object.revision().to_string());
        }
        newest = store.revision();
        store.shutdown().await;
    }
    println!("{total} acknowledged writes over {ROUNDS} kills, all there");
}
